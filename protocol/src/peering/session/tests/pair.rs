//! Two sides with a wire between them that splits, delays and flushes as it likes.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// One direction of the wire: per stream what was written and has not arrived.
#[derive(Default)]
struct Way {
    streams: BTreeMap<ControlStream, VecDeque<u8>>,
    /// Streams whose last write has not been reported as flushed.
    unflushed: Vec<ControlStream>,
}

struct Pair {
    now: Instant,
    /// Dialler and acceptor, and what each wrote.
    sides: [(PeerSession, Way); 2],
    /// What each side heard from the other since the control stream was moved for the last time, and all that.
    heard: [Vec<Message>; 2],
    moved: [usize; 2],
    opened: u64,
    closed: Option<(ErrorCode, String)>,
}

impl Pair {
    fn new() -> Self {
        let now = base();
        let side = |role, id| {
            let session = PeerSession::new(role, Dialect::Laps14, Config::new(node(id)), now);
            (session, Way::default())
        };
        let mut pair = Self {
            now,
            sides: [side(Role::Dialler, 1), side(Role::Acceptor, 2)],
            heard: [Vec::new(), Vec::new()],
            moved: [0, 0],
            opened: 0,
            closed: None,
        };
        pair.drain(0);
        pair
    }

    fn input(&mut self, at: usize, input: Input) {
        self.sides[at].0.handle_input(self.now, input);
        self.drain(at);
    }

    fn command(&mut self, at: usize, command: Command) {
        self.sides[at].0.command(self.now, command).unwrap();
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.sides[at].0.poll_output() {
            match output {
                Output::Action(Action::OpenControl) => {
                    let stream = ControlStream(self.opened);
                    self.opened += 4;
                    self.input(1 - at, Input::StreamAccepted(stream));
                    self.input(at, Input::StreamOpened(stream));
                }
                Output::Action(Action::Write(stream, bytes)) => {
                    message(&bytes);
                    let way = &mut self.sides[at].1;
                    assert!(!way.unflushed.contains(&stream), "two messages share a flush");
                    way.unflushed.push(stream);
                    way.streams.entry(stream).or_default().extend(bytes);
                }
                Output::Action(Action::Reset(stream, _)) => {
                    for (_, way) in &mut self.sides {
                        way.streams.remove(&stream);
                        way.unflushed.retain(|unflushed| *unflushed != stream);
                    }
                    self.input(1 - at, Input::StreamReset(stream));
                }
                Output::Action(Action::Close { code, reason }) => {
                    self.closed = Some((code, reason.into_owned()));
                }
                Output::Event(event) => self.event(at, *event),
                Output::Trace(_) => {}
            }
        }
    }

    fn event(&mut self, at: usize, event: Event) {
        match event {
            Event::PeerConnect(_) => self.command(at, Command::Accept),
            Event::Message(message) => self.heard[at].push(message),
            Event::ControlMoved => self.moved[at] += 1,
            Event::Established { .. } => {}
            Event::Refused(_) | Event::Unknown { .. } | Event::Pong(_) => panic!("{event:?}"),
        }
    }

    /// Lets something happen on the wire; false when nothing can.
    fn step(&mut self, choice: u16) -> bool {
        let at = usize::from(choice & 1);
        [at, 1 - at].into_iter().any(|at| self.step_from(at, choice))
    }

    fn step_from(&mut self, at: usize, choice: u16) -> bool {
        let way = &mut self.sides[at].1;
        let pick = usize::from(choice >> 3);
        if choice & 2 == 0 && !way.unflushed.is_empty() {
            let stream = way.unflushed.remove(pick % way.unflushed.len());
            self.input(at, Input::Flushed(stream));
            return true;
        }
        let mut streams = way.streams.iter_mut().filter(|(_, bytes)| !bytes.is_empty());
        if let Some((&stream, bytes)) = streams.next() {
            let len = bytes.len().min(1 + pick % 60);
            let piece: Bytes = bytes.drain(..len).collect();
            self.input(1 - at, Input::StreamBytes(stream, piece));
            return true;
        }
        if let Some(stream) = way.unflushed.pop() {
            self.input(at, Input::Flushed(stream));
            return true;
        }
        false
    }

    /// Until nothing is left to happen.
    fn settle(&mut self) {
        for steps in 0.. {
            assert!(steps < 60_000, "it does not settle");
            if !(self.step(steps) || self.step(steps + 1)) {
                break;
            }
        }
        assert_eq!(self.closed, None);
    }
}

proptest! {
    /// Everything arrives, once and in order, whatever the wire does, and one message at a time.
    #[test]
    fn what_is_said_is_heard(
        said in prop::collection::vec(any::<bool>(), 0..60),
        choices in prop::collection::vec(any::<u16>(), 0..200),
    ) {
        let mut pair = Pair::new();
        let mut choices = choices.into_iter();
        while !pair.sides.iter().all(|(session, _)| session.is_established()) {
            let choice = choices.next().unwrap_or(2);
            prop_assert!(pair.step(choice) || pair.step(choice ^ 1));
        }
        let mut expected = [Vec::new(), Vec::new()];
        for (sequence, by_dialler) in (0..).zip(said) {
            let at = usize::from(!by_dialler);
            pair.command(at, Command::Send(subscribe(sequence)));
            expected[1 - at].push(subscribe(sequence));
            if let Some(choice) = choices.next() {
                pair.step(choice);
            }
        }
        pair.settle();
        prop_assert_eq!(&pair.heard, &expected);
        prop_assert!(pair.sides.iter().all(|(session, _)| session.queued() == (0, 0)));
        prop_assert!(pair.sides.iter().all(|(session, _)| session.poll_timeout().is_none()));
    }

    /// When the control stream is replaced, both sides learn it, and what is said after that is heard; never are two
    /// streams in use.
    #[test]
    fn a_new_stream_takes_over(
        before in 0..20_u16,
        choices in prop::collection::vec(any::<u16>(), 0..60),
        lost in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        pair.settle();
        for sequence in 0..before {
            pair.command(usize::from(sequence % 3 == 0), Command::Send(subscribe(sequence)));
        }
        for choice in choices {
            pair.step(choice);
        }
        if lost {
            for (_, way) in &mut pair.sides {
                way.streams.clear();
                way.unflushed.clear();
            }
            pair.input(1, Input::StreamReset(S0));
        } else {
            pair.command(0, Command::RecreateControl);
        }
        pair.settle();
        prop_assert_eq!(pair.moved, [1, 1]);
        pair.heard = [Vec::new(), Vec::new()];
        pair.command(0, Command::Send(subscribe(1000)));
        pair.command(1, Command::Send(subscribe(2000)));
        pair.settle();
        prop_assert_eq!(&pair.heard, &[vec![subscribe(2000)], vec![subscribe(1000)]]);
        prop_assert!(pair.sides.iter().all(|(session, _)| session.poll_timeout().is_none()));
    }
}

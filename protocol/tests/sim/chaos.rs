//! Both sides do whatever their session lets them, in any order. Neither may ever find fault with the other, and
//! nothing is left behind when both have ended what they began.

use super::common::*;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::session::{Command, CommandError, Config, Event, Role};
use laps_protocol::sim::{SessionPair, other};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// What one side knows to be open.
#[derive(Debug, Default)]
struct Known {
    ours: BTreeMap<RequestId, RequestKind>,
    theirs: BTreeMap<RequestId, RequestKind>,
}

#[derive(Debug, Default)]
struct Chaos {
    /// Events seen, by name.
    kinds: BTreeMap<String, u64>,
    client: Known,
    server: Known,
}

impl Chaos {
    fn known(&mut self, role: Role) -> &mut Known {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only beginnings and ends matter here"
    )]
    fn see(&mut self, role: Role, event: &Event) {
        let name = format!("{event:?}")
            .split('(')
            .next()
            .unwrap_or_default()
            .to_owned();
        *self.kinds.entry(name).or_default() += 1;
        let known = self.known(role);
        match event {
            Event::PeerSubscribe(id, _) => _ = known.theirs.insert(*id, RequestKind::Subscribe),
            Event::PeerPublish(id, _) => _ = known.theirs.insert(*id, RequestKind::Publish),
            Event::PeerFetch(id, _) => _ = known.theirs.insert(*id, RequestKind::Fetch),
            Event::PeerTrackStatus(id, _) => _ = known.theirs.insert(*id, RequestKind::TrackStatus),
            Event::PeerPublishNamespace(id, _) => {
                known.theirs.insert(*id, RequestKind::PublishNamespace);
            }
            Event::PeerSubscribeNamespace(id, _) => {
                known.theirs.insert(*id, RequestKind::SubscribeNamespace);
            }
            Event::Rejected(id, ..) | Event::TrackStatusOk(id, _) => _ = known.ours.remove(id),
            Event::PeerUnsubscribe(id)
            | Event::PeerFetchCancel(id)
            | Event::PeerPublishNamespaceDone(id)
            | Event::PeerUnsubscribeNamespace(id) => {
                known.theirs.remove(id);
                known.ours.remove(id);
            }
            _ => {}
        }
    }

    /// A command that may or may not fit; the session says.
    fn act(&mut self, pair: &mut SessionPair, role: Role) {
        let n = pair.rng().below(4);
        let start = Location::new(pair.rng().below(6), 0);
        let ours = pick(pair, &self.known(role).ours);
        let theirs = pick(pair, &self.known(role).theirs);
        let alias = pair.with(role, |session| session.new_alias());
        let filter = match pair.rng().below(3) {
            0 => SubscribeFilter::LargestObject,
            1 => SubscribeFilter::NextGroupStart,
            _ => SubscribeFilter::AbsoluteStart(start),
        };
        let (kind, command) = match pair.rng().below(15) {
            0 => (
                Some(RequestKind::Subscribe),
                Command::Subscribe(subscribe(n, filter)),
            ),
            1 => (Some(RequestKind::Publish), Command::Publish(publish(n, alias))),
            2 => (Some(RequestKind::Fetch), Command::Fetch(fetch(n))),
            3 => match ours {
                None => return,
                Some((subscription, _)) => {
                    let range = FetchRange::RelativeJoining {
                        subscription,
                        groups: n,
                    };
                    let joining = Fetch { range, ..fetch(n) };
                    (Some(RequestKind::Fetch), Command::Fetch(joining))
                }
            },
            4 => (
                Some(RequestKind::TrackStatus),
                Command::TrackStatus(subscribe(n, filter)),
            ),
            5 => (
                Some(RequestKind::PublishNamespace),
                Command::PublishNamespace(announce(n)),
            ),
            6 => (
                Some(RequestKind::SubscribeNamespace),
                Command::SubscribeNamespace(announce(n)),
            ),
            7..=12 => match theirs {
                None => return,
                Some((id, kind)) => (None, answer(pair, id, kind, alias, start)),
            },
            _ => match ours {
                None => return,
                Some((id, kind)) => (None, end(pair, id, kind, start)),
            },
        };
        match pair.command(role, command.clone()) {
            Ok(Some(id)) => _ = self.known(role).ours.insert(id, kind.unwrap()),
            Ok(None) => self.acted(role, &command),
            Err(
                CommandError::NoSuchRequest(_)
                | CommandError::Duplicate(_)
                | CommandError::NotAllowed(_)
                | CommandError::Blocked(_),
            ) => {}
            Err(error) => panic!("{error}: {command:?}"),
        }
    }

    /// Forgets what a command ended.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only ends matter here")]
    fn acted(&mut self, role: Role, command: &Command) {
        let known = self.known(role);
        match command {
            Command::Reject(id, _)
            | Command::AcceptTrackStatus(id, _)
            | Command::PublishDone(id, _)
            | Command::Unsubscribe(id)
            | Command::PublishNamespaceDone(id)
            | Command::UnsubscribeNamespace(id)
            | Command::FetchCancel(id) => {
                known.ours.remove(id);
                known.theirs.remove(id);
            }
            _ => {}
        }
    }

    /// Ends whatever is still open, from the side that can.
    fn finish(&mut self, pair: &mut SessionPair) {
        for role in [C, S] {
            for id in std::mem::take(&mut self.known(role).theirs).into_keys() {
                attempt(pair, role, Command::Reject(id, error()));
                attempt(pair, role, Command::PublishDone(id, done()));
                attempt(pair, role, Command::FetchDone(id));
                attempt(pair, role, Command::Unsubscribe(id));
            }
            for id in std::mem::take(&mut self.known(role).ours).into_keys() {
                attempt(pair, role, Command::Unsubscribe(id));
                attempt(pair, role, Command::PublishDone(id, done()));
                attempt(pair, role, Command::PublishNamespaceDone(id));
                attempt(pair, role, Command::UnsubscribeNamespace(id));
                attempt(pair, role, Command::FetchCancel(id));
            }
        }
    }
}

fn attempt(pair: &mut SessionPair, role: Role, command: Command) -> bool {
    pair.command(role, command).is_ok()
}

fn pick(pair: &mut SessionPair, open: &BTreeMap<RequestId, RequestKind>) -> Option<(RequestId, RequestKind)> {
    let n = usize::try_from(pair.rng().below(open.len() as u64)).unwrap();
    open.iter().nth(n).map(|(id, kind)| (*id, *kind))
}

fn answer(
    pair: &mut SessionPair,
    id: RequestId,
    kind: RequestKind,
    alias: u64,
    largest: Location,
) -> Command {
    if pair.rng().one_in(3) {
        return Command::Reject(id, error());
    }
    let open = pair.rng().one_in(2);
    match kind {
        RequestKind::Subscribe if open => Command::PublishDone(id, done()),
        RequestKind::Subscribe => Command::AcceptSubscribe(id, subscribe_ok(alias, Some(largest))),
        RequestKind::Publish if open => Command::Unsubscribe(id),
        RequestKind::Publish => Command::AcceptPublish(id, publish_ok()),
        RequestKind::Fetch if open => Command::FetchDone(id),
        RequestKind::Fetch => Command::AcceptFetch(id, fetch_ok()),
        RequestKind::TrackStatus => Command::AcceptTrackStatus(id, subscribe_ok(0, None)),
        RequestKind::PublishNamespace | RequestKind::SubscribeNamespace => Command::AcceptNamespace(id),
    }
}

fn end(pair: &mut SessionPair, id: RequestId, kind: RequestKind, start: Location) -> Command {
    match kind {
        RequestKind::Subscribe if pair.rng().one_in(2) => Command::SubscribeUpdate(update(id, start)),
        RequestKind::Subscribe => Command::Unsubscribe(id),
        RequestKind::Publish => Command::PublishDone(id, done()),
        RequestKind::Fetch if pair.rng().one_in(2) => Command::FetchDone(id),
        RequestKind::Fetch | RequestKind::TrackStatus => Command::FetchCancel(id),
        RequestKind::PublishNamespace => Command::PublishNamespaceDone(id),
        RequestKind::SubscribeNamespace => Command::UnsubscribeNamespace(id),
    }
}

/// D14-REQ-8, D14-SUB-18
#[test]
fn sessions_that_keep_the_rules_never_close() {
    let total = RefCell::new(BTreeMap::<String, u64>::new());
    seeds(400, |seed| {
        // Small windows, so that requests wait and cross refills too.
        let tight = Config {
            max_request_id: 16,
            max_queued_requests: 8,
            ..config()
        };
        let mut pair = SessionPair::established(seed, base(), tight.clone(), tight);
        let mut chaos = Chaos::default();
        for _ in 0..600 {
            let role = if pair.rng().one_in(2) { C } else { S };
            chaos.act(&mut pair, role);
            for _ in 0..pair.rng().below(4) {
                pair.step();
            }
            while let Some((role, event)) = pair.next_event() {
                chaos.see(role, &event);
                if let Event::PublishDone(id, _) = event {
                    pair.with(role, |session| session.forget_alias(id));
                }
            }
            never_closed(&pair);
        }
        // Everything ends, perhaps after waiting for a window that opens because other things end.
        for _ in 0..400 {
            chaos.finish(&mut pair);
            pair.run(|_, role, event| chaos.see(role, &event));
            for role in [C, S] {
                for n in 0..2000 {
                    pair.with(role, |session| session.forget_alias(RequestId(n)));
                }
            }
            chaos.finish(&mut pair);
            pair.run(|_, role, event| chaos.see(role, &event));
            never_closed(&pair);
            let open = [C, S].map(|role| {
                (
                    pair.session(role).open_requests(),
                    pair.session(role).queued_requests(),
                )
            });
            if open == [((0, 0), 0); 2] {
                for (kind, count) in chaos.kinds {
                    *total.borrow_mut().entry(kind).or_insert(0) += count;
                }
                return;
            }
        }
        let left = [C, S].map(|role| {
            (
                pair.session(role).open_requests(),
                pair.session(other(role)).queued_requests(),
            )
        });
        panic!("still open: {left:?}");
    });
    // A run that does nothing would prove nothing.
    let total = total.into_inner();
    let rare: Vec<_> = total.iter().filter(|(_, count)| **count < 50).collect();
    assert!(
        total.len() == 19 && rare.is_empty() || std::env::var_os("LAPS_SEED").is_some(),
        "{total:?}"
    );
}

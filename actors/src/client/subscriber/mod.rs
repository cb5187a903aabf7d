//! Subscribing: one track, read object by object, from the relay of now and from the next one when it asks to leave.
//!
//! ```text
//!             GOAWAY   SUBSCRIBE_OK, Largest = L        old has given L, new goes on after it     old streams ended
//! old relay  ───┼───────────┼────────────────────────────────────┼─────────────────────────────────────┤ UNSUBSCRIBE
//! new relay     └─ connect ─┴── what comes waits in its log ─────┴─────────────────────────────────────────────────▶
//! user       ◀──────────────────── from the old ────────────────▶◀─ from both, each object once ─▶◀── from the new ─▶
//! ```
//!
//! When the old one ends before it has given L, what is missing up to L is fetched from the new one, and what waits in
//! its log is read after that. A session that fails is the same with nothing left of the old one: the new one is made
//! after it, or beside it while it is silent. Its publisher may have been told that nobody reads, so that it sent nothing
//! for a while after L: what lies between L and the first object that comes is fetched too.

mod gap;

use crate::client::again::Tries;
use crate::client::connect::{ClientError, Node, Options, Target};
use crate::client::filling::Filling;
use crate::client::follow::{Arrived, Follower, Remainder, is_final, may_come_back, remainder};
use crate::client::item::{Item, Wanted};
use crate::client::journey::{Fate, Next, SILENT};
use crate::client::ledger::{Ledger, Side};
use crate::client::link::{Link, Polled};
use crate::shard::Env;
use crate::track::{TrackGone, TrackMeta};
use actix_rt::task::JoinHandle;
use gap::Seam;
use laps_protocol::moqt::location::Location;
use slog::{info, warn};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the old session is read on when nothing is missing any more: for streams that may still bring something,
/// and for their ends. As long as a lost packet takes to be repaired.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the old session may take to give what the new one no longer has.
const LONGEST_OVERLAP: Duration = Duration::from_secs(10);

/// The next session, which has what comes from now on, while the old one still gives what came before.
#[derive(Debug)]
struct Incoming {
    next: Next<Arrived>,
    since: Instant,
    /// Since when the old one has given all that it alone has.
    reached: Option<Instant>,
}

/// The old session, after the new one took over.
#[derive(Debug)]
struct Tail {
    link: Link,
    until: Instant,
}

/// How the old session ended before the new one was there.
#[derive(Debug)]
enum End {
    Gone(TrackGone),
    Over(ClientError),
}

/// A session that reads one track at a time.
///
/// When its relay says GOAWAY it moves: it subscribes at the relay it is sent to, with what is left of its range, and
/// reads the old session until nothing can be missing. When its session or its subscription fails it comes back, as far
/// as [`Moving`](super::Moving) wants it. Each object is given once.
#[derive(Debug)]
pub struct Subscriber {
    options: Options,
    env: Env,
    tries: Rc<Tries>,
    link: Link,
    follower: Follower,
    remainder: Remainder,
    ledger: Ledger,
    /// The session of now is to be left.
    leaving: bool,
    /// It is not waited for: what it has not given by now it never will.
    abandoned: bool,
    incoming: Option<Incoming>,
    tail: Option<Tail>,
    /// What neither gave, until it is there; the session of now is not read meanwhile.
    filling: Option<Filling>,
    /// Where the session of now goes on after one that failed, until its first object shows whether anything lies between.
    seam: Option<Seam>,
    ended: Option<End>,
    /// There is no next session.
    stranded: Option<ClientError>,
    ready: VecDeque<Item>,
    parting: Vec<JoinHandle<()>>,
}

impl Subscriber {
    /// Connects and completes SETUP.
    ///
    /// # Errors
    /// [`ClientError`] says what stood in the way.
    pub async fn connect(target: &Target, options: Options) -> Result<Self, ClientError> {
        let env = Node::env(&options);
        let link = Link::connect(&env, &options, target).await?;
        let remainder = Remainder::default();
        let tries = Rc::new(Tries::new());
        let ledger = Ledger::new(options.moving.comes_back());
        let follower = Follower::start(
            options.clone(),
            env.clone(),
            Rc::clone(&tries),
            &link,
            Rc::clone(&remainder),
        );
        Ok(Self {
            options,
            env,
            tries,
            link,
            follower,
            remainder,
            ledger,
            leaving: false,
            abandoned: false,
            incoming: None,
            tail: None,
            filling: None,
            seam: None,
            ended: None,
            stranded: None,
            ready: VecDeque::new(),
            parting: Vec::new(),
        })
    }

    /// Subscribes; the answer is the largest place that existed before.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the relay refuses, or why it could not be asked.
    pub async fn subscribe(&mut self, wanted: Wanted) -> Result<(Option<Location>, TrackMeta), ClientError> {
        self.unsubscribe();
        loop {
            self.arrive_idle().await?;
            let watch = self.link.watch();
            let answer = tokio::select! {
                answer = self.link.subscribe(wanted.clone()) => answer,
                // MOQT-14 §9.4 [D14-GOAWAY-1] [D14-GOAWAY-5]: nothing was given here yet, so it is asked for there.
                _ = watch.left(), if !self.is_left() => continue,
                () = self.follower.news() => continue,
            };
            match answer {
                Err(_) if self.is_left() && self.stranded.is_none() => {}
                Err(error) => return Err(error),
                Ok((largest, meta)) => {
                    *self.remainder.borrow_mut() = Some(Wanted {
                        filter: remainder(&wanted.filter, largest),
                        // Who goes on where it was needs none.
                        new_group: false,
                        ..wanted
                    });
                    return Ok((largest, meta));
                }
            }
        }
    }

    /// With nothing subscribed, the next session takes over as soon as it is there.
    async fn arrive_idle(&mut self) -> Result<(), ClientError> {
        loop {
            match self.follower.take() {
                Some(Ok(arrived)) => {
                    let old = self.take_over(arrived);
                    self.link.unsubscribe();
                    self.part(old);
                }
                Some(Err(error)) => {
                    warn!(self.options.log, "no other session can be had"; "error" => %error);
                    return Err(error);
                }
                None if self.is_left() && self.stranded.is_none() => self.follower.news().await,
                None => return Ok(()),
            }
        }
    }

    /// Another session is to take the place of the one of now.
    fn is_left(&self) -> bool {
        self.link.is_left(self.options.moving.comes_back())
    }

    /// The next thing that happened on the track.
    ///
    /// # Errors
    /// The end of the session, when no other takes its place.
    pub async fn next(&mut self) -> Result<Item, ClientError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            self.look_ahead();
            if let Some(end) = self.turn() {
                return end;
            }
            if !self.ready.is_empty() {
                continue;
            }
            let next = async {
                match (&self.incoming, &self.tail) {
                    (Some(incoming), _) => incoming.next.there.link.news().await,
                    (None, Some(tail)) => tail.link.news().await,
                    (None, None) => std::future::pending().await,
                }
            };
            let due = self.due();
            tokio::select! {
                filled = gap::fill(&mut self.filling) => self.filled(filled),
                () = self.link.news(), if self.ended.is_none() => {}
                () = next => {}
                () = self.follower.news() => {}
                () = until(due) => {}
            }
        }
    }

    /// The session of now.
    pub(super) const fn link(&self) -> &Link {
        &self.link
    }

    /// The session of now is to be left.
    fn leave(&mut self) {
        if !self.leaving {
            self.drop_tail();
            self.leaving = true;
            self.ledger.leaving();
        }
    }

    /// Takes note of GOAWAY, of a failure, and of what comes of it.
    fn look_ahead(&mut self) {
        if self.is_left() {
            self.leave();
        }
        match self.follower.take() {
            Some(Ok(next)) => {
                if next.lost.is_some() {
                    self.leave();
                    self.abandoned = true;
                    if self.filling.take().is_some() {
                        self.ended = Some(silent());
                    }
                }
                self.incoming = Some(Incoming {
                    next,
                    since: Instant::now(),
                    reached: None,
                });
            }
            Some(Err(error)) => {
                warn!(self.options.log, "no other session can be had"; "error" => %error);
                self.ready.extend(self.ledger.give_up_all());
                self.stranded = Some(error);
            }
            None => {}
        }
    }

    /// Reads what can be read; the end when there is nothing more.
    fn turn(&mut self) -> Option<Result<Item, ClientError>> {
        self.read_tail();
        let side = if self.leaving { Side::Old } else { Side::New };
        while self.ready.is_empty() && self.ended.is_none() && !self.is_before_a_gap() {
            match self.link.poll() {
                Polled::Item(item) => self.ready.extend(self.ledger.pass(side, item)),
                Polled::Pending if self.abandoned => self.ended = Some(silent()),
                Polled::Pending => break,
                Polled::Gone(gone) if self.leaving && !is_final(&gone, &self.remainder) => {
                    self.ended = Some(End::Gone(gone));
                }
                Polled::Gone(gone) if self.options.moving.comes_back() && may_come_back(&gone) => {
                    self.leave();
                    self.follower.subscription_failed(self.link.again(), gone.clone());
                    self.ended = Some(End::Gone(gone));
                }
                Polled::Gone(gone) => return self.done(gone),
                Polled::Over(error) if self.leaving => self.ended = Some(End::Over(error)),
                Polled::Over(error) => return Some(Err(error)),
            }
        }
        if !self.ready.is_empty() {
            return None;
        }
        if self.may_take_over() {
            self.overlap_ends();
        } else if self.ended.is_some() && self.stranded.is_some() {
            let error = self.stranded.take();
            // A session that failed took the track along: what counts is why there is no other one.
            let lost = self.options.moving.comes_back() && self.link.has_failed();
            return match self.ended.take()? {
                End::Gone(gone) if !(lost && may_come_back(&gone)) => self.done(gone),
                End::Gone(_) => error.map(Err),
                End::Over(over) => Some(Err(error.unwrap_or(over))),
            };
        }
        None
    }

    fn done(&mut self, gone: TrackGone) -> Option<Result<Item, ClientError>> {
        self.ready.extend(self.ledger.give_up_all());
        if self.ready.is_empty() {
            return Some(Ok(Item::Done(gone)));
        }
        self.ready.push_back(Item::Done(gone));
        None
    }

    fn read_tail(&mut self) {
        let Some(tail) = &mut self.tail else {
            return;
        };
        let over = loop {
            match tail.link.poll() {
                Polled::Item(item) => self.ready.extend(self.ledger.pass(Side::Old, item)),
                Polled::Pending => break Instant::now() >= tail.until || !self.ledger.waits_for_old(),
                Polled::Gone(_) | Polled::Over(_) => break true,
            }
        };
        if over {
            self.drop_tail();
        }
    }

    fn drop_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.ledger.old_is_over();
            self.part(tail.link);
        }
    }

    /// Whether the next session has all that is still to come.
    fn may_take_over(&mut self) -> bool {
        if self.filling.is_some() {
            return false;
        }
        let Some(incoming) = &mut self.incoming else {
            return false;
        };
        let now = Instant::now();
        if self.ended.is_some() || now >= incoming.since + LONGEST_OVERLAP {
            return true;
        }
        let (largest, highest) = (incoming.next.there.largest, self.ledger.highest());
        if highest < largest {
            return false;
        }
        let reached = *incoming.reached.get_or_insert(now);
        // What the new one gives first was given, or comes right behind what was.
        let first = incoming
            .next
            .there
            .link
            .first_waiting()
            .map(|first| first.location);
        let joins = first
            .is_some_and(|first| highest.is_none_or(|highest| first <= highest || follows(highest, first)));
        now >= reached + SETTLE || joins && self.ledger.is_complete(largest)
    }

    /// When something is to be done without news.
    fn due(&self) -> Option<Instant> {
        let tail = self.tail.as_ref().map(|tail| tail.until);
        let incoming = self.incoming.as_ref().filter(|_| self.filling.is_none());
        let incoming = incoming.map(|incoming| match incoming.reached {
            Some(reached) => reached + SETTLE,
            None => incoming.since + LONGEST_OVERLAP,
        });
        tail.into_iter().chain(incoming).min()
    }

    /// The next session takes over; the old one is read for a moment longer if it can be.
    fn overlap_ends(&mut self) {
        let Some(incoming) = self.incoming.take() else {
            return;
        };
        let missing = self.missing(&incoming.next.there);
        let (failed, largest) = (incoming.next.lost.is_some(), incoming.next.there.largest);
        let alive = self.ended.take().is_none();
        let old = self.take_over(incoming.next);
        self.ledger.merging();
        // One that is gone gave nothing of what came after the other one was asked, either way.
        self.seam = (failed || !alive).then_some(Seam { largest });
        if alive {
            let until = Instant::now() + SETTLE;
            self.tail = Some(Tail { link: old, until });
        } else {
            self.ledger.old_is_over();
            self.part(old);
        }
        if let Some(gap) = missing {
            self.fill(gap);
        }
    }

    /// Goes on with the next session; gives back the one before.
    fn take_over(&mut self, next: Next<Arrived>) -> Link {
        let step = next.step();
        info!(self.options.log, "another session goes on"; "step" => ?step);
        self.options.moving.notice.tell(step);
        let link = next.there.link;
        self.abandoned = false;
        self.follower = Follower::start(
            self.options.clone(),
            self.env.clone(),
            Rc::clone(&self.tries),
            &link,
            Rc::clone(&self.remainder),
        );
        self.leaving = false;
        std::mem::replace(&mut self.link, link)
    }

    fn part(&mut self, link: Link) {
        self.parting.retain(|task| !task.is_finished());
        self.parting.push(actix_rt::spawn(link.leave()));
    }

    /// Ends the subscription.
    pub fn unsubscribe(&mut self) {
        self.remainder.take();
        self.ledger = Ledger::new(self.options.moving.comes_back());
        self.abandoned = false;
        self.ready.clear();
        self.ended = None;
        self.filling = None;
        self.seam = None;
        self.drop_tail();
        self.link.unsubscribe();
        if let Some(incoming) = self.incoming.take() {
            let mut old = self.take_over(incoming.next);
            self.link.unsubscribe();
            old.unsubscribe();
            self.part(old);
        }
    }

    /// The connection, for its figures.
    #[must_use]
    pub const fn conn(&self) -> &crate::transport::ConnHandle {
        self.link.conn()
    }

    /// Ends the session in an orderly way and waits until the relay was told.
    pub async fn close(mut self) {
        self.filling = None;
        let incoming = self.incoming.take().map(|incoming| incoming.next.there.link);
        let tail = self.tail.take().map(|tail| tail.link);
        let Self { link, parting, .. } = self;
        for other in incoming.into_iter().chain(tail) {
            drop(actix_rt::spawn(other.leave()));
        }
        link.leave().await;
        futures::future::join_all(parting).await;
    }
}

/// The session of now gives nothing any more.
fn silent() -> End {
    End::Over(ClientError::Closed(SILENT.to_owned()))
}

/// Nothing can stand between the two.
const fn follows(before: Location, next: Location) -> bool {
    before.group == next.group && before.object.saturating_add(1) == next.object
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

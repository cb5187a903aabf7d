//! What a publisher's tracks know of its session: whether those who want them are only away.
//!
//! A session that fails takes its subscriptions along, so nobody seems to want the tracks; yet who wanted them comes back
//! a moment after it, and asks for what was written meanwhile.

use std::cell::Cell;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long those who wanted a track may take to come back once the session is there again.
const RETURN: Duration = Duration::from_secs(5);
/// How long they take to fetch what they missed.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Where the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There, as the session of this number.
    There(u64),
    /// Lost, and tried again.
    Away,
    /// There again since then, and those who wanted a track may still come back.
    Back(u64, Instant),
    /// Over for good.
    Over,
}

/// The publisher's end.
#[derive(Clone, Debug)]
pub(super) struct Tether {
    state: watch::Sender<State>,
    comes_back: bool,
}

impl Tether {
    /// Of session 0; `comes_back` says whether another one is made when it fails.
    pub(super) fn new(comes_back: bool) -> Self {
        Self {
            state: watch::Sender::new(State::There(0)),
            comes_back,
        }
    }

    /// The end of one track.
    pub(super) fn hold(&self) -> Hold {
        Hold {
            state: self.state.subscribe(),
            was_wanted: Cell::new(false),
        }
    }

    /// The session of this number is over; nothing happens when another one has taken its place.
    pub(super) fn lost(&self, session: u64) {
        self.state.send_if_modified(|state| {
            let now = matches!(state, State::There(now) | State::Back(now, _) if *now == session);
            if now && self.comes_back {
                *state = State::Away;
            }
            now && self.comes_back
        });
    }

    /// A session goes on where one failed.
    pub(super) fn back(&self, session: u64) {
        self.state.send_replace(State::Back(session, Instant::now()));
    }

    /// A session goes on where the one before asked to leave it.
    pub(super) fn moved(&self, session: u64) {
        self.state.send_replace(State::There(session));
    }

    /// There will be no other.
    pub(super) fn over(&self) {
        self.state.send_replace(State::Over);
    }
}

/// A track's end.
#[derive(Debug)]
pub(super) struct Hold {
    state: watch::Receiver<State>,
    was_wanted: Cell<bool>,
}

impl Hold {
    /// Whether a track counts as wanted that is, or is not, read just now.
    pub(super) fn counts_as_wanted(&self, is_read: bool) -> bool {
        let held = match *self.state.borrow() {
            State::There(_) | State::Over => false,
            State::Away => true,
            State::Back(_, since) => since.elapsed() < RETURN,
        };
        let wanted = is_read || held && self.was_wanted.get();
        self.was_wanted.set(wanted);
        wanted
    }

    /// Resolves when nobody who wanted the track is away: who ends it before that ends it for them. `is_read` says whether
    /// somebody reads it.
    pub(super) async fn all_are_back(&mut self, mut is_read: watch::Receiver<bool>) {
        while self.was_wanted.get() {
            let state = *self.state.borrow_and_update();
            match state {
                State::There(_) | State::Over => return,
                // Whoever could change it is gone.
                State::Away => match self.state.changed().await {
                    Ok(()) => {}
                    Err(_) => return,
                },
                State::Back(_, since) => {
                    let wait = if *is_read.borrow_and_update() {
                        CATCH_UP
                    } else {
                        RETURN
                    };
                    tokio::select! {
                        () = tokio::time::sleep_until(since + wait) => return,
                        changed = self.state.changed() => if changed.is_err() {
                            return;
                        },
                        changed = is_read.changed() => if changed.is_err() {
                            return;
                        },
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_track_stays_wanted_while_its_session_comes_back() {
        tokio::time::pause();
        let tether = Tether::new(true);
        let hold = tether.hold();
        assert!(!hold.counts_as_wanted(false), "nobody asked for it");
        assert!(hold.counts_as_wanted(true));
        assert!(!hold.counts_as_wanted(false), "who wanted it has unsubscribed");
        assert!(hold.counts_as_wanted(true));
        tether.lost(0);
        assert!(hold.counts_as_wanted(false));
        tether.back(1);
        tether.lost(0);
        tokio::time::advance(RETURN / 2).await;
        assert!(hold.counts_as_wanted(false));
        tokio::time::advance(RETURN).await;
        assert!(!hold.counts_as_wanted(false), "who wanted it did not come back");
        tether.lost(1);
        assert!(!hold.counts_as_wanted(false), "nobody wanted it before");
    }

    #[actix_rt::test]
    async fn nothing_is_held_when_no_session_comes_back() {
        let tether = Tether::new(false);
        let hold = tether.hold();
        assert!(hold.counts_as_wanted(true));
        tether.lost(0);
        assert!(!hold.counts_as_wanted(false));
        let (tether, moved) = (Tether::new(true), Tether::new(true));
        for tether in [&tether, &moved] {
            assert!(tether.hold().counts_as_wanted(true));
        }
        let hold = tether.hold();
        assert!(hold.counts_as_wanted(true));
        tether.lost(0);
        tether.over();
        assert!(!hold.counts_as_wanted(false));
        let hold = moved.hold();
        assert!(hold.counts_as_wanted(true));
        moved.moved(1);
        moved.lost(0);
        assert!(!hold.counts_as_wanted(false));
    }

    #[actix_rt::test]
    async fn a_track_ends_when_all_are_back() {
        tokio::time::pause();
        let tether = Tether::new(true);
        let mut hold = tether.hold();
        let (reads, is_read) = watch::channel(true);
        hold.all_are_back(is_read.clone()).await;
        assert!(hold.counts_as_wanted(true));
        hold.all_are_back(is_read.clone()).await;
        reads.send_replace(false);
        tether.lost(0);
        let begun = Instant::now();
        let back = async {
            tokio::time::sleep(RETURN).await;
            tether.back(1);
        };
        tokio::join!(hold.all_are_back(is_read.clone()), back);
        assert_eq!(begun.elapsed().as_secs(), 2 * RETURN.as_secs());
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        tether.back(2);
        let read = async {
            tokio::time::sleep(second).await;
            reads.send_replace(true);
        };
        tokio::join!(hold.all_are_back(is_read), read);
        assert_eq!(begun.elapsed().as_secs(), 1);
    }
}

//! A back end that says what a test tells it.

use super::address::Address;
use super::back_end::{Advert, BackEnd, Heard, Reach, Trouble};
use laps_protocol::discovery::{Instance, Offer, Sighting};
use laps_protocol::peering::node::NodeId;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, PoisonError};
use std::time::Duration;

#[expect(clippy::disallowed_types, reason = "a test and a thread share what is said")]
type Lock = std::sync::Mutex<State>;

/// What a [`Fake`] does, and what was done to it. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<(Lock, Condvar)>);

#[derive(Debug, Default)]
struct State {
    refusals: usize,
    fails_after: Option<usize>,
    is_shy: bool,
    listened: usize,
    to_say: VecDeque<Heard>,
    fails: bool,
    open: bool,
    withdrawals: usize,
    advertised: Option<Advert>,
}

impl Script {
    /// It does not open so many times.
    pub(crate) fn refuse(&self, times: usize) {
        self.change(|state| state.refusals = times);
    }

    /// From now on it opens, listens so many times without waiting, and fails.
    pub(crate) fn fails_after(&self, turns: Option<usize>) {
        self.change(|state| state.fails_after = turns);
    }

    /// From now on it fails when it is to listen while it advertises something, as where a daemon takes no advertisement.
    pub(crate) fn is_shy(&self, is_shy: bool) {
        self.change(|state| state.is_shy = is_shy);
    }

    /// Waits until it was opened and closed so many times more.
    pub(crate) fn tried(&self, times: usize) {
        let until = self.change(|state| state.withdrawals).saturating_add(times);
        self.wait(|state| state.withdrawals >= until);
    }

    /// This is heard next.
    pub(crate) fn say(&self, heard: Heard) {
        self.change(|state| state.to_say.push_back(heard));
    }

    /// It fails once.
    pub(crate) fn fail(&self) {
        self.change(|state| state.fails = true);
    }

    /// What it advertises.
    pub(crate) fn advertised(&self) -> Option<Advert> {
        self.change(|state| state.advertised.clone())
    }

    /// It was closed.
    pub(crate) fn is_closed(&self) -> bool {
        !self.change(|state| state.open)
    }

    /// Waits until it was closed once.
    pub(crate) fn withdrawn(&self) {
        self.wait(|state| state.withdrawals > 0 && state.open);
    }

    /// Waits until everything was heard, and looked at.
    pub(crate) fn heard_all(&self) {
        self.wait(|state| state.to_say.is_empty());
        // It is asked again only when what it said last was dealt with.
        self.say(Heard::Gone("nobody".to_owned()));
        self.wait(|state| state.to_say.is_empty());
        self.say(Heard::Gone("nobody".to_owned()));
        self.wait(|state| state.to_say.is_empty());
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = change(&mut state);
        self.0.1.notify_all();
        answer
    }

    fn wait(&self, mut is: impl FnMut(&State) -> bool) {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = Duration::from_secs(20);
        let waited = self.0.1.wait_timeout_while(state, patience, |state| !is(state));
        let (_state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "it does not come to that");
    }
}

/// The back end.
pub(crate) struct Fake {
    name: &'static str,
    script: Script,
}

impl Fake {
    pub(crate) fn new(name: &'static str, script: Script) -> Self {
        Self { name, script }
    }
}

impl BackEnd for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn open(&mut self, advert: Option<&Advert>) -> Result<(), Trouble> {
        self.script.change(|state| {
            if state.refusals > 0 {
                state.refusals -= 1;
                return Err(Trouble("refused".to_owned()));
            }
            state.open = true;
            state.listened = 0;
            state.advertised = advert.cloned();
            Ok(())
        })
    }

    fn listen(&mut self, wait: Duration, heard: &mut dyn FnMut(Heard)) -> Result<(), Trouble> {
        let state = self.script.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |state: &mut State| {
            let refused = state.is_shy && state.advertised.is_some();
            state.to_say.is_empty() && !state.fails && !refused && state.fails_after.is_none()
        };
        let (mut state, _) = self
            .script
            .0
            .1
            .wait_timeout_while(state, wait, quiet)
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.fails) {
            return Err(Trouble("failed".to_owned()));
        }
        let listened = state.listened;
        state.listened += 1;
        let fails = state.fails_after.is_some_and(|turns| listened >= turns);
        if fails || state.is_shy && state.advertised.is_some() {
            return Err(Trouble("not permitted".to_owned()));
        }
        let said = state.to_say.pop_front();
        self.script.0.1.notify_all();
        drop(state);
        if let Some(said) = said {
            heard(said);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.script.change(|state| {
            state.open = false;
            state.withdrawals += 1;
            state.advertised = None;
        });
    }
}

/// A relay of this name on port 9.
pub(crate) fn relay(name: &str, last: u8) -> Sighting<Address> {
    Sighting {
        name: name.to_owned(),
        host: String::new(),
        addresses: Address::new([10, 0, 0, last].into(), 0).into_iter().collect(),
        complete: false,
        port: 9,
        offer: Ok(Offer::default()),
    }
}

/// What "us" says of itself.
pub(crate) fn advert() -> Advert {
    Advert {
        instance: Instance::of_endpoint("us"),
        port: 5,
        offer: Offer {
            id: Some(NodeId(1)),
            ..Offer::of_this_program("0")
        },
        reach: Reach::All,
    }
}

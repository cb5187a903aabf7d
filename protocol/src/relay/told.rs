//! What a peer that watches is to be told, and what it has been told: two sets that are brought together as fast as
//! the peer lets us.
//!
//! The peer's window of request ids may be used up, or its control stream may be full. Nothing is queued for it then:
//! a change only marks its name, and what is said later is what holds later. Several changes of one name in the
//! meantime cost one message or none, and the whole is as large as the number of names there are. [D14-LIM-3]

use crate::moqt::message::RequestId;
use std::collections::{BTreeMap, VecDeque};

/// Which life of a thing: a track that ends and begins again is another one. Namespaces have one life only.
pub type Life = u64;

/// One thing to say next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due<K> {
    /// Tell of this. Follow with [`Told::said`], [`Told::declined`] or [`Told::put_back`].
    Tell(K, Life),
    /// Take back what this request said.
    Withdraw(K, RequestId),
}

/// What the peer knows of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// It is being told of this life.
    Saying(Life),
    Told(Life, RequestId),
    /// It wants to hear no more of this life.
    Refused(Life),
}

#[derive(Debug)]
struct Entry {
    /// The life that there is, as far as anybody looks.
    life: Option<Life>,
    said: Said,
    /// Nobody looks: what is said stays said.
    muted: bool,
    /// Somebody is about to say whether it is there: what was refused stays refused.
    anew: bool,
    queued: bool,
}

impl Entry {
    /// The two sets differ here.
    fn differs(&self) -> bool {
        match (self.life, self.said) {
            _ if self.muted => false,
            (_, Said::Saying(_)) | (None, Said::Nothing | Said::Refused(_)) => false,
            (Some(_), Said::Nothing) | (None, Said::Told(..)) => true,
            (Some(life), Said::Told(told, _) | Said::Refused(told)) => life != told,
        }
    }

    /// Nothing is known here that matters later.
    const fn is_empty(&self) -> bool {
        let silent = match self.said {
            Said::Nothing => true,
            Said::Refused(_) => !self.anew,
            Said::Saying(_) | Said::Told(..) => false,
        };
        silent && self.life.is_none() && !self.queued
    }
}

/// Both sets of one session, for one kind of name.
#[derive(Debug)]
pub struct Told<K> {
    entries: BTreeMap<K, Entry>,
    /// Names that may have something to take back, and names that may have something to tell of: each at most once in
    /// both, the longest waiting first.
    ends: VecDeque<K>,
    tells: VecDeque<K>,
    requests: BTreeMap<RequestId, K>,
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            ends: VecDeque::new(),
            tells: VecDeque::new(),
            requests: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Told<K> {
    /// Nothing there, nothing said.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names that are kept, and those of them that something may have to be said about.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.entries.len(), self.ends.len() + self.tells.len())
    }

    /// True when no name is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `name` is there now in this life, or is not there. Somebody looks at it from now on.
    pub fn now(&mut self, name: K, life: Option<Life>) {
        let entry = self.entries.entry(name.clone()).or_insert(Entry {
            life: None,
            said: Said::Nothing,
            muted: false,
            anew: false,
            queued: false,
        });
        (entry.life, entry.muted, entry.anew) = (life, false, false);
        self.look(&name);
    }

    /// The next thing to say, what is to be taken back first; without `may_tell` nothing else.
    ///
    /// MOQT-14 §9.28 [D14-NS-2]: what the peer was told already is not said again, and it is told of the end only of
    /// what it was told of. §9.5 [D14-REQ-5]: an end needs no request id, and may be what gives the peer room for
    /// more requests, so it does not wait for them.
    pub fn next(&mut self, may_tell: bool) -> Option<Due<K>> {
        loop {
            let (name, ending) = match self.ends.pop_front() {
                Some(name) => (name, true),
                None if may_tell => (self.tells.pop_front()?, false),
                None => return None,
            };
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            entry.queued = false;
            match (entry.said, entry.life) {
                _ if !entry.differs() => self.tidy(&name),
                (Said::Told(_, request), _) if ending => {
                    entry.said = Said::Nothing;
                    self.requests.remove(&request);
                    self.look(&name);
                    return Some(Due::Withdraw(name, request));
                }
                (Said::Nothing | Said::Refused(_), Some(life)) if !ending => {
                    entry.said = Said::Saying(life);
                    return Some(Due::Tell(name, life));
                }
                // It changed while it waited.
                _ => self.look(&name),
            }
        }
    }

    /// Whether this life, given out by [`Self::next`], is still to be told of. When it is not, that is noted.
    pub fn is_wanted(&mut self, name: &K, life: Life) -> bool {
        let Some(entry) = self.entries.get_mut(name) else {
            return false;
        };
        let wanted = entry.said == Said::Saying(life) && entry.life == Some(life) && !entry.muted;
        if !wanted && entry.said == Said::Saying(life) {
            entry.said = Said::Nothing;
            self.look(name);
        }
        wanted
    }

    /// The peer was told of this life, by this request.
    pub fn said(&mut self, name: &K, life: Life, request: RequestId) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.said = Said::Told(life, request);
            self.requests.insert(request, name.clone());
            self.look(name);
        }
    }

    /// This life will not be told of, for a reason that lasts as long as it does.
    pub fn declined(&mut self, name: &K, life: Life) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.said = Said::Refused(life);
            self.look(name);
        }
    }

    /// It could not be said now, and is the next thing to be said.
    pub fn put_back(&mut self, name: &K) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.said = Said::Nothing;
            if !std::mem::replace(&mut entry.queued, true) {
                self.tells.push_front(name.clone());
            }
        }
    }

    /// The peer refused or cancelled this request: it is not told of this life again, and not of its end.
    ///
    /// MOQT-14 §6.2 [D14-NS-9]: after PUBLISH_NAMESPACE_CANCEL no DONE is sent.
    pub fn refused(&mut self, request: RequestId) -> Option<K> {
        let name = self.requests.remove(&request)?;
        if let Some(entry) = self.entries.get_mut(&name)
            && let Said::Told(life, _) = entry.said
        {
            entry.said = Said::Refused(life);
            self.look(&name);
        }
        Some(name)
    }

    /// Nobody looks at these names any more, which are the first from `from` on for which `below` holds. What the peer
    /// was told stays said, and nothing more is.
    pub fn mute(&mut self, from: &K, below: impl Fn(&K) -> bool) {
        self.look_away(from, below, false);
    }

    /// All that there is of these names (as in [`Self::mute`]) is about to be given to [`Self::now`], up to
    /// [`Self::complete`]. Nothing is said of them until they are.
    ///
    /// MOQT-14 §6.2 [D14-NS-9]: that they are given again is no news, so what the peer refused is not said again.
    pub fn anew(&mut self, from: &K, below: impl Fn(&K) -> bool) {
        self.look_away(from, below, true);
    }

    fn look_away(&mut self, from: &K, below: impl Fn(&K) -> bool, anew: bool) {
        let names = self.entries.range(from..).map(|(name, _)| name);
        let names: Vec<K> = names.take_while(|name| below(name)).cloned().collect();
        for name in names {
            if let Some(entry) = self.entries.get_mut(&name) {
                (entry.life, entry.muted, entry.anew) = (None, true, anew);
            }
            self.tidy(&name);
        }
    }

    /// All that there is of these names (as in [`Self::mute`]) has been given to [`Self::now`]: what was said before
    /// and is not there is to be taken back.
    pub fn complete(&mut self, from: &K, below: impl Fn(&K) -> bool) {
        let known = self.entries.range(from..).take_while(|(name, _)| below(name));
        let gone = known.filter(|(_, entry)| entry.muted);
        let names: Vec<K> = gone.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.now(name, None);
        }
    }

    /// Lets at most `max` names that nobody looks at stay said, and takes the others back. Those that are given
    /// [anew](Self::anew) just now are looked at.
    pub fn trim(&mut self, max: usize) {
        let muted = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.muted && !entry.anew);
        let names: Vec<K> = muted.skip(max).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.now(name, None);
        }
    }

    fn look(&mut self, name: &K) {
        if let Some(entry) = self.entries.get_mut(name)
            && entry.differs()
        {
            if !std::mem::replace(&mut entry.queued, true) {
                let waiting = match entry.said {
                    Said::Told(..) => &mut self.ends,
                    Said::Nothing | Said::Saying(_) | Said::Refused(_) => &mut self.tells,
                };
                waiting.push_back(name.clone());
            }
        } else {
            self.tidy(name);
        }
    }

    fn tidy(&mut self, name: &K) {
        if self.entries.get(name).is_some_and(Entry::is_empty) {
            self.entries.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    const R: fn(u64) -> RequestId = RequestId;

    fn told(names: &[&'static str]) -> Told<&'static str> {
        let mut told = Told::new();
        for (n, name) in (0..).zip(names) {
            told.now(*name, Some(0));
            assert_eq!(told.next(true), Some(Due::Tell(*name, 0)));
            told.said(name, 0, R(n));
        }
        told
    }

    /// D14-NS-2 D14-NS-14
    #[test]
    fn a_name_is_told_once_and_its_end_once() {
        let mut told = told(&["a"]);
        told.now("a", Some(0));
        assert_eq!(told.next(true), None, "a second announcer is no news");
        told.now("a", None);
        assert_eq!(told.next(true), Some(Due::Withdraw("a", R(0))));
        assert_eq!(told.next(true), None);
        assert!(told.is_empty());
    }

    /// D14-LIM-3
    #[test]
    fn changes_while_nothing_can_be_said_collapse() {
        let mut told = told(&["a"]);
        for _ in 0..1000 {
            for (name, life) in [("a", None), ("b", Some(0)), ("a", Some(0)), ("b", None)] {
                told.now(name, life);
            }
        }
        assert_eq!(told.len(), (2, 2));
        assert_eq!(told.next(true), None);
        assert_eq!(told.len(), (1, 0));
    }

    /// D14-NS-9
    #[test]
    fn what_is_refused_is_not_repeated_and_not_ended() {
        let mut told = told(&["a"]);
        assert_eq!(told.refused(R(0)), Some("a"));
        assert_eq!(told.refused(R(0)), None);
        told.now("a", Some(0));
        told.now("a", None);
        assert_eq!(told.next(true), None);
        // Gone and there again, it is news again.
        told.now("a", Some(0));
        assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
    }

    #[test]
    fn a_next_life_ends_the_one_before() {
        let mut told = told(&["t"]);
        told.now("t", Some(7));
        assert_eq!(told.next(true), Some(Due::Withdraw("t", R(0))));
        assert_eq!(told.next(true), Some(Due::Tell("t", 7)));
        // It ends while it is being asked for what to say.
        told.now("t", Some(8));
        assert!(!told.is_wanted(&"t", 7));
        assert_eq!(told.next(true), Some(Due::Tell("t", 8)));
        assert!(told.is_wanted(&"t", 8));
        told.declined(&"t", 8);
        told.now("t", Some(8));
        assert_eq!(told.next(true), None);
    }

    /// D14-NS-2 D14-NS-10
    #[test]
    fn what_was_said_before_is_known_when_it_is_watched_again() {
        let mut told = told(&["a", "b"]);
        told.mute(&"", |_| true);
        assert_eq!(told.next(true), None, "nothing is said while nobody looks");
        told.now("a", Some(0));
        told.now("c", Some(0));
        told.complete(&"", |_| true);
        assert_eq!(told.next(true), Some(Due::Withdraw("b", R(1))));
        assert_eq!(told.next(true), Some(Due::Tell("c", 0)));
        assert_eq!(told.next(true), None);
    }

    /// D14-NS-9
    #[test]
    fn what_was_refused_stays_so_when_all_is_given_anew() {
        let mut told = told(&["a", "b", "c"]);
        assert_eq!(told.refused(R(0)), Some("a"));
        told.anew(&"", |_| true);
        // Its refusal crosses what is given.
        assert_eq!(told.refused(R(1)), Some("b"));
        for name in ["a", "b", "d"] {
            told.now(name, Some(0));
        }
        // Another prefix is not watched any more meanwhile.
        told.trim(0);
        assert_eq!(told.next(true), Some(Due::Tell("d", 0)), "nothing else is known");
        told.complete(&"", |_| true);
        assert_eq!(told.next(true), Some(Due::Withdraw("c", R(2))));
        assert_eq!(told.next(true), None);
        // What was refused and is not there any more is forgotten.
        told.anew(&"", |_| true);
        told.complete(&"", |_| true);
        told.now("a", Some(0));
        assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
        assert_eq!(told.len(), (2, 0));
    }

    #[test]
    fn what_nobody_looks_at_is_bounded() {
        let mut told = told(&["a", "b", "c"]);
        told.mute(&"", |_| true);
        told.trim(2);
        assert_eq!(told.next(true), Some(Due::Withdraw("c", R(2))));
        assert_eq!((told.next(true), told.len()), (None, (2, 0)));
    }

    /// D14-REQ-5
    #[test]
    fn an_end_does_not_wait_for_leave_to_tell() {
        let mut told = told(&["a"]);
        for (name, life) in [("b", Some(0)), ("a", None)] {
            told.now(name, life);
        }
        assert_eq!(told.next(false), Some(Due::Withdraw("a", R(0))));
        assert_eq!(told.next(false), None);
        assert_eq!(told.next(true), Some(Due::Tell("b", 0)));
    }

    #[test]
    fn what_could_not_be_said_is_next() {
        let mut told = Told::new();
        for name in ["a", "b"] {
            told.now(name, Some(0));
        }
        assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
        told.put_back(&"a");
        assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
    }

    proptest! {
        /// D14-NS-2 D14-LIM-3: whatever happens in between, the peer knows in the end what there is, by messages that
        /// make sense to it, and no more is kept than there are names.
        #[test]
        fn the_peer_ends_up_knowing_what_there_is(steps in proptest::collection::vec((0u8..7, 0u8..4, any::<bool>()), 0..200), tracks: bool) {
            let mut told: Told<u8> = Told::new();
            let (mut there, mut peer) = (BTreeMap::new(), BTreeMap::new());
            let (mut refused, mut saying) = (BTreeMap::new(), Vec::new());
            let mut request = 0;
            let hear = |due: Due<u8>, peer: &mut BTreeMap<u8, (u64, u64)>| match due {
                Due::Tell(name, life) => Some((name, life)),
                Due::Withdraw(name, id) => {
                    assert_eq!(peer.remove(&name).map(|(_, known)| R(known)), Some(id));
                    None
                }
            };
            for (n, (what, name, yes)) in (1..).zip(steps) {
                match what {
                    0 | 1 => {
                        // Lives of tracks do not come back; a namespace has one.
                        let life = yes.then_some(if tracks { n } else { 0 });
                        told.now(name, life);
                        match life {
                            Some(life) => there.insert(name, life),
                            None => there.remove(&name),
                        };
                        if refused.get(&name) != there.get(&name) {
                            refused.remove(&name);
                        }
                    }
                    2 => saying.extend(told.next(yes).and_then(|due| hear(due, &mut peer))),
                    3 => if let Some((name, life)) = saying.pop() && told.is_wanted(&name, life) {
                        request += 1;
                        told.said(&name, life, R(request));
                        prop_assert_eq!(peer.insert(name, (life, request)), None);
                    }
                    4 => if let Some((life, id)) = peer.get(&name).copied().filter(|_| tracks) {
                        told.refused(R(id));
                        peer.remove(&name);
                        if there.get(&name) == Some(&life) {
                            refused.insert(name, life);
                        }
                    }
                    5 => if let Some((name, life)) = saying.pop() && told.is_wanted(&name, life) {
                        told.put_back(&name);
                    }
                    _ => {
                        told.anew(&0, |_| true);
                        for (name, life) in &there {
                            told.now(*name, Some(*life));
                            if yes {
                                saying.extend(told.next(true).and_then(|due| hear(due, &mut peer)));
                            }
                        }
                        told.complete(&0, |_| true);
                    }
                }
                prop_assert!(told.len().0 <= 4 && told.len().1 <= 4);
            }
            loop {
                saying.extend(told.next(true).and_then(|due| hear(due, &mut peer)));
                let Some((name, life)) = saying.pop() else {
                    if told.len().1 == 0 { break; }
                    continue;
                };
                if told.is_wanted(&name, life) {
                    request += 1;
                    told.said(&name, life, R(request));
                    prop_assert_eq!(peer.insert(name, (life, request)), None);
                }
            }
            there.retain(|name, life| refused.get(name) != Some(life));
            let known: BTreeMap<u8, u64> = peer.into_iter().map(|(name, (life, _))| (name, life)).collect();
            prop_assert_eq!(known, there);
        }
    }
}

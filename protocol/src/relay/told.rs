//! What a peer that watches is to be told, and what it has been told: two sets that are brought together as fast as
//! the peer lets us.
//!
//! The peer's window of request ids may be used up, or its control stream may be full. Nothing is queued for it then:
//! a change only marks its name, and what is said later is what holds later. Several changes of one name in the
//! meantime cost one message or none, and the whole is as large as the number of names there are. [D14-LIM-3]

#[cfg(test)]
mod tests;

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

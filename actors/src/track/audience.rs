//! Who reads a copy of a track: this relay's own, and links to other relays of the mesh.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The readers of one copy together, or of all copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Sessions of this relay, and its stubs: whether one of them wants objects, if there are any.
    pub own: Option<bool>,
    /// The same of links to other relays.
    pub links: Option<bool>,
}

impl Audience {
    /// One reader.
    #[must_use]
    pub const fn of(own: bool, forward: bool) -> Self {
        match own {
            true => Self {
                own: Some(forward),
                links: None,
            },
            false => Self {
                own: None,
                links: Some(forward),
            },
        }
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        // None is less than any wish, and no wish for objects is less than one.
        Self {
            own: self.own.max(others.own),
            links: self.links.max(others.links),
        }
    }

    /// Somebody wants objects.
    #[must_use]
    pub fn wants_objects(self) -> bool {
        self.own.max(self.links) == Some(true)
    }
}

/// The readers of a replica as they are now; one message at a time says that they have changed, however often they do.
/// [D14-LIM-2]
#[derive(Debug, Default)]
pub struct AudienceNow {
    readers: AtomicU8,
    told: AtomicBool,
}

impl AudienceNow {
    /// They are these. True when the home is to be told.
    #[must_use]
    pub fn set(&self, audience: Audience) -> bool {
        let [own, links] = [audience.own, audience.links].map(|wish| match wish {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        });
        self.readers.store(own << 2 | links, Ordering::SeqCst);
        !self.told.swap(true, Ordering::SeqCst)
    }

    /// Who they are, for a home that was told so.
    #[must_use]
    pub fn read(&self) -> Audience {
        // What changes after this is told anew.
        self.told.store(false, Ordering::SeqCst);
        let readers = self.readers.load(Ordering::SeqCst);
        let wish = |bits| match bits & 3 {
            0 => None,
            forward => Some(forward == 2),
        };
        Audience {
            own: wish(readers >> 2),
            links: wish(readers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-LIM-2: however often readers come and go, one message is on its way, and who they are last is read.
    #[test]
    fn a_flood_of_changes_is_one_message() {
        let now = AudienceNow::default();
        let wishes = [None, Some(false), Some(true)];
        let all = wishes.map(|own| wishes.map(|links| Audience { own, links }));
        let all = all.as_flattened();
        let told = all.iter().filter(|audience| now.set(**audience)).count();
        assert_eq!(told, 1);
        assert_eq!(now.read(), all[8]);
        for audience in all {
            assert!(now.set(*audience));
            assert_eq!(now.read(), *audience);
        }
    }

    #[test]
    fn readers_together_want_what_any_of_them_wants() {
        let own = Audience::of(true, false);
        let link = Audience::of(false, true);
        let both = own.and(link);
        assert_eq!((both.own, both.links), (Some(false), Some(true)));
        assert!(both.wants_objects() && !own.wants_objects());
        assert_eq!(own.and(Audience::default()), own);
    }
}

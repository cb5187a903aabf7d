//! Who reads a copy of a track: this relay's own, and links to other relays of the mesh.

use super::wants::Wants;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The readers of one copy together, or of all copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Sessions of this relay, and its stubs: the most that one of them wants, if there are any.
    pub own: Option<Wants>,
    /// The same of links to other relays.
    pub links: Option<Wants>,
}

impl Audience {
    /// One reader.
    #[must_use]
    pub const fn of(own: bool, wants: Wants) -> Self {
        match own {
            true => Self {
                own: Some(wants),
                links: None,
            },
            false => Self {
                own: None,
                links: Some(wants),
            },
        }
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        // Nobody is less than whoever wants nothing just now.
        Self {
            own: self.own.max(others.own),
            links: self.links.max(others.links),
        }
    }

    /// What both kinds want together.
    #[must_use]
    pub fn wants(self) -> Wants {
        self.own.max(self.links).unwrap_or_default()
    }
}

/// The readers of a replica as they are now; one message at a time says that they have changed, however often they do.
/// [D14-LIM-2]
#[derive(Debug, Default)]
pub struct AudienceNow {
    readers: AtomicU32,
    told: AtomicBool,
}

impl AudienceNow {
    /// They are these. True when the home is to be told.
    #[must_use]
    pub fn set(&self, audience: Audience) -> bool {
        let wish = |wants: Option<Wants>| wants.map_or(0, Wants::to_bits);
        let readers = u32::from(wish(audience.own)) << 16 | u32::from(wish(audience.links));
        self.readers.store(readers, Ordering::SeqCst);
        !self.told.swap(true, Ordering::SeqCst)
    }

    /// Who they are, for a home that was told so.
    #[must_use]
    pub fn read(&self) -> Audience {
        // What changes after this is told anew.
        self.told.store(false, Ordering::SeqCst);
        let [a, b, c, d] = self.readers.load(Ordering::SeqCst).to_be_bytes();
        Audience {
            own: Wants::from_bits(u16::from_be_bytes([a, b])),
            links: Wants::from_bits(u16::from_be_bytes([c, d])),
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
        let wishes = [None, Some(Wants::Nothing), Some(Wants::of(true, 255))];
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
        let urgent = Wants::of(true, 3);
        let own = Audience::of(true, Wants::Nothing);
        let link = Audience::of(false, urgent).and(Audience::of(false, Wants::of(true, 4)));
        let both = own.and(link);
        assert_eq!((both.own, both.links), (Some(Wants::Nothing), Some(urgent)));
        assert_eq!((both.wants(), own.wants()), (urgent, Wants::Nothing));
        assert_eq!(Audience::default().wants(), Wants::Nothing);
        assert_eq!(own.and(Audience::default()), own);
    }
}

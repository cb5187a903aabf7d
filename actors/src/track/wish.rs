//! What readers want of a track beside its objects, said once however often it changes.
//!
//! A peer sends SUBSCRIBE_UPDATE as often as it likes, and each may change what its track is to know, on another thread.
//! So a reader has at most one message of each kind on its way, and the track reads what holds when it has come to it.

use super::ReaderId;
use super::wants::Wants;
use actix::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// A reader starts or stops wanting objects, or they become more or less urgent to it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetWants {
    /// Who.
    pub reader: ReaderId,
    /// What it wants when this is read.
    pub wish: Arc<Wish>,
}

/// A reader wants a new group soon. Sent before it attaches, so that the request can go along with our SUBSCRIBE.
///
/// A peer says so as often as it likes, and it is said once.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "()")]
pub struct WantNewGroup {
    /// True while such a message of the reader is on its way.
    sent: Arc<AtomicBool>,
    /// The reader belongs to this relay, so that publishers of other nodes are asked too; see
    /// [`Attach::own`](super::Attach::own).
    pub own: bool,
}

/// What a reader wants, as of now; one message at a time says that this has changed, however often its peer
/// changes it. [D14-LIM-2]
#[derive(Debug, Default)]
pub struct Wish {
    wants: AtomicU16,
    told: AtomicBool,
}

impl Wish {
    /// It wants this. True when its track is to be told.
    #[must_use]
    pub fn set(&self, wants: Wants) -> bool {
        self.wants.store(wants.to_bits(), Ordering::SeqCst);
        !self.told.swap(true, Ordering::SeqCst)
    }

    /// What it wants, for a track that was told so.
    #[must_use]
    pub fn read(&self) -> Wants {
        // What changes after this is told anew.
        self.told.store(false, Ordering::SeqCst);
        Wants::from_bits(self.wants.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

impl WantNewGroup {
    /// Of a reader, which belongs to this relay or does not.
    #[must_use]
    pub fn of(own: bool) -> Self {
        let sent = Arc::default();
        Self { sent, own }
    }

    /// A message to send; none while the one before is on its way.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        let sent = self.sent.swap(true, Ordering::SeqCst);
        (!sent).then(|| self.clone())
    }

    /// It has arrived where something is done about it.
    pub fn arrived(&self) {
        self.sent.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-LIM-2 D14-SUB-2: whatever a peer says meanwhile, one message is on its way, and what holds last is read.
    #[test]
    fn a_flood_of_changes_is_one_message() {
        let wish = Wish::default();
        let change = |n: u16| Wants::of(n.is_multiple_of(2), n.to_le_bytes()[0]);
        let told = (0..1000).filter(|n| wish.set(change(*n))).count();
        assert_eq!(told, 1);
        assert_eq!(wish.read(), Wants::Nothing, "the last of them");
        let urgent = Wants::of(true, 7);
        assert!(wish.set(urgent), "a change that comes later is told");
        assert!(!wish.set(urgent) && wish.read() == urgent);
    }

    /// D14-LIM-2
    #[test]
    fn a_flood_of_wishes_for_a_group_is_one_message() {
        let wish = WantNewGroup::default();
        let message = wish.again().unwrap();
        assert!((0..1000).all(|_| wish.again().is_none()));
        message.arrived();
        assert!(wish.again().is_some());
    }
}

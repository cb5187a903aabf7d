//! The data streams of the peer that are being read, and how one of them hears that it has to go.

use crate::limits::{Account, Kind, Lease};
use laps_protocol::relay::inbound::{Inbound as Open, Ticket};
use slog::Logger;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::oneshot;

#[derive(Debug)]
struct Inner {
    open: Open,
    /// Dropped when the stream is given up.
    stays: BTreeMap<Ticket, oneshot::Sender<()>>,
}

/// The open streams of one session or link. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    inner: Rc<RefCell<Inner>>,
    account: Account,
    log: Logger,
}

/// One stream among them, for as long as this lives.
#[derive(Debug)]
pub(super) struct Reading {
    ticket: Ticket,
    inbound: Inbound,
    given_up: oneshot::Receiver<()>,
    _lease: Lease,
}

impl Inbound {
    /// As many as the account lets it have.
    pub(crate) fn new(account: Account, log: Logger) -> Self {
        let inner = Inner {
            open: Open::new(account.max(Kind::Streams)),
            stays: BTreeMap::new(),
        };
        Self {
            inner: Rc::new(RefCell::new(inner)),
            account,
            log,
        }
    }

    /// A stream of this publisher priority is read. For one that is too many another is given up, or it itself.
    pub(super) fn read(&self, priority: u8) -> Reading {
        let (stays, given_up) = oneshot::channel();
        let mut inner = self.inner.borrow_mut();
        let (ticket, least) = inner.open.open(priority);
        inner.stays.insert(ticket, stays);
        if let Some(least) = least {
            inner.stays.remove(&least);
            self.account
                .note(&self.log, self.account.refuse(Kind::Streams, false));
        }
        drop(inner);
        Reading {
            ticket,
            inbound: self.clone(),
            given_up,
            _lease: self.account.hold(Kind::Streams, 1),
        }
    }
}

impl Reading {
    /// Resolves when the stream has to go.
    pub(super) async fn given_up(&mut self) {
        // Nothing is ever sent: the other end is dropped.
        drop((&mut self.given_up).await);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // Also while a panic unwinds, so it cannot fail. What is taken out is dropped when nothing is borrowed.
        let inner = self.inbound.inner.try_borrow_mut();
        let gone = inner.map(|mut inner| {
            inner.open.close(self.ticket);
            inner.stays.remove(&self.ticket)
        });
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PerKind, Share, UNLIMITED};
    use slog::o;

    /// A guard that cannot look is let go: a panic here would be the second one of a thread that unwinds.
    #[test]
    fn a_stream_may_go_at_any_time() {
        let account = Account::new(PerKind::all(UNLIMITED), Share::unbounded());
        let inbound = Inbound::new(account.clone(), Logger::root(slog::Discard, o!()));
        let (one, other) = (inbound.read(1), inbound.read(2));
        let inside = inbound.inner.borrow_mut();
        drop(one);
        drop(inside);
        drop(other);
        // What the account counts is not in the table.
        assert_eq!(account.used(Kind::Streams), 0);
    }
}

//! How a relay's links are dialled over QUIC.

use super::Dialer;
use super::link::Reached;
use super::options::Reach;
use super::target::{PeerKind, PeerTarget};
use crate::transport::{ClientTls, ConnHandle, TransportConfig};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// One dialler for each connection that is kept up, made when it is first needed.
#[derive(Debug)]
pub struct Dialers {
    ours: Option<ClientTls>,
    laps: Option<ClientTls>,
    config: TransportConfig,
    lookup: Duration,
    /// Those that do not dial just now.
    idle: Rc<RefCell<BTreeMap<usize, Dialer>>>,
}

impl Dialers {
    /// With these proofs for relays of ours and for laps relays; where there is none, none of them is dialled. A lookup
    /// may take `lookup`.
    #[must_use]
    pub fn new(
        ours: Option<ClientTls>,
        laps: Option<ClientTls>,
        config: TransportConfig,
        lookup: Duration,
    ) -> Self {
        Self {
            ours,
            laps,
            config,
            lookup,
            idle: Rc::default(),
        }
    }
}

impl Reach for Dialers {
    type Conn = ConnHandle;

    fn dial(
        &self,
        number: usize,
        target: &PeerTarget,
    ) -> LocalBoxFuture<'static, Result<Reached<ConnHandle>, String>> {
        let tls = match target.kind {
            PeerKind::Ours => &self.ours,
            PeerKind::Laps => &self.laps,
        };
        let Some(tls) = tls else {
            let why = format!("{target}: this relay has nothing to prove itself with");
            return async move { Err(why) }.boxed_local();
        };
        let known = self.idle.borrow_mut().remove(&number);
        let mut dialer = known.unwrap_or_else(|| Dialer::new(tls.clone(), self.config.clone(), self.lookup));
        let (idle, target) = (Rc::clone(&self.idle), target.clone());
        async move {
            let reached = dialer.dial(&target.at).await;
            idle.borrow_mut().insert(number, dialer);
            reached.map(Reached::from).map_err(|error| error.to_string())
        }
        .boxed_local()
    }
}

//! Where other relays dial this one, over all lives of the shard that listens there.

use super::Peering;
use laps_actors::peering;
use laps_actors::transport::{self, BindError, Listen, ShardSocket};
use std::net::SocketAddr;

/// What the peering is made of, and its sockets, which stay here as those of the shards do.
pub(super) struct Place {
    setup: peering::Setup,
    sockets: peering::Sockets,
}

impl Place {
    pub(super) fn bind(peering: &Peering) -> Result<Self, BindError> {
        let bind = |listen: Option<(Listen, u16)>| {
            let sockets = listen.map(|(listen, port)| transport::bind(listen, port, 1));
            let sockets = sockets.transpose()?;
            Ok::<_, BindError>(sockets.and_then(|sockets| sockets.into_iter().next()))
        };
        Ok(Self {
            setup: peering.setup.clone(),
            sockets: peering::Sockets {
                ours: bind(peering.listen)?,
                laps: bind(peering.laps_listen)?,
            },
        })
    }

    pub(super) fn local_addrs(&self) -> [Option<SocketAddr>; 2] {
        let addr = |socket: &Option<ShardSocket>| socket.as_ref().map(ShardSocket::local_addr);
        [addr(&self.sockets.ours), addr(&self.sockets.laps)]
    }

    /// For one life of the shard.
    pub(super) fn again(&self) -> std::io::Result<(peering::Setup, peering::Sockets)> {
        Ok((self.setup.clone(), self.sockets.try_clone()?))
    }
}

//! What arrives on the connection for one session.

use super::SessionActor;
use crate::transport::{BidiAcceptor, ConnError, DatagramReceiver, RecvGuard, SendGuard, UniAcceptor};
use actix::{AsyncContext, Context};
use bytes::Bytes;
use futures::stream;
use std::future::poll_fn;

/// One thing that arrived.
#[derive(Debug)]
pub enum Incoming {
    /// A unidirectional stream.
    Uni(RecvGuard),
    /// A bidirectional stream.
    Bidi(SendGuard, RecvGuard),
    /// A datagram.
    Datagram(Bytes),
    /// The connection ended.
    Ended(ConnError),
}

/// The three places where things arrive.
#[derive(Debug)]
pub struct Acceptors {
    /// Unidirectional streams.
    pub uni: UniAcceptor,
    /// Bidirectional streams.
    pub bidi: BidiAcceptor,
    /// Datagrams.
    pub datagrams: DatagramReceiver,
}

impl Acceptors {
    /// Gives them to the session's context: three streams, however many QUIC streams there are.
    pub(super) fn attach(self, ctx: &mut Context<SessionActor>) {
        let Self { uni, bidi, datagrams } = self;
        ctx.add_stream(stream::unfold(Some(uni), |uni| async {
            let mut uni = uni?;
            match poll_fn(|cx| uni.poll_accept(cx)).await {
                Ok(Some(stream)) => Some((Incoming::Uni(stream), Some(uni))),
                Ok(None) => Some((Incoming::Ended(ConnError::Ended), None)),
                Err(error) => Some((Incoming::Ended(error), None)),
            }
        }));
        ctx.add_stream(stream::unfold(Some(bidi), |bidi| async {
            let mut bidi = bidi?;
            match poll_fn(|cx| bidi.poll_accept(cx)).await {
                Ok(Some((send, recv))) => Some((Incoming::Bidi(send, recv), Some(bidi))),
                Ok(None) | Err(_) => None,
            }
        }));
        ctx.add_stream(stream::unfold(datagrams, |mut datagrams| async {
            // The end of the connection is reported by the stream acceptor.
            let datagram = poll_fn(|cx| datagrams.poll_recv(cx)).await.ok()?;
            Some((Incoming::Datagram(datagram), datagrams))
        }));
    }
}

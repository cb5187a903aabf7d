//! Lets a handshake that fails in its first packet be refused aloud.
//!
//! The stack throws a connection away, without a word, when TLS fails on the very first packet: a client that asks for
//! a protocol we do not speak would wait for its own time-out. Here TLS holds such an error back until the stack has
//! taken the connection in; from then on an error ends in a CONNECTION_CLOSE like any other.
//!
//! It is also where the peer's transport parameters pass by, of which the stack keeps one to itself.

use std::{any::Any, error::Error, fmt, task::Poll, task::Waker};

use bytes::Bytes;
use s2n_quic::provider::tls;
use s2n_quic_core::{
    application::ServerName,
    crypto::{
        CryptoSuite,
        tls::{ApplicationParameters, ConnectionInfo, Context, Endpoint, NamedGroup, Session, TlsSession},
    },
    havoc::EncoderValue,
    transport,
};

use super::unsent;

type Outcome = Result<(), transport::Error>;

/// A TLS endpoint whose server sessions speak before they fail, and whose sessions show the peer's first window.
#[derive(Debug)]
pub(super) struct Aloud<E>(pub(super) E);

impl<E: Endpoint> tls::Provider for Aloud<E> {
    type Server = Self;
    type Client = Self;
    type Error = std::convert::Infallible;

    fn start_server(self) -> Result<Self, Self::Error> {
        Ok(self)
    }

    fn start_client(self) -> Result<Self, Self::Error> {
        Ok(self)
    }
}

impl<E: Endpoint> Endpoint for Aloud<E> {
    type Session = AloudSession<E::Session>;

    fn new_server_session<P: EncoderValue>(&mut self, params: &P, info: ConnectionInfo) -> Self::Session {
        AloudSession::new(self.0.new_server_session(params, info), 0)
    }

    fn new_client_session<P: EncoderValue>(&mut self, params: &P, name: ServerName) -> Self::Session {
        // A client speaks first, so it is taken in before anything can fail.
        AloudSession::new(self.0.new_client_session(params, name), HELD_POLLS)
    }

    fn max_tag_length(&self) -> usize {
        self.0.max_tag_length()
    }
}

/// A session that holds back an error of its first packet.
pub(super) struct AloudSession<S> {
    inner: S,
    polls: u8,
    held: Option<transport::Error>,
}

/// Polls during which an error is held back. The first packet brings one poll, or two when a second packet is
/// coalesced behind it; the wake-up that the hold asks for brings the next.
const HELD_POLLS: u8 = 2;

impl<S> AloudSession<S> {
    const fn new(inner: S, polls: u8) -> Self {
        Self {
            inner,
            polls,
            held: None,
        }
    }
}

impl<S> fmt::Debug for AloudSession<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AloudSession")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl<S: Session> Session for AloudSession<S> {
    fn poll<C: Context<Self>>(&mut self, context: &mut C) -> Poll<Outcome> {
        let early = self.polls < HELD_POLLS;
        self.polls = self.polls.saturating_add(1);
        let error = match self.held {
            Some(error) => error,
            None => match self.inner.poll(&mut Through(context)) {
                Poll::Ready(Err(error)) => error,
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            },
        };
        if !early {
            return Poll::Ready(Err(error));
        }
        self.held = Some(error);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn process_post_handshake_message<C: Context<Self>>(&mut self, context: &mut C) -> Outcome {
        self.inner.process_post_handshake_message(&mut Through(context))
    }

    fn should_discard_session(&self) -> bool {
        self.inner.should_discard_session()
    }
}

impl<S: CryptoSuite> CryptoSuite for AloudSession<S> {
    type HandshakeKey = S::HandshakeKey;
    type HandshakeHeaderKey = S::HandshakeHeaderKey;
    type InitialKey = S::InitialKey;
    type InitialHeaderKey = S::InitialHeaderKey;
    type OneRttKey = S::OneRttKey;
    type OneRttHeaderKey = S::OneRttHeaderKey;
    type ZeroRttKey = S::ZeroRttKey;
    type ZeroRttHeaderKey = S::ZeroRttHeaderKey;
    type RetryKey = S::RetryKey;
}

/// The stack's context as the inner session knows it: the same calls, the same keys.
struct Through<'a, C>(&'a mut C);

impl<S: Session, C: Context<AloudSession<S>>> Context<S> for Through<'_, C> {
    fn on_client_application_params(
        &mut self,
        client: ApplicationParameters<'_>,
        server: &mut Vec<u8>,
    ) -> Outcome {
        self.0.on_client_application_params(client, server)
    }

    fn on_handshake_keys(&mut self, key: S::HandshakeKey, header_key: S::HandshakeHeaderKey) -> Outcome {
        self.0.on_handshake_keys(key, header_key)
    }

    fn on_zero_rtt_keys(
        &mut self,
        key: S::ZeroRttKey,
        header_key: S::ZeroRttHeaderKey,
        params: ApplicationParameters<'_>,
    ) -> Outcome {
        self.0.on_zero_rtt_keys(key, header_key, params)
    }

    fn on_one_rtt_keys(
        &mut self,
        key: S::OneRttKey,
        header_key: S::OneRttHeaderKey,
        params: ApplicationParameters<'_>,
    ) -> Outcome {
        // The stack reads them in this call, and tells its event subscriber all of them but one.
        unsent::remember_first_window(params.transport_parameters);
        self.0.on_one_rtt_keys(key, header_key, params)
    }

    fn on_server_name(&mut self, name: ServerName) -> Outcome {
        self.0.on_server_name(name)
    }

    fn on_application_protocol(&mut self, protocol: Bytes) -> Outcome {
        self.0.on_application_protocol(protocol)
    }

    fn on_key_exchange_group(&mut self, group: NamedGroup) -> Outcome {
        self.0.on_key_exchange_group(group)
    }

    fn on_handshake_complete(&mut self) -> Outcome {
        self.0.on_handshake_complete()
    }

    fn on_tls_context(&mut self, context: Box<dyn Any + Send>) {
        self.0.on_tls_context(context);
    }

    fn on_tls_exporter_ready(&mut self, session: &impl TlsSession) -> Outcome {
        self.0.on_tls_exporter_ready(session)
    }

    fn on_tls_handshake_failed(
        &mut self,
        session: &impl TlsSession,
        error: Box<dyn Error + Send + Sync + 'static>,
    ) -> Outcome {
        self.0.on_tls_handshake_failed(session, error)
    }

    fn receive_initial(&mut self, max_len: Option<usize>) -> Option<Bytes> {
        self.0.receive_initial(max_len)
    }

    fn receive_handshake(&mut self, max_len: Option<usize>) -> Option<Bytes> {
        self.0.receive_handshake(max_len)
    }

    fn receive_application(&mut self, max_len: Option<usize>) -> Option<Bytes> {
        self.0.receive_application(max_len)
    }

    fn can_send_initial(&self) -> bool {
        self.0.can_send_initial()
    }

    fn send_initial(&mut self, transmission: Bytes) {
        self.0.send_initial(transmission);
    }

    fn can_send_handshake(&self) -> bool {
        self.0.can_send_handshake()
    }

    fn send_handshake(&mut self, transmission: Bytes) {
        self.0.send_handshake(transmission);
    }

    fn can_send_application(&self) -> bool {
        self.0.can_send_application()
    }

    fn send_application(&mut self, transmission: Bytes) {
        self.0.send_application(transmission);
    }

    fn waker(&self) -> &Waker {
        self.0.waker()
    }
}

//! What a closing connection tells its peer.

use s2n_quic::{
    application,
    provider::connection_close_formatter::{ConnectionClose, Context, Formatter, Production},
};
use s2n_quic_core::transport;

use super::{conn::take_reason, endpoint::NO_APPLICATION_PROTOCOL, error::certificate_fault};

/// What the peer said when it closed the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerClose {
    /// Application code, or RFC 9000 §20.1 code when `by_application` is false.
    pub code: u64,
    /// Whether the peer's application closed it, and not its QUIC stack.
    pub by_application: bool,
    /// The peer's words, at most [`MAX_REASON`] bytes of them, invalid UTF-8 replaced.
    pub reason: String,
}

/// Bytes of a peer's close reason that are kept; the rest is of no use in a log line.
pub const MAX_REASON: usize = 256;

/// Writes the reason given to [`ConnHandle::close`](super::ConnHandle::close) into the frame, and says plainly when a
/// client asked for a protocol we do not speak and what is wrong with a certificate. Other transport errors keep their code and lose their details.
#[derive(Debug)]
pub(super) struct CloseText;

/// RFC 9001 §8.1: the alert behind this code is the only hint a client gets, so it is not made generic.
const NO_COMMON_ALPN: &str = "no common ALPN token";

impl Formatter for CloseText {
    fn format_transport_error(&self, context: &Context<'_>, error: transport::Error) -> ConnectionClose<'_> {
        if error.code.as_u64() == NO_APPLICATION_PROTOCOL {
            return error.with_reason(NO_COMMON_ALPN).into();
        }
        // TLS over TCP tells as much; without it an operator cannot know which of two relays is set up wrongly.
        if let Some(fault) = certificate_fault(error.code.as_u64()) {
            return error.with_reason(fault).into();
        }
        Production.format_transport_error(context, error)
    }

    fn format_application_error(
        &self,
        context: &Context<'_>,
        error: application::Error,
    ) -> ConnectionClose<'_> {
        let reason = take_reason((*context.remote_address).into(), error.into());
        ConnectionClose {
            error_code: error.into(),
            frame_type: None,
            reason: reason.map(str::as_bytes),
        }
    }

    fn format_early_transport_error(
        &self,
        context: &Context<'_>,
        error: transport::Error,
    ) -> ConnectionClose<'_> {
        self.format_transport_error(context, error)
    }

    fn format_early_application_error(&self, _: &Context<'_>, _: application::Error) -> ConnectionClose<'_> {
        // RFC 9000 §10.2.3: an application's code and words do not travel before the handshake is done.
        transport::Error::APPLICATION_ERROR.into()
    }
}

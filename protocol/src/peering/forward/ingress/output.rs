//! What comes out of [`super::Ingress`].

use crate::peering::data_header::{DatagramHeader, StreamHeader};
use crate::peering::error::{DecodeError, ErrorCode};
use crate::peering::forward::pipeline::Step;
use crate::peering::forward::route::Target;
use crate::peering::hash::FullNameHash;
use crate::peering::message::SnsId;
use bytes::Bytes;
use std::time::Instant;

/// A stream that a peer opened, by its number on its link. Not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InStream(pub u64);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Something for a target of a stream. What comes for one target until there is no more output belongs into one
    /// write.
    Send {
        /// The stream that it comes from; with the target it names the stream that it goes on.
        stream: InStream,
        /// Where it goes.
        target: Target,
        /// What.
        step: Step,
    },
    /// A stream is refused. Nothing more of it is taken.
    Stop {
        /// Which one.
        stream: InStream,
        /// Why.
        why: StopCause,
    },
    /// More may be read of a stream, after [`super::Ingress::wants_data`] said no.
    Resume {
        /// Which one.
        stream: InStream,
    },
    /// A datagram for a target. What cannot leave before it expires is dropped.
    Datagram {
        /// Where it goes.
        target: Target,
        /// Its head there; for this relay's own subscribers the one that it came with.
        header: DatagramHeader,
        /// Its payload, shared by all targets.
        payload: Bytes,
        /// Until when it is worth to be sent.
        expires: Instant,
    },
    /// Data came under an id that stands for another track; it is refused. Told once for each id.
    Foreign {
        /// The id.
        sns: SnsId,
        /// The track that it stands for.
        bound: FullNameHash,
        /// The track of the data.
        found: FullNameHash,
    },
    /// A datagram did not begin as it has to. Told once.
    BadDatagram(DecodeError),
}

/// Why a stream is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopCause {
    /// It does not begin as it has to.
    #[error("{0}")]
    BadStart(DecodeError),
    /// It is of another track than the one that its id stands for.
    #[error("data of another track than the one that its SNS id stands for")]
    Foreign,
    /// The link has too many streams.
    #[error("more streams than a link may have")]
    TooMany,
    /// The track has too many ids on the link.
    #[error("more SNS ids of one track than a link may have")]
    Crowded,
    /// Its set did not come in time, or too much waited for theirs.
    #[error("no subscriber node set came for it")]
    NoSet,
    /// Its set is there, and leads nowhere.
    #[error("no node of its subscriber node set can be reached")]
    Nowhere,
    /// No target wants any more of it.
    #[error("nobody wants it any more")]
    Unwanted,
}

impl StopCause {
    /// What the peer is told. laps peering, "QUIC APP Error Codes".
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::BadStart(error) => error.code,
            Self::Foreign => ErrorCode::InvalidStartOfStream,
            Self::TooMany | Self::Crowded | Self::NoSet | Self::Nowhere | Self::Unwanted => ErrorCode::Close,
        }
    }
}

/// What is wrong with a stream that ended before its head was whole.
pub(super) fn ends_in_its_head(filled: usize) -> DecodeError {
    DecodeError::new(
        ErrorCode::InvalidStartOfStream,
        format!(
            "a stream that ends after {filled} of the {} bytes of its header",
            StreamHeader::LEN
        ),
        "laps peering, \"Start of New Stream Data\"",
    )
}

//! CONNECT and CONNECT_RESPONSE. laps peering, "Connection Establishment".

use super::fields::FieldReader;
use super::{Dialect, codepoints, node_info};
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::node::NodeInfo;
use bytes::{BufMut, BytesMut};

/// What a link is for, as one side of it sees it. laps peering, "Peering Modes".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerMode {
    /// Information bases alone.
    Control,
    /// Data and its node sets alone.
    Data,
    /// Both, the one mode that laps relays ask for.
    Both,
    /// Data and its node sets alone, from this side to the other. Who dials asks for it, between relays of ours. Decision
    /// 0042.
    DataOut,
    /// The same at the other side, which has no data to send there. Nobody asks for it.
    DataIn,
}

impl PeerMode {
    /// Every mode that can be asked for.
    pub const ALL: &'static [Self] = &[Self::Control, Self::Data, Self::Both, Self::DataOut];

    /// Its name in configurations and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Data => "data",
            Self::Both => "both",
            Self::DataOut => "data-out",
            Self::DataIn => "data-in",
        }
    }

    /// Whether relays of this dialect can be asked for it.
    #[must_use]
    pub const fn is_known_to(self, dialect: Dialect) -> bool {
        match self {
            Self::Control | Self::Data | Self::Both => true,
            Self::DataOut => matches!(dialect, Dialect::Own),
            Self::DataIn => false,
        }
    }

    /// The same link as the other side sees it.
    #[must_use]
    pub const fn turned(self) -> Self {
        match self {
            Self::DataOut => Self::DataIn,
            Self::DataIn => Self::DataOut,
            Self::Control | Self::Data | Self::Both => self,
        }
    }

    /// Whether information bases are exchanged. laps peering, "(1) Control Peering".
    #[must_use]
    pub const fn has_control(self) -> bool {
        matches!(self, Self::Control | Self::Both)
    }

    /// Whether this side sends data, and the node sets that it needs. laps peering, "(2) Data Peering".
    #[must_use]
    pub const fn sends_data(self) -> bool {
        matches!(self, Self::Data | Self::Both | Self::DataOut)
    }

    /// Whether the other side does.
    #[must_use]
    pub const fn takes_data(self) -> bool {
        self.turned().sends_data()
    }
}

impl std::fmt::Display for PeerMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// CONNECT. laps peering, "Connect Message".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What who dials wants the link for.
    pub mode: PeerMode,
    /// Who dials.
    pub node: NodeInfo,
}

/// Why a link is refused. laps peering, "Protocol Response Codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseCode {
    /// Some error of the connection.
    ConnectionError,
    /// The peer may not have this link.
    NotAuthorized,
    /// Not in this peering mode.
    ModeNotAllowed,
    /// A code that the document does not define. Received only.
    Unknown(u16),
}

impl std::fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConnectionError => f.write_str("connection error"),
            Self::NotAuthorized => f.write_str("not authorized"),
            Self::ModeNotAllowed => f.write_str("peering mode not allowed"),
            Self::Unknown(code) => write!(f, "response code {code}"),
        }
    }
}

impl ResponseCode {
    const DEFINED: &'static [Self] = &[Self::ConnectionError, Self::NotAuthorized, Self::ModeNotAllowed];

    fn from_number(number: u16) -> Self {
        let mut defined = Self::DEFINED.iter().copied();
        defined
            .find(|code| codepoints::response_number(*code) == Some(number))
            .unwrap_or(Self::Unknown(number))
    }
}

/// CONNECT_RESPONSE. laps peering, "Connect Response Message".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectResponse {
    /// The link stands; this is who accepted it.
    Accepted(NodeInfo),
    /// It does not.
    Refused(ResponseCode),
}

pub(super) fn read(r: &mut FieldReader<'_>, dialect: Dialect) -> Result<Connect, DecodeError> {
    let number = r.u8()?;
    let mut modes = PeerMode::ALL.iter().copied();
    let mode = modes
        .find(|mode| mode.is_known_to(dialect) && codepoints::mode_number(*mode) == Some(number))
        .ok_or_else(|| r.breach(format!("peering mode {number} is not defined")))?;
    let node = node_info::read(r)?;
    Ok(Connect { mode, node })
}

pub(super) fn read_response(r: &mut FieldReader<'_>) -> Result<ConnectResponse, DecodeError> {
    match r.u16()? {
        codepoints::RESPONSE_OK => node_info::read(r).map(ConnectResponse::Accepted),
        number => Ok(ConnectResponse::Refused(ResponseCode::from_number(number))),
    }
}

pub(super) fn put(connect: &Connect, dialect: Dialect, out: &mut BytesMut) -> Result<(), EncodeError> {
    let number = codepoints::mode_number(connect.mode).filter(|_| connect.mode.is_known_to(dialect));
    out.put_u8(number.ok_or(EncodeError::NoCodepoint("a link for data one way"))?);
    node_info::put(&connect.node, out)
}

pub(super) fn put_response(response: &ConnectResponse, out: &mut BytesMut) -> Result<(), EncodeError> {
    match response {
        ConnectResponse::Accepted(node) => {
            out.put_u16(codepoints::RESPONSE_OK);
            node_info::put(node, out)
        }
        ConnectResponse::Refused(code) => {
            let number = codepoints::response_number(*code);
            out.put_u16(number.ok_or(EncodeError::NoCodepoint("an unknown response code"))?);
            Ok(())
        }
    }
}

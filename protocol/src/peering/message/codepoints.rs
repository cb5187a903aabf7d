//! Every number that the peering protocol assigns, in one table.

use super::{MessageKind, PeerMode, ResponseCode};
use crate::peering::error::ErrorCode;
use crate::peering::node::NodeType;

/// The version in every control message. laps peering, "Common Control Headers".
pub(super) const VERSION: u8 = 1;

/// The message type that is no control message. laps peering, "Common Header Message Types".
pub(super) const DATA_OBJECT: u16 = 3;

/// laps peering, "Common Header Message Types".
pub(super) const fn kind_number(kind: MessageKind) -> u16 {
    match kind {
        MessageKind::Connect => 1,
        MessageKind::ConnectResponse => 2,
        MessageKind::NodeInfoAdvertise => 4,
        MessageKind::NodeInfoWithdraw => 5,
        MessageKind::SubscribeInfoAdvertise => 6,
        MessageKind::SubscribeInfoWithdraw => 7,
        MessageKind::PublishInfoAdvertise => 8,
        MessageKind::PublishInfoWithdraw => 9,
        MessageKind::NodeSetAdvertise => 10,
        MessageKind::NodeSetWithdraw => 11,
        // Between relays of ours alone (decision 0029), far from what the document may come to define.
        MessageKind::Relayed => 0xf000,
        MessageKind::Summary => 0xf001,
        MessageKind::Watch => 0xf002,
        MessageKind::Unwatch => 0xf003,
        MessageKind::Ping => 0xf004,
        MessageKind::Pong => 0xf005,
        MessageKind::Leaving => 0xf006,
    }
}

/// laps peering, "Connect Message"; the numbers are laps' own. None for what nobody asks for.
pub(super) const fn mode_number(mode: PeerMode) -> Option<u8> {
    match mode {
        PeerMode::Control => Some(0),
        PeerMode::Data => Some(1),
        PeerMode::Both => Some(2),
        // Between relays of ours alone (decision 0042), far from what laps may come to define.
        PeerMode::DataOut => Some(0xf0),
        PeerMode::DataIn => None,
    }
}

/// laps peering, "Connect Message".
pub(super) const fn node_type_number(node_type: NodeType) -> u8 {
    match node_type {
        NodeType::Via => 0,
        NodeType::Edge => 1,
        NodeType::Stub => 2,
    }
}

/// The response code of success. laps peering, "Protocol Response Codes".
pub(super) const RESPONSE_OK: u16 = 0;

/// laps peering, "Protocol Response Codes"; none for a code that the document does not define.
pub(super) const fn response_number(code: ResponseCode) -> Option<u16> {
    match code {
        ResponseCode::ConnectionError => Some(1),
        ResponseCode::NotAuthorized => Some(2),
        ResponseCode::ModeNotAllowed => Some(3),
        ResponseCode::Unknown(_) => None,
    }
}

/// What a draft-16 relay says behind a publish info: a track, or a namespace. Not in the document, as laps does.
pub(super) mod publish_flag {
    pub(in super::super) const TRACK: u8 = 0;
    pub(in super::super) const NAMESPACE: u8 = 1;
}

/// What a NODE_MESSAGE is. Decision 0029.
pub(super) mod node_message {
    pub(in super::super) const PULL: u8 = 1;
    pub(in super::super) const INFO: u8 = 2;
    pub(in super::super) const PULL_END: u8 = 3;
    pub(in super::super) const FETCH: u8 = 8;
    pub(in super::super) const ANSWER: u8 = 4;
    pub(in super::super) const ANSWER_AGAIN: u8 = 5;
    pub(in super::super) const LOST: u8 = 6;
    pub(in super::super) const MORE: u8 = 7;
    pub(in super::super) const ANSWER_REPEATED: u8 = 9;
}

/// laps peering, "QUIC APP Error Codes".
pub(in crate::peering) const fn error_number(code: ErrorCode) -> u64 {
    match code {
        ErrorCode::Close => 1,
        ErrorCode::Redirect => 2,
        ErrorCode::NotAuthorized => 8,
        ErrorCode::ConnectMissing => 32,
        ErrorCode::ConnectResponseMissing => 33,
        ErrorCode::InvalidMessageType => 34,
        ErrorCode::InvalidEncoding => 35,
        ErrorCode::InvalidStartOfStream => 36,
        ErrorCode::SwitchNewStream => 128,
    }
}

/// Types of data headers. laps peering, "Data Types".
pub(in crate::peering) mod data_type {
    pub(in crate::peering) const DATAGRAM: u8 = 0;
    pub(in crate::peering) const NEW_STREAM: u8 = 2;
}

//! What a subscription accepts from its owner.

use actix::Message;
use laps_protocol::moqt::message::SubscribeUpdate;

/// The peer changed the subscription; the owner has put it into the spec.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Update(pub SubscribeUpdate);

/// The peer no longer wants it; its streams are reset already.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The subscription goes on elsewhere: here nothing more begins, and it is over with the last stream that is open. With
/// false it stays after all, unless it is over already.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Leave(pub bool);

//! GOAWAY: how a session asks its peer to go elsewhere, what it does when it is asked itself, and when nobody reads
//! what it publishes any more.

use super::SessionActor;
use super::messages::SessionNews;
use crate::reply::{Reply, ReplyTo};
use crate::words;
use actix::{Context, Handler, Message};
use bytes::Bytes;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::session::Command;
use slog::{debug, info};
use std::borrow::Cow;

/// Ask the peer to leave, which it may do when it is ready to; nothing else changes. Sent at most once in a life.
///
/// A session whose SETUP is not complete is closed at once: GOAWAY cannot be said there, and nothing is lost.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct AskToLeave {
    /// Where to go; empty for "here". At most 8192 bytes, and empty in a client.
    pub uri: Bytes,
}

/// Answered as soon as the peer wants no objects of ours.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Unread;

impl SessionActor {
    /// The peer said GOAWAY.
    pub(super) fn asked_to_leave(&self, uri: Bytes) {
        // MOQT-14 §9.4 [D14-GOAWAY-1]: from here on the machine refuses to make requests of this peer. What runs goes
        // on: subscriptions in both directions, and the answers to what the peer asks.
        info!(self.log, "the peer asks us to leave"; "uri" => words::shown(&uri));
        self.tell(SessionNews::Goaway(uri));
    }

    /// A subscription that wants no objects, as a PUBLISH that nobody follows, is no reader. [D14-SUB-2]
    fn is_read(&self) -> bool {
        self.children
            .subscriptions
            .values()
            .any(|slot| slot.spec.forward())
    }

    /// Answers those who wait for the last reader to leave.
    pub(super) fn check_unread(&mut self) {
        if !self.is_read() {
            self.unread.drain(..).for_each(|reply| reply.send(()));
        }
    }
}

impl Handler<AskToLeave> for SessionActor {
    type Result = ();
    fn handle(&mut self, msg: AskToLeave, ctx: &mut Context<Self>) {
        if self.core.established().is_none() {
            self.close(
                ctx,
                CloseCode::NoError,
                Cow::Borrowed("the relay is shutting down"),
            );
            return;
        }
        // MOQT-14 §9.4 [D14-GOAWAY-1]: it changes nothing but the peer's wish to be here. New requests are served as
        // before, because those that cross it on the way are no fault of whoever made them.
        // [D14-VAL-11]: the machine says it once.
        if let Err(error) = self.command(ctx, Command::Goaway(msg.uri)) {
            debug!(self.log, "GOAWAY not sent"; "error" => %error);
        }
    }
}

impl Handler<Unread> for SessionActor {
    type Result = Reply<()>;
    fn handle(&mut self, _: Unread, _: &mut Context<Self>) -> Self::Result {
        if !self.is_read() {
            return Reply::Now(());
        }
        self.unread.retain(|reply| !ReplyTo::is_abandoned(reply));
        let (answer, reply) = Reply::later();
        self.unread.push(reply);
        answer
    }
}

//! What a link is told by its tasks, its parent and the information bases.

use super::messages::{ConnOver, EndFor, Happened, Stream, Written};
use super::{LinkConn, PeerLinkActor, now};
use crate::peering::bases::{EndLink, RoomAgain, Say};
use crate::peering::plane::TellSets;
use actix::{Context, Handler, ResponseFuture};
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::message::Message;
use laps_protocol::peering::session::{Command, Input};
use slog::{debug, info};

impl<C: LinkConn> Handler<Happened> for PeerLinkActor<C> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Happened(input): Happened, ctx: &mut Self::Context) -> Self::Result {
        if matches!(input, Input::StreamReset(_)) && self.conn.ended().is_some() {
            // The stream is not to blame.
            self.on_conn_over(ctx);
        } else {
            self.input(input, ctx);
        }
        self.understood()
    }
}

impl<C: LinkConn> Handler<Stream> for PeerLinkActor<C> {
    type Result = ();

    fn handle(&mut self, msg: Stream, ctx: &mut Self::Context) {
        self.on_stream(msg, ctx);
    }
}

impl<C: LinkConn> Handler<Written> for PeerLinkActor<C> {
    type Result = ();

    fn handle(&mut self, msg: Written, ctx: &mut Self::Context) {
        if !msg.ok && self.conn.ended().is_some() {
            self.on_conn_over(ctx);
            return;
        }
        let input = if msg.ok {
            Input::Flushed(msg.stream)
        } else {
            Input::StreamReset(msg.stream)
        };
        if let (Some(id), true, Some(plane)) = (self.set_under_way.take(), msg.ok, &self.plane) {
            plane.set_delivered(self.link, id);
        }
        self.input(input, ctx);
        self.count_what_left();
    }
}

impl<C: LinkConn> Handler<ConnOver> for PeerLinkActor<C> {
    type Result = ();

    fn handle(&mut self, _: ConnOver, ctx: &mut Self::Context) {
        self.on_conn_over(ctx);
    }
}

impl<C: LinkConn> Handler<Say> for PeerLinkActor<C> {
    type Result = ();

    fn handle(&mut self, Say(messages): Say, ctx: &mut Self::Context) {
        self.theirs += messages.len();
        self.say(messages);
        self.settle(ctx);
        self.count_what_left();
    }
}

impl<C: LinkConn> Handler<TellSets> for PeerLinkActor<C> {
    type Result = ();

    fn handle(&mut self, TellSets(messages): TellSets, ctx: &mut Self::Context) {
        self.say(messages);
        self.settle(ctx);
    }
}

impl<C: LinkConn> Handler<EndLink> for PeerLinkActor<C> {
    type Result = ();

    fn handle(&mut self, EndLink(reason): EndLink, ctx: &mut Self::Context) {
        self.close_for(ErrorCode::Close, reason, ctx);
    }
}

impl<C: LinkConn> Handler<EndFor> for PeerLinkActor<C> {
    type Result = ();

    fn handle(&mut self, msg: EndFor, ctx: &mut Self::Context) {
        self.close_for(msg.code, msg.reason, ctx);
    }
}

impl<C: LinkConn> PeerLinkActor<C> {
    fn on_conn_over(&mut self, ctx: &mut Context<Self>) {
        if let Some((code, why)) = self.session.refusing() {
            // Who is refused is often the first to close, and why it was is known here.
            self.tell_end(code, why);
            Self::end(ctx);
            return;
        }
        let why = self.conn.ended().unwrap_or_else(|| "lost".to_owned());
        if self.one_way_is_unknown() {
            self.tell_one_way_is_unknown();
        } else if self.is_news(&why) {
            info!(self.log, "the connection of the link is over"; "peer" => self.conn.peer(), "why" => why);
        }
        Self::end(ctx);
    }

    fn say(&mut self, messages: Vec<Message>) {
        for message in messages {
            // One that cannot be said is not worth the link; one too many has closed it.
            if let Err(error) = self.session.command(now(), Command::Send(message)) {
                debug!(self.log, "not said"; "why" => %error);
            }
        }
    }

    /// What the bases said has left, as far as the session tells: all but what still waits there.
    fn count_what_left(&mut self) {
        let (waiting, _) = self.session.queued();
        let mut rings = false;
        while self.theirs > waiting {
            self.theirs -= 1;
            rings |= self.gauge.left();
        }
        if rings {
            self.bell.wake(RoomAgain);
        }
    }
}

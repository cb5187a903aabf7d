//! From the peer's word who it is to a link that stands, and how that one is watched.

use super::data::DataLink;
use super::io::LinkConn;
use super::messages::{MayStand, PeerLeaves, Refusal};
use super::{ANSWER, MEASURE, PeerLinkActor, SILENT, now};
use crate::peering::bases::{Admits, LinkMeasured, LinkStands, Mouth};
use crate::peering::tally::Figures;
use crate::peering::told::About;
use crate::supervise::mailbox::{ask, offer, signal};
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::Bytes;
use futures::future::join_all;
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::info_base::{Kin, LinkUp};
use laps_protocol::peering::liveness::{Liveness, Verdict};
use laps_protocol::peering::message::{self, Dialect, PeerMode, ResponseCode, SnsId};
use laps_protocol::peering::node::{NodeInfo, NodeType};
use laps_protocol::peering::reader::{ControlReader, Incoming};
use laps_protocol::peering::session::{Command, Input, Role};
use slog::{debug, info, warn};
use std::time::Duration;

/// What is said where nobody answers whether a link may stand.
const CANNOT: Refusal = Refusal {
    code: ResponseCode::ConnectionError,
    why: "the relay cannot take links",
};

impl<C: LinkConn> PeerLinkActor<C> {
    /// Who dials has its link with the answer, and asks then; who is dialled asks before it answers. The bases know of
    /// other nodes with this id, the parent of other links to it.
    pub(super) fn ask_whether(&mut self, node: NodeInfo, ctx: &mut Context<Self>) {
        let question = MayStand {
            link: self.link,
            node: node.clone(),
            epoch: self.session.peer_epoch(),
            mode: self.session.mode(),
            role: self.session.role(),
        };
        let (parent, bases, up) = (self.parent.clone(), self.bases.clone(), self.as_up(node.clone()));
        let answer = async move {
            match ask(&parent, question, ANSWER).await {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => return Err(refusal),
                Err(_) => return Err(CANNOT),
            }
            match ask(&bases, Admits(up), ANSWER).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(reason)) => Err(Refusal {
                    code: ResponseCode::ConnectionError,
                    why: reason.text(),
                }),
                Err(_) => Err(CANNOT),
            }
        };
        ctx.spawn(answer.into_actor(self).map(move |answer, link, ctx| {
            let dialled = link.session.role() == Role::Dialler;
            if answer.is_err() {
                // The parent may have let it stand. Its end is not held against the node, which may be another one.
                signal(&link.leaves, PeerLeaves(link.link));
            }
            let done = match (answer, dialled) {
                (Ok(()), true) => {
                    link.begin(node, ctx);
                    Ok(())
                }
                (Ok(()), false) => link.command(Command::Accept, ctx),
                (Err(refusal), true) => {
                    link.command(Command::Close(ErrorCode::Close, refusal.why.into()), ctx)
                }
                (Err(refusal), false) => link.command(Command::Refuse(refusal.code, refusal.why.into()), ctx),
            };
            if let Err(error) = done {
                debug!(link.log, "too late for an answer"; "why" => %error);
            }
        }));
    }

    fn as_up(&self, node: NodeInfo) -> LinkUp {
        let kin = match self.session.peer_epoch() {
            0 => Kin::Laps,
            epoch => Kin::Ours(epoch),
        };
        LinkUp {
            node,
            mode: self.session.mode(),
            kin,
            srtt_us: self.srtt_us(),
        }
    }

    /// The link stands, for the bases too.
    pub(super) fn begin(&mut self, node: NodeInfo, ctx: &mut Context<Self>) {
        if self.session.is_closed() {
            return;
        }
        self.stands = true;
        self.news
            .forget(About::peer(self.conn.named(), &self.conn.peer()));
        if self.session.mode() == PeerMode::DataOut {
            self.news.forget_line(About::OneWay, self.whom());
        }
        info!(self.log, "link stands"; "node" => %node.id, "type" => %node.node_type,
            "mode" => %self.session.mode(), "peer" => self.conn.peer());
        if let Some(stats) = self.conn.figures() {
            let (node, mode) = (node.id, self.session.mode());
            self.entered = Some(self.tally.enter(self.link, Figures { node, mode, stats }));
        }
        self.liveness = Some(Liveness::new(now(), self.keep_alive, self.conn.heard()));
        let (sends, takes) = (self.session.sends_data(), self.session.takes_data());
        let mut arrivals = self.arrivals.take();
        if let Some(arrivals) = arrivals.take_if(|_| !takes) {
            // laps peering, "(1) Control Peering": what nobody reads would take the place of what is read.
            let came = C::first_arrival(arrivals).into_actor(self);
            ctx.spawn(came.map(|came, link, ctx| {
                if came {
                    link.input(Input::DataArrived, ctx);
                }
            }));
        }
        if let Some(plane) = self.plane.as_ref().filter(|_| sends || takes) {
            // Data may be there already, and belongs to sets that the peer says next.
            plane.link_up(DataLink {
                link: self.link,
                peer: node.id,
                stub: node.node_type == NodeType::Stub,
                dialect: self.session.dialect(),
                conn: self.conn.clone(),
                arrivals,
                tell: ctx.address().recipient(),
            });
        }
        self.tell_bases(node, ctx);
        self.look_later(ctx);
    }

    fn tell_bases(&mut self, node: NodeInfo, ctx: &mut Context<Self>) {
        let address = ctx.address();
        let stands = LinkStands {
            link: self.link,
            up: self.as_up(node),
            mouth: Mouth::new(
                address.clone().recipient(),
                address.recipient(),
                self.gauge.clone(),
            ),
        };
        // Placed before whatever the peer said, and says from now on.
        let answer = ask(&self.bases, stands, ANSWER).into_actor(self);
        self.told.send_replace(true);
        for message in std::mem::take(&mut self.early) {
            self.hand_on(message);
        }
        let early = join_all(std::mem::take(&mut self.asked));
        ctx.spawn(early.into_actor(self).map(|_, _, _| ()));
        ctx.spawn(answer.map(|answer, link, ctx| {
            let why = match answer {
                Ok(Ok(())) => return,
                // Two were judged at once, and the other one was first.
                Ok(Err(reason)) => reason.text(),
                Err(_) => CANNOT.why,
            };
            link.close_for(ErrorCode::Close, why, ctx);
        }));
    }

    /// The control stream is another one: what was under way on the old one may be lost, and all is said again.
    pub(super) fn say_all_again(&mut self, ctx: &mut Context<Self>) {
        let Some(node) = self.session.peer().cloned().filter(|_| self.stands) else {
            return;
        };
        self.tell_bases(node, ctx);
        if let Some(plane) = &self.plane {
            plane.say_all_again(self.link);
        }
    }

    /// The set that this message to a laps relay tells of.
    pub(super) fn set_in(&self, message: &Bytes) -> Option<SnsId> {
        let dialect = self.session.dialect();
        if dialect == Dialect::Own {
            return None;
        }
        let mut reader = ControlReader::new(dialect, laps_protocol::peering::limits::Limits::default());
        reader.push(message);
        match reader.next() {
            Ok(Some(Incoming::Message(message::Message::NodeSetAdvertise(set)))) => Some(set.id),
            _ => None,
        }
    }

    /// Whether the peer cannot read what it is asked for: a relay from before decision 0042.
    pub(super) fn one_way_is_unknown(&self) -> bool {
        let asked = !self.stands && self.session.mode() == PeerMode::DataOut;
        asked && self.conn.ended_with() == Some(ErrorCode::InvalidEncoding.number())
    }

    /// It is asked again and again, since it may be replaced by a newer one, and the operator is told once, until it was.
    pub(super) fn tell_one_way_is_unknown(&self) {
        // What is told of the peer itself is news again when another link to it stands.
        if self.news.is_news(About::OneWay, self.whom(), now()) {
            let (peer, node) = (self.conn.peer(), self.conn.named().map(|node| node.to_string()));
            warn!(self.log, "the peer knows no links for data one way, as it is of an older version: data for it takes the others";
                "peer" => peer, "node" => node);
        }
    }

    /// The peer, for a line about something of it.
    fn whom(&self) -> String {
        let node = self.conn.named();
        node.map_or_else(|| self.conn.peer(), |node| node.to_string())
    }

    fn srtt_us(&self) -> u64 {
        let srtt = self.conn.srtt().unwrap_or_default();
        u64::try_from(srtt.as_micros()).unwrap_or(u64::MAX)
    }

    fn look_later(&self, ctx: &mut Context<Self>) {
        let Some(at) = self.liveness.as_ref().and_then(Liveness::next_look) else {
            return;
        };
        ctx.run_later(at.saturating_duration_since(now()), Self::look);
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        self.faults.check_named("peer_link", &self.link.0);
        let (heard, srtt) = (self.conn.heard(), self.conn.srtt().unwrap_or_default());
        let Some(liveness) = &mut self.liveness else {
            return;
        };
        match liveness.look(now(), heard, srtt) {
            Verdict::Ping if self.session.dialect() == Dialect::Own => {
                self.pings = self.pings.wrapping_add(1);
                // One that waits already says the same.
                self.command(Command::Ping(self.pings), ctx).ok();
            }
            Verdict::Alive | Verdict::Ping => {}
            Verdict::Dead => {
                warn!(self.log, "link is dead"; "peer" => self.conn.peer(),
                    "silent_ms" => %liveness.silent().as_millis(), "srtt_ms" => %srtt.as_millis());
                self.close(ErrorCode::Close, SILENT);
                Self::end(ctx);
                return;
            }
        }
        let due = self
            .measured_at
            .is_none_or(|at| now().saturating_duration_since(at) >= MEASURE);
        if due && srtt > Duration::ZERO {
            self.measured_at = Some(now());
            let (link, srtt_us) = (self.link, self.srtt_us());
            // One that is lost is followed by another.
            offer(&self.bases, LinkMeasured { link, srtt_us }).ok();
        }
        self.look_later(ctx);
    }
}

//! Readers that are links to other relays of the mesh (decision 0029).
//!
//! Who reads there asks every node that publishes the track. So a link is given the track only while a publisher of this
//! relay feeds it, and for links alone no other node is asked: two relays that publish one track would ask each other for
//! ever, each for the link to the other.

use super::upstream::End;
use super::{Phase, TrackActor};
use crate::reply::{Reply, ReplyTo};
use crate::track::audience::Audience;
use crate::track::messages::{Attach, Attached, JoinLink, ReaderId, TrackGone, Unavailable};
use crate::track::wants::Wants;
use actix::{AsyncContext, Context, Handler, SpawnHandle};
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use std::time::{Duration, Instant};

/// What the home keeps for links.
#[derive(Debug, Default)]
pub(super) struct Links {
    waiting: Vec<Waiting>,
    /// What those that read want.
    want: Wants,
    /// The last of those is gone, and until when it is taken to be there still.
    until: Option<Instant>,
    /// Until other nodes are let go of.
    pub(super) timer: Option<SpawnHandle>,
}

/// A link that waits for a publisher of this relay.
#[derive(Debug)]
enum Waiting {
    /// It reads here.
    Here(Attach, ReplyTo<Result<Attached, Unavailable>>),
    /// It reads a replica.
    Replica(JoinLink, ReplyTo<Result<(), Unavailable>>),
}

impl Waiting {
    const fn reader(&self) -> ReaderId {
        match self {
            Self::Here(attach, _) => attach.reader,
            Self::Replica(join, _) => join.reader,
        }
    }

    const fn audience(&self) -> Audience {
        let wants = match self {
            Self::Here(attach, _) => attach.wants,
            Self::Replica(join, _) => join.wants,
        };
        Audience::of(false, wants)
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Here(_, reply) => reply.is_abandoned(),
            Self::Replica(_, reply) => reply.is_abandoned(),
        }
    }

    fn refuse(self, why: &Unavailable) {
        match self {
            Self::Here(_, reply) => reply.send(Err(why.clone())),
            Self::Replica(_, reply) => reply.send(Err(why.clone())),
        }
    }
}

impl Links {
    pub(super) const fn any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Those that wait.
    pub(super) fn audience(&self) -> Audience {
        let waiting = self.waiting.iter().map(Waiting::audience);
        waiting.fold(Audience::default(), Audience::and)
    }

    /// What readers want, and with them those behind the last link, which was lost a moment ago: until it is made again, what
    /// the publisher does not send is missing for good. Gives until when that holds, too.
    pub(super) fn held(
        &mut self,
        audience: Audience,
        now: Instant,
        hold: Duration,
    ) -> (Audience, Option<Instant>) {
        if let Some(want) = audience.links {
            (self.want, self.until) = (want, None);
            return (audience, None);
        }
        if self.want.objects() && self.until.is_none() {
            self.until = now.checked_add(hold);
        }
        self.until = self.until.filter(|until| *until > now);
        if self.until.is_none() {
            self.want = Wants::Nothing;
        }
        match self.until {
            Some(_) => (audience.and(Audience::of(false, self.want)), self.until),
            None => (audience, None),
        }
    }

    pub(super) fn forget(&mut self, reader: ReaderId) {
        self.waiting.retain(|waiting| waiting.reader() != reader);
    }

    /// Nobody feeds the track for them any more.
    pub(super) fn refuse(&mut self, why: &Unavailable) {
        for waiting in std::mem::take(&mut self.waiting) {
            waiting.refuse(why);
        }
    }
}

impl TrackActor {
    /// A publisher of this relay feeds the track.
    fn serves_links(&self) -> bool {
        self.phase == Phase::Live && self.sources.serving().any(|(_, publisher)| publisher.is_here())
    }

    /// A reader comes; one that is a link waits for a publisher of this relay.
    pub(super) fn take_reader(&mut self, attach: Attach) -> Reply<Result<Attached, Unavailable>> {
        if attach.own || self.phase == Phase::Ended || self.serves_links() {
            return self.fanout.attach(attach);
        }
        let (answer, reply) = Reply::later();
        self.links.waiting.push(Waiting::Here(attach, reply));
        answer
    }

    /// Links get their place as soon as a publisher of this relay feeds the track, and hear of the end of the last one.
    pub(super) fn settle_links(&mut self, ctx: &mut Context<Self>, end: Option<&End>) {
        if matches!(self.phase, Phase::Created | Phase::Gathering(_) | Phase::Ended) {
            return;
        }
        self.links.waiting.retain(|waiting| !waiting.is_abandoned());
        if self.serves_links() {
            for waiting in std::mem::take(&mut self.links.waiting) {
                match waiting {
                    Waiting::Here(attach, reply) => self.fanout.attach_promised(attach, reply),
                    Waiting::Replica(_, reply) => reply.send(Ok(())),
                }
            }
            return;
        }
        // One that is asked may accept; what has ended otherwise is on its way to its end for everybody.
        if self.sources.any_active_here() || self.ending.is_some() || self.audience().links.is_none() {
            return;
        }
        let nobody = "nobody publishes the track at this relay";
        let why = Unavailable::new(RequestErrorReason::TrackDoesNotExist, nobody);
        let gone = TrackGone::new(PublishDoneStatus::InternalError, nobody);
        let (gone, why) = end.cloned().unwrap_or((gone, why));
        // Whoever may wait would ask again at once, and a link is told of publishers that come.
        self.links.refuse(&Unavailable {
            for_now: false,
            ..why
        });
        self.fanout.end_links(&gone);
        for replica in &mut self.replicas {
            if replica.audience.links.is_some() {
                replica.end_links(gone.clone());
            }
        }
        self.replicate(ctx);
    }

    /// Other nodes are let go of a while after the last reader of this relay has left. MOQT-14 §8.4 [D14-SUB-11]
    pub(super) fn check_nodes(&mut self, ctx: &mut Context<Self>) {
        let idle = self.phase != Phase::Ended && !self.has_own() && self.sources.any_asked_elsewhere();
        match (idle, self.links.timer) {
            (true, None) => {
                self.links.timer = Some(ctx.run_later(self.config.linger, Self::release_nodes));
            }
            (false, Some(timer)) => {
                ctx.cancel_future(timer);
                self.links.timer = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn release_nodes(&mut self, ctx: &mut Context<Self>) {
        self.links.timer = None;
        // Without any reader the whole track rests.
        if self.phase == Phase::Ended || self.has_own() || !self.has_readers() {
            return;
        }
        for id in self.sources.rest_elsewhere() {
            self.publisher_ends(ctx, id);
        }
        self.engage(ctx);
    }
}

impl Handler<JoinLink> for TrackActor {
    type Result = Reply<Result<(), Unavailable>>;
    fn handle(&mut self, msg: JoinLink, ctx: &mut Self::Context) -> Self::Result {
        if self.phase == Phase::Ended {
            return Reply::Now(Err(Unavailable::for_now("the track has ended")));
        }
        if self.serves_links() {
            return Reply::Now(Ok(()));
        }
        let (answer, reply) = Reply::later();
        self.links.waiting.push(Waiting::Replica(msg, reply));
        self.gathered_one(ctx, msg.reader);
        self.wake_up(ctx);
        self.readers_changed(ctx);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 6, "Failover": the publisher goes on while a link is made again, and no longer.
    #[test]
    fn a_lost_link_is_missed_for_a_while() {
        const HOLD: Duration = Duration::from_secs(2);
        let (begun, mut links) = (Instant::now(), Links::default());
        let at = |ms| begun + Duration::from_millis(ms);
        let (nobody, reads) = (Audience::default(), Audience::of(false, Wants::of(true, 9)));
        let own = Audience::of(true, Wants::Nothing);
        assert_eq!(links.held(nobody, at(0), HOLD), (nobody, None));
        assert_eq!(links.held(reads, at(0), HOLD), (reads, None));
        for ms in [100, 500, 2099] {
            let missed = (own.and(reads), Some(at(2100)));
            assert_eq!(links.held(own, at(ms), HOLD), missed, "{ms}");
        }
        assert_eq!(links.held(own, at(2100), HOLD), (own, None));
        assert_eq!(links.held(own, at(2101), HOLD), (own, None), "once");
        // One that is back, and one that wanted nothing.
        assert_eq!(links.held(reads, at(3000), HOLD), (reads, None));
        assert_eq!(links.held(nobody, at(3100), HOLD), (reads, Some(at(5100))));
        assert_eq!(links.held(reads, at(3200), HOLD), (reads, None));
        let paused = Audience::of(false, Wants::Nothing);
        assert_eq!(links.held(paused, at(3300), HOLD), (paused, None));
        assert_eq!(links.held(nobody, at(3400), HOLD), (nobody, None));
    }
}

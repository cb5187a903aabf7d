//! What the home copy does with each message.

use super::publisher::{Fate, Standing};
use super::upstream::session_ended;
use super::word::{Word, datagram_bytes};
use super::{Phase, TrackActor};
use crate::reply::Reply;
use crate::track::audience::Audience;
use crate::track::messages::{
    AddSource, Attach, AttachReplica, Attached, Detach, Gather, Gathered, Ingest, Joined, ReadsItself,
    ReplicaAttached, ReplicaState, ShardFailed, Source, SourceCut, SourceGone, TrackGone, Unavailable,
    UpstreamAgain, UpstreamDone, UpstreamOk, UpstreamRejected, UpstreamRequest, WithdrawAnnouncer,
};
use crate::track::wants::Wants;
use crate::track::wish::SetWants;
use actix::{AsyncContext, Context, Handler, MessageResult};
use laps_protocol::moqt::message::{PublishDoneStatus, RequestId};
use laps_protocol::relay::track_log::Append;
use slog::{debug, warn};
use std::time::Instant;

impl Handler<Gather> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: Gather, ctx: &mut Self::Context) {
        if self.phase == Phase::Created {
            self.phase = Phase::Gathering(msg.readers.into_iter().collect());
            ctx.run_later(self.config.gather, |actor, ctx| {
                actor.gather_deadline = true;
                actor.gathered(ctx);
            });
            self.gathered(ctx);
        }
    }
}

impl Handler<Gathered> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: Gathered, ctx: &mut Self::Context) {
        self.gathered_one(ctx, msg.reader);
    }
}

impl Handler<Attach> for TrackActor {
    type Result = Reply<Result<Attached, Unavailable>>;
    fn handle(&mut self, msg: Attach, ctx: &mut Self::Context) -> Self::Result {
        let reader = msg.reader;
        let reply = self.take_reader(msg);
        self.gathered_one(ctx, reader);
        self.wake_up(ctx);
        self.readers_changed(ctx);
        reply
    }
}

impl Handler<Detach> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: Detach, ctx: &mut Self::Context) {
        self.fanout.detach(msg.reader);
        self.links.forget(msg.reader);
        self.gathered_one(ctx, msg.reader);
        self.readers_changed(ctx);
    }
}

impl Handler<SetWants> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: SetWants, ctx: &mut Self::Context) {
        self.fanout.set_wants(msg.reader, msg.wish.read());
        self.readers_changed(ctx);
    }
}

impl Handler<AttachReplica> for TrackActor {
    type Result = Reply<Result<ReplicaAttached, Unavailable>>;
    fn handle(&mut self, msg: AttachReplica, ctx: &mut Self::Context) -> Self::Result {
        match self.phase {
            Phase::Live => {
                // MOQT-14 §8.4 [D14-SUB-26]: a publisher hears that its objects are wanted when somebody does. The replica
                // says so as soon as a reader has come.
                let audience = Audience::of(msg.own, Wants::Nothing);
                let answer = self.attach_replica(msg, audience);
                self.wake_up(ctx);
                self.readers_changed(ctx);
                Reply::Now(answer)
            }
            Phase::Ended => Reply::Now(Err(Unavailable::for_now("the track has ended"))),
            Phase::Created | Phase::Gathering(_) | Phase::Subscribing | Phase::Idle => {
                let (reply, to) = Reply::later();
                self.replica_waiting.push((msg, to));
                self.wake_up(ctx);
                reply
            }
        }
    }
}

impl Handler<ReplicaState> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: ReplicaState, ctx: &mut Self::Context) {
        if msg.closed {
            self.replica_waiting.retain(|(attach, _)| attach.id != msg.id);
            self.drop_replica(ctx, msg.id);
            return;
        }
        let audience = msg.readers.read();
        if let Some(replica) = self.replicas.iter_mut().find(|replica| replica.id == msg.id) {
            replica.audience = audience;
        }
        let waiting = self
            .replica_waiting
            .iter_mut()
            .find(|(attach, _)| attach.id == msg.id);
        if let Some((attach, _)) = waiting {
            attach.own |= audience.own.is_some();
            attach.wants = attach.wants.max(audience.wants());
        }
        if audience.own.is_some() {
            // Nodes are asked for readers of this relay.
            self.wake_up(ctx);
        }
        self.readers_changed(ctx);
    }
}

/// Bytes of datagrams that a track holds while it waits for its readers or its publisher's answer.
const MAX_HELD_DATAGRAMS: usize = 256 * 1024;

impl Handler<Ingest> for TrackActor {
    type Result = Reply<()>;
    fn handle(&mut self, msg: Ingest, ctx: &mut Self::Context) -> Self::Result {
        // A stream sends its next batch when this one is answered; datagrams come unasked and can be lost.
        let datagrams = msg.batch.iter().all(|chunk| matches!(chunk, Append::Datagram(_)));
        let (answer, promise) = match self.phase {
            Phase::Live if self.is_early(msg.source) => Reply::later(),
            Phase::Live if datagrams && self.is_slow() => {
                self.datagrams_lost += 1;
                return Reply::Now(());
            }
            Phase::Live => {
                self.take_in(ctx, msg);
                if !self.is_slow() {
                    return Reply::Now(());
                }
                let (answer, promise) = Reply::later();
                self.slowed.push(promise);
                return answer;
            }
            // What an upstream still sends after it was let go is of no use to anybody.
            Phase::Ended | Phase::Idle => return Reply::Now(()),
            // Nor is what nobody takes.
            _ if !self.sources.may_bring(msg.source) => return Reply::Now(()),
            Phase::Created | Phase::Gathering(_) | Phase::Subscribing => Reply::later(),
        };
        if datagrams {
            let bytes = datagram_bytes(&msg);
            if self.held_bytes + bytes > MAX_HELD_DATAGRAMS {
                self.datagrams_lost += 1;
                promise.send(());
                return answer;
            }
            self.held_bytes += bytes;
        }
        self.held.push((msg, promise));
        answer
    }
}

impl Handler<AddSource> for TrackActor {
    type Result = MessageResult<AddSource>;
    fn handle(&mut self, msg: AddSource, ctx: &mut Self::Context) -> Self::Result {
        let AddSource { id, source } = msg;
        let joined = match &source {
            // MOQT-14 §6.2 [D14-NS-14]: a namespace announced again by the same session makes no second publisher.
            Source::Announced { upstream }
                if self.sources.is_shunned(upstream) || self.sources.knows(upstream) =>
            {
                Joined::Taken
            }
            _ if self.phase == Phase::Ended => Joined::Ended,
            // Offered again by a registry that does not know what an earlier one did.
            _ if self.sources.get(id).is_some() => return MessageResult(Joined::Taken),
            // MOQT-14 §2.5 [D14-MAL-1]: whoever broke the rules for tracks here is not taken again.
            Source::Published { upstream, .. } if self.sources.is_shunned(upstream) => {
                self.refuse("the publisher broke the rules for tracks")
            }
            // MOQT-14 §8.2 [D14-PUB-2]: PUBLISH_ERROR beyond the bound; announcers beyond it wait for a place.
            Source::Published { .. }
                if self.sources.is_full() && self.sources.quiet_since(self.quiet_before()).is_none() =>
            {
                self.refuse("the track has too many publishers")
            }
            Source::Announced { .. } | Source::Published { .. } | Source::Local { .. } => {
                self.sources.add(id, source);
                Joined::Taken
            }
        };
        if joined == Joined::Taken {
            self.joined(ctx);
            // It feeds the track by now, so that the track does not end with the one that makes way.
            if self.sources.is_over() {
                self.make_room(ctx);
            }
        }
        MessageResult(joined)
    }
}

impl TrackActor {
    fn refuse(&mut self, why: &'static str) -> Joined {
        self.refused += 1;
        // Whoever is refused may ask again at once.
        match self.warnings.tells() {
            Some(others) => {
                warn!(self.log, "publisher refused"; "track" => %self.name, "why" => why,
                    "refused" => self.refused, "not_told_of" => others);
            }
            None => debug!(self.log, "publisher refused"; "track" => %self.name, "why" => why),
        }
        Joined::Refused(why)
    }

    /// There may be one publisher more.
    fn joined(&mut self, ctx: &mut Context<Self>) {
        self.fetching.desk.publishers_changed();
        let wanted = match self.phase {
            // MOQT-14 §8.4 [D14-NS-7] [D14-SUB-26]: a publisher of a track that is subscribed is subscribed to at once.
            Phase::Subscribing | Phase::Live => self.sources.any_resting(),
            Phase::Idle => self.sources.has_published(),
            // Those who wait are gathered first.
            Phase::Created | Phase::Gathering(_) | Phase::Ended => false,
        };
        if wanted {
            self.engage(ctx);
        }
    }
}

impl Handler<WithdrawAnnouncer> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: WithdrawAnnouncer, ctx: &mut Self::Context) {
        self.sources.withdraw(&msg.upstream);
        self.rest_is_over(ctx);
    }
}

impl Handler<UpstreamOk> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: UpstreamOk, ctx: &mut Self::Context) {
        let window = self.config.dampen;
        let Some(publisher) = self.sources.get_mut(msg.source) else {
            return;
        };
        if publisher.is_serving() && publisher.word.is_awaited() {
            publisher.gives_word(msg.meta, msg.largest);
            self.engage(ctx);
            return;
        }
        if publisher.standing != Standing::Asked {
            return;
        }
        publisher.demand.subscribed(window, msg.largest);
        publisher.serves(Instant::now(), msg.meta, msg.largest);
        self.tell_joined();
        // MOQT-14 §8.3 [D14-PUB-3]: the first one makes the track live, those who come later join it.
        self.engage(ctx);
    }
}

impl Handler<UpstreamAgain> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: UpstreamAgain, ctx: &mut Self::Context) {
        let here = self.fanout.largest();
        let publisher = self.sources.get_mut(msg.source);
        let torn = publisher
            .filter(|publisher| publisher.is_serving())
            .and_then(|publisher| publisher.serves_again(msg.largest, here, msg.anew));
        match torn {
            Some(torn) if msg.anew => self.repair_between_lives(ctx, msg.source, torn),
            Some(torn) => self.repair(ctx, msg.source, torn),
            None => {}
        }
    }
}

impl Handler<UpstreamRequest> for TrackActor {
    type Result = Option<RequestId>;
    fn handle(&mut self, _: UpstreamRequest, _: &mut Self::Context) -> Self::Result {
        self.sources
            .serving()
            .next()
            .and_then(|(_, publisher)| publisher.request)
    }
}

impl Handler<ReadsItself> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: ReadsItself, ctx: &mut Self::Context) {
        // MOQT-14 §6.2 [D14-PUB-7]: between two relays that publish the track to each other, one direction is enough; the
        // other one would keep it alive for ever.
        let asked = self.sources.get(msg.source);
        if asked.is_some_and(|publisher| publisher.is_announced() && publisher.is_active())
            && self.sources.any_active_beside(msg.source)
        {
            let why = Unavailable::for_now("the publisher's session reads the track");
            self.lose(ctx, msg.source, &why, Fate::Reads);
        }
    }
}

impl Handler<UpstreamRejected> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: UpstreamRejected, ctx: &mut Self::Context) {
        if let Some(publisher) = self.sources.get_mut(msg.source) {
            publisher.request = None;
        }
        // MOQT-14 §8.3 [D14-PUB-3]: an error only when every publisher refused; the last one's words are passed on.
        let why = Unavailable {
            phrase: msg.error.phrase,
            ..Unavailable::new(msg.error.reason, "")
        };
        self.lose(ctx, msg.source, &why, Fate::Over);
    }
}

impl Handler<UpstreamDone> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: UpstreamDone, ctx: &mut Self::Context) {
        let id = msg.source;
        // One that was let go of meanwhile has nothing to end any more.
        if !self.sources.may_bring(id) {
            return;
        }
        let Some(publisher) = self.sources.get_mut(id) else {
            return;
        };
        publisher.ends(msg.done);
        // Nothing begins any more that would show how far it was.
        let torn = publisher.stays_cut_off();
        if publisher.word.is_awaited() {
            // There is nothing else to be said of what it has sent.
            publisher.word = Word::Given;
            self.settle_words(ctx);
        }
        if let Some(torn) = torn {
            self.repair(ctx, id, torn);
        }
        self.settle_done(ctx, id);
    }
}

impl Handler<SourceCut> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: SourceCut, ctx: &mut Self::Context) {
        let publisher = self.sources.get_mut(msg.source);
        if let Some(publisher) = publisher.filter(|publisher| publisher.is_serving()) {
            publisher.was_cut_off();
            if publisher.is_torn() {
                self.repair_unless_it_goes_on(ctx, msg.source);
            }
        }
    }
}

impl Handler<SourceGone> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: SourceGone, ctx: &mut Self::Context) {
        if let Some(publisher) = self.sources.get_mut(msg.source) {
            // The session is gone, so there is nobody to release it to.
            publisher.request = None;
        }
        self.lose(ctx, msg.source, &session_ended(), Fate::Gone);
    }
}

impl Handler<ShardFailed> for TrackActor {
    type Result = ();
    fn handle(&mut self, _: ShardFailed, ctx: &mut Self::Context) {
        let phrase = "a part of the relay failed";
        self.finish(ctx, &TrackGone::new(PublishDoneStatus::InternalError, phrase));
    }
}

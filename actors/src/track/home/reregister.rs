//! What a track tells a registry that has begun again.

use super::publisher::{Fate, Standing};
use super::upstream::session_ended;
use super::{Phase, TrackActor};
use crate::registry::{Reregister, ReregisterTrack};
use crate::track::messages::{Superseded, TrackGone, TrackRef};
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::message::PublishDoneStatus;

impl TrackActor {
    /// Whoever was lost while there was no registry to tell of it, by `WithdrawPublisher`, is lost now.
    fn lose_the_gone(&mut self, ctx: &mut Context<Self>) {
        let gone = self.sources.iter().filter(|(_, publisher)| {
            publisher.is_published() && publisher.upstream().is_some_and(|upstream| !upstream.connected())
        });
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        for id in gone {
            if let Some(publisher) = self.sources.get_mut(id) {
                publisher.request = None;
            }
            self.lose(ctx, id, &session_ended(), Fate::Gone);
        }
    }
}

impl Handler<Reregister> for TrackActor {
    type Result = ();

    fn handle(&mut self, msg: Reregister, ctx: &mut Self::Context) {
        self.lose_the_gone(ctx);
        // One that has ended takes nobody any more.
        if self.phase == Phase::Ended {
            return;
        }
        let (mut published, mut announcers) = (Vec::new(), Vec::new());
        for (id, publisher) in self.sources.iter() {
            let Some(upstream) = publisher.upstream().cloned() else {
                continue;
            };
            if publisher.is_published() && publisher.standing != Standing::Shunned {
                published.push((id, upstream));
            } else if publisher.is_announced() && !publisher.withdrawn {
                announcers.push(upstream);
            }
        }
        let track = TrackRef {
            name: self.name.clone(),
            shard: msg.shard,
            home: ctx.address(),
            epoch: self.epoch,
        };
        self.registry.signal(ReregisterTrack {
            track,
            published,
            announcers,
        });
    }
}

impl Handler<Superseded> for TrackActor {
    type Result = ();

    fn handle(&mut self, _: Superseded, ctx: &mut Self::Context) {
        let phrase = "the track lives elsewhere in the relay";
        self.finish(ctx, &TrackGone::new(PublishDoneStatus::InternalError, phrase));
    }
}

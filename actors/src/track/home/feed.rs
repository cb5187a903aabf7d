//! How what the publishers send becomes one log: deduplicated, told to the replicas, and judged.

use super::fetching::now;
use super::{Phase, TrackActor};
use crate::track::messages::{Ingest, SourceId};
use crate::track::replication::ReplicaLink;
use actix::{AsyncContext, Context};
use laps_protocol::relay::merge::{Merge, PublisherKey};
use laps_protocol::relay::track_log::{Append, Appended, Malformed, TrackLog};
use std::time::{Duration, Instant};

/// What is heard of the log's answers.
struct Heard<'a> {
    ignored: &'a mut u64,
    replicas: &'a mut [ReplicaLink],
    malformed: Option<Malformed>,
    wakes: bool,
}

impl Heard<'_> {
    fn hear(&mut self, appended: Appended, chunk: Append) {
        self.wakes |= appended.wakes();
        match appended {
            Appended::Advanced | Appended::Noted | Appended::Closed(_) => {}
            Appended::Ignored(_) => *self.ignored += 1,
            // That publishers contradict each other is graver than what one of them does wrong.
            Appended::Malformed(_) if self.malformed.is_some_and(Malformed::is_disagreement) => {}
            Appended::Malformed(why) => self.malformed = Some(why),
        }
        if !self.replicas.is_empty()
            && let Some(chunk) = appended.for_replica(chunk)
        {
            for replica in &mut *self.replicas {
                replica.push(chunk.clone());
            }
        }
    }
}

impl TrackActor {
    /// Takes in what a publisher sends.
    pub(super) fn take_in(&mut self, ctx: &mut Context<Self>, ingest: Ingest) {
        self.faults.check_named("track", &self.name);
        let Ingest { source, batch } = ingest;
        let Some(publisher) = self
            .sources
            .get_mut(source)
            .filter(|publisher| publisher.is_serving())
        else {
            return;
        };
        publisher.brings();
        batch.iter().for_each(|chunk| publisher.observe(chunk));
        let (drained, torn) = (publisher.is_drained(), publisher.goes_on());
        self.append(ctx, source, batch);
        if let Some(torn) = torn {
            self.repair(ctx, source, torn);
        }
        if drained {
            self.settle_done(ctx, source);
        }
        if !self.sources.any_open_streams() {
            self.end_now(ctx);
        }
    }

    /// MOQT-14 §8.2 [D14-PUB-1]: objects of every publisher are taken, each object once.
    pub(super) fn append(&mut self, ctx: &mut Context<Self>, source: SourceId, batch: Vec<Append>) {
        let key = PublisherKey(source.number());
        let malformed = self.merge_input(|merge, log, now, heard| {
            for chunk in batch {
                merge.append(log, now, key, chunk, &mut |appended, chunk| {
                    heard.hear(appended, chunk)
                });
                if heard.malformed.is_some() {
                    // Whatever else it sends, it is not wanted any more.
                    break;
                }
            }
        });
        self.group_advanced();
        if let Some(why) = malformed {
            let fault = why.to_string();
            // MOQT-14 §2.5 [D14-MAL-1]: what one publisher does wrong on its own is no fault of the others.
            if !why.is_disagreement() && self.sources.any_active_beside(source) {
                self.shun(ctx, source, &fault);
            } else {
                self.is_malformed(ctx, &fault);
            }
            return;
        }
        self.advanced(ctx);
    }

    /// The log may have something new: replicas and fetches get it, and the timer of the merge is set.
    fn advanced(&mut self, ctx: &mut Context<Self>) {
        self.replicate(ctx);
        self.past_advanced(ctx);
        self.rearm_merge(ctx);
    }

    /// A publisher sends nothing more: what it left open is brought to its end by others, or ends here.
    pub(super) fn publisher_ends(&mut self, ctx: &mut Context<Self>, source: SourceId) {
        self.no_repair_of(source);
        let malformed = self.merge_input(|merge, log, now, heard| {
            merge.lost(log, now, PublisherKey(source.number()), &mut |appended, chunk| {
                heard.hear(appended, chunk);
            });
        });
        // MOQT-14 §2.5 [D14-MAL-1]: what comes out about one that goes is no fault of the others, and it is gone.
        let own = |why: &Malformed| !why.is_disagreement() && self.sources.any_active_beside(source);
        self.judge(ctx, malformed.filter(|why| !own(why)));
    }

    /// No publisher sends anything more.
    ///
    /// MOQT-14 §10.4.3 [D14-CLOSE-1]: what was not finished by a publisher is reset, never finished.
    pub(super) fn all_publishers_end(&mut self) {
        let serving: Vec<_> = self.sources.serving().map(|(id, _)| id).collect();
        self.merge_input(|merge, log, now, heard| {
            for id in serving {
                merge.lost(log, now, PublisherKey(id.number()), &mut |appended, chunk| {
                    heard.hear(appended, chunk);
                });
            }
        });
    }

    /// Gives the merge an input that is no chunk, and acts on what comes of it.
    fn merged(
        &mut self,
        ctx: &mut Context<Self>,
        input: impl FnOnce(&mut Merge, &mut TrackLog, Instant, &mut Heard<'_>),
    ) {
        let malformed = self.merge_input(input);
        self.judge(ctx, malformed);
    }

    /// The log has something new, or the track has come to its end.
    fn judge(&mut self, ctx: &mut Context<Self>, malformed: Option<Malformed>) {
        if let Some(why) = malformed {
            self.is_malformed(ctx, &why.to_string());
        } else {
            self.group_advanced();
            self.advanced(ctx);
        }
    }

    /// Gives the merge an input; the value is the rule that was broken.
    fn merge_input(
        &mut self,
        input: impl FnOnce(&mut Merge, &mut TrackLog, Instant, &mut Heard<'_>),
    ) -> Option<Malformed> {
        let merge = &mut self.merge;
        let mut heard = Heard {
            ignored: &mut self.ignored,
            replicas: &mut self.replicas,
            malformed: None,
            wakes: false,
        };
        self.fanout.write(|log| {
            input(merge, log, now(), &mut heard);
            heard.wakes
        });
        let malformed = heard.malformed;
        self.merge_waits.set(self.merge.stats().waiting_bytes);
        malformed
    }

    /// One timer: a publisher that stands still is overtaken by the others.
    fn rearm_merge(&mut self, ctx: &mut Context<Self>) {
        let due = self.merge.poll_timeout();
        if self.merge_due == due {
            return;
        }
        if let Some(timer) = self.merge_timer.take() {
            ctx.cancel_future(timer);
        }
        self.merge_due = due;
        let Some(due) = due.filter(|_| self.phase != Phase::Ended) else {
            return;
        };
        let wait = due.saturating_duration_since(now()).max(Duration::from_millis(1));
        self.merge_timer = Some(ctx.run_later(wait, |actor, ctx| {
            (actor.merge_timer, actor.merge_due) = (None, None);
            if actor.phase != Phase::Ended {
                actor.merged(ctx, |merge, log, now, heard| {
                    merge.handle_timeout(log, now, &mut |appended, chunk| heard.hear(appended, chunk));
                });
            }
        }));
    }
}

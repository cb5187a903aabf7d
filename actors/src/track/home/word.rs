//! What another node published is not subscribed to before somebody wants objects, and the word that it is comes from there a
//! while later. On one relay a subscriber gets all that is published after its SUBSCRIBE_OK, and so it does here: who wants
//! objects is answered when the word has come, and what overtakes the word waits for those who are answered by it.
//!
//! A client that published the track sends as soon as it is told to, and has no word for that.

use super::TrackActor;
use super::fetching::now;
use super::publisher::Publisher;
use crate::track::audience::Audience;
use crate::track::messages::{Ingest, SourceId};
use crate::track::replication::chunk_bytes;
use actix::{AsyncContext, Context};
use laps_protocol::relay::track_log::Append;
use slog::debug;
use std::time::Instant;

/// Where it stands with the word of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It gives none, or gave it before it served.
    Needless,
    /// It is not asked for objects.
    Unasked,
    /// It was asked for them at this time.
    Awaited(Instant),
    /// They come, as long as they are wanted.
    Given,
}

impl Word {
    /// The publisher is told whether objects are wanted.
    pub(super) fn told(&mut self, forward: bool) {
        *self = match *self {
            Self::Needless => Self::Needless,
            Self::Unasked | Self::Awaited(_) | Self::Given if !forward => Self::Unasked,
            Self::Unasked | Self::Awaited(_) => Self::Awaited(now()),
            Self::Given => Self::Given,
        };
    }

    pub(super) const fn is_awaited(self) -> bool {
        matches!(self, Self::Awaited(_))
    }
}

impl Publisher {
    /// What is published there from now on comes to these.
    fn brings_all_to(&self, audience: Audience) -> bool {
        match self.word {
            Word::Needless => true,
            Word::Unasked | Word::Awaited(_) => false,
            // A while after nobody wants objects any more it is told to send none.
            Word::Given => self.is_wanted_by(audience),
        }
    }
}

impl TrackActor {
    /// Who wants objects has to wait, since nobody has said yet that they come.
    pub(super) fn is_word_awaited(&self) -> bool {
        let serving = || self.sources.serving().map(|(_, publisher)| publisher);
        if !self.sources.any_serving() || serving().any(|publisher| publisher.word == Word::Needless) {
            return false;
        }
        let audience = self.audience();
        !serving().any(|publisher| publisher.brings_all_to(audience))
    }

    /// What this one sends has come before its word.
    pub(super) fn is_early(&self, source: SourceId) -> bool {
        let publisher = self.sources.get(source);
        publisher.is_some_and(|publisher| publisher.word.is_awaited())
    }

    /// Answers those who waited for a word that has come, and takes in what had overtaken it.
    pub(super) fn settle_words(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.word_timer.take() {
            ctx.cancel_future(timer);
        }
        let (now, patience) = (now(), self.config.upstream_timeout);
        let mut next: Option<Instant> = None;
        for publisher in self.sources.active_mut() {
            let Word::Awaited(since) = publisher.word else {
                continue;
            };
            let due = since + patience;
            if due > now {
                next = next.into_iter().chain([due]).min();
            } else {
                // It was lost on its way, or never said. Subscribers are not kept waiting for more than any answer takes.
                debug!(self.log, "a node does not say that its track comes"; "track" => %self.name);
                publisher.word = Word::Given;
            }
        }
        self.word_timer = next.map(|due| {
            ctx.run_later(due.saturating_duration_since(now), |actor, ctx| {
                actor.word_timer = None;
                actor.settle_words(ctx);
            })
        });
        let (awaited, largest) = (self.is_word_awaited(), self.fanout.largest());
        self.fanout.await_word(awaited);
        let mut news = false;
        for replica in &mut self.replicas {
            news |= replica.await_word(awaited, largest);
        }
        if news {
            self.replicate(ctx);
        }
        self.take_held(ctx);
    }

    /// Takes in what was held, but for what is early still.
    pub(super) fn take_held(&mut self, ctx: &mut Context<Self>) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let (held, due): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|(ingest, _)| self.is_early(ingest.source));
        self.held_bytes = held.iter().map(|(ingest, _)| datagram_bytes(ingest)).sum();
        self.held = held;
        for (ingest, reply) in due {
            self.take_in(ctx, ingest);
            reply.send(());
        }
    }
}

/// What of it counts against the bound of datagrams that are held.
pub(super) fn datagram_bytes(ingest: &Ingest) -> usize {
    let datagrams = ingest
        .batch
        .iter()
        .all(|chunk| matches!(chunk, Append::Datagram(_)));
    if datagrams {
        ingest.batch.iter().map(chunk_bytes).sum()
    } else {
        0
    }
}

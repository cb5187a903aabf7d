//! What came of a stream just before it was cut short reaches readers before its end does.
//!
//! A reset overtakes what was sent before it, and takes back what the transport still has of it. What was here by then is
//! nothing new to a repair (`repair.rs`), which brings it to nobody: so a reader whom it has not reached would do without.
//! It is the home that waits, once for all readers on all shards: they would each need a timer for each stream.

use super::{Phase, TrackActor};
use crate::track::messages::SourceId;
use actix::{AsyncContext, Context};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::relay::track_log::{Append, StreamEnd};
use std::time::Duration;

/// How long it has for that: two round trips to a reader that is far away, with a packet that is lost.
const LAST_WORDS: Duration = Duration::from_millis(300);

impl TrackActor {
    /// Takes the ends of streams of a node out that were cut short, for a moment.
    pub(super) fn cut_later(ctx: &mut Context<Self>, source: SourceId, batch: Vec<Append>) -> Vec<Append> {
        let (cut, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_cut);
        if !cut.is_empty() {
            ctx.run_later(LAST_WORDS, move |actor, ctx| {
                if actor.phase != Phase::Ended {
                    actor.append(ctx, source, cut);
                }
            });
        }
        rest
    }
}

/// MOQT-14 §10.4.3 [D14-CLOSE-1]: what is too old is of no use to readers either, and its end waits for nothing.
fn is_cut(chunk: &Append) -> bool {
    let Append::SubgroupClosed { end, .. } = chunk else {
        return false;
    };
    matches!(end, StreamEnd::Reset(code) if *code != ResetCode::DeliveryTimeout)
}

//! Finding a subscription's track and attaching to it, on this shard.

use crate::registry::ResolveTrack;
use crate::shard::{Env, OpenReplica};
use crate::supervise::mailbox::{self, AskError};
use crate::track::{
    Attach, Attached, Detach, ReaderId, ReplicaActor, SetForward, TrackActor, TrackRef, Unavailable,
};
use actix::Addr;
use laps_protocol::moqt::message::RequestErrorReason;
use laps_protocol::moqt::name::FullTrackName;
use std::time::Duration;
use tokio::time::Instant;

/// How often a track may turn out dead between being found and being attached to.
const ATTEMPTS: usize = 3;
/// The registry is given at least this long, whatever a subscription is to wait: a busy one must not look empty.
const LEAST_ASK: Duration = Duration::from_millis(250);

/// The track's copy on this arbiter.
#[derive(Clone, Debug)]
enum Local {
    Home(Addr<TrackActor>),
    Replica(Addr<ReplicaActor>),
}

/// One reader's hold on a track; letting go of it detaches.
#[derive(Debug)]
pub(super) struct Attachment {
    local: Local,
    reader: ReaderId,
}

impl Attachment {
    pub(super) fn set_forward(&self, forward: bool) {
        let msg = SetForward {
            reader: self.reader,
            forward,
        };
        match &self.local {
            Local::Home(track) => mailbox::signal(track, msg),
            Local::Replica(track) => mailbox::signal(track, msg),
        };
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let msg = Detach { reader: self.reader };
        match &self.local {
            Local::Home(track) => mailbox::signal(track, msg),
            Local::Replica(track) => mailbox::signal(track, msg),
        };
    }
}

/// Finds the track and attaches; waits for a publisher within the configured time.
pub(super) async fn locate(
    env: Env,
    name: FullTrackName,
    attach: impl Fn() -> Attach,
) -> Result<(Attachment, Attached), Unavailable> {
    let mut stale = None;
    let until = env.session.subscribe_wait.map(|wait| Instant::now() + wait);
    for _ in 0..ATTEMPTS {
        let attach = attach();
        let reader = attach.reader;
        let track = resolve(&env, &name, reader, stale, until).await?;
        let Some(local) = open(&env, &track).await else {
            stale = stale_epoch(&track);
            continue;
        };
        let attachment = Attachment {
            local: local.clone(),
            reader,
        };
        // The track answers when its publisher does, and bounds that itself.
        let deadline = env.track.answer_deadline();
        let answer = match &local {
            Local::Home(track) => mailbox::ask(track, attach, deadline).await,
            Local::Replica(track) => mailbox::ask(track, attach, deadline).await,
        };
        match answer {
            Ok(Ok(attached)) => return Ok((attachment, attached)),
            Ok(Err(why)) => return Err(why),
            Err(AskError::Deadline) => {
                return Err(Unavailable::new(
                    RequestErrorReason::Timeout,
                    "the publisher did not answer",
                ));
            }
            // It died in between; the registry may not know yet.
            Err(AskError::MailboxClosed) => stale = stale_epoch(&track),
        }
    }
    Err(Unavailable::new(
        RequestErrorReason::InternalError,
        "the track keeps failing in the relay",
    ))
}

/// The life of the track that the registry should forget: none while its home lives, since then only a replica died,
/// and the track goes on for everybody else.
fn stale_epoch(track: &TrackRef) -> Option<u64> {
    (!track.home.connected()).then_some(track.epoch)
}

async fn resolve(
    env: &Env,
    name: &FullTrackName,
    reader: ReaderId,
    stale: Option<u64>,
    until: Option<Instant>,
) -> Result<TrackRef, Unavailable> {
    loop {
        // Without a bound of its own the question is asked anew after each longest ask.
        let wait = until.map_or(mailbox::LONGEST_ASK, |until| {
            until.saturating_duration_since(Instant::now()).max(LEAST_ASK)
        });
        let question = ResolveTrack {
            name: name.clone(),
            reader,
            stale,
        };
        return match mailbox::ask(&env.registry, question, wait).await {
            Ok(answer) => answer,
            Err(AskError::Deadline) if until.is_none() => continue,
            // MOQT-14 §8.4 [D14-SUB-10]
            Err(AskError::Deadline) => Err(Unavailable::new(
                RequestErrorReason::TrackDoesNotExist,
                "nobody publishes this track",
            )),
            Err(AskError::MailboxClosed) => Err(Unavailable::new(
                RequestErrorReason::InternalError,
                "the relay is ending",
            )),
        };
    }
}

/// The copy of the track on this shard; none when the track has died.
async fn open(env: &Env, track: &TrackRef) -> Option<Local> {
    if track.shard == env.shard.index {
        return Some(Local::Home(track.home.clone()));
    }
    let replicas = env.replicas.as_ref()?;
    let opened = mailbox::ask(replicas, OpenReplica(track.clone()), Duration::from_secs(5)).await;
    opened.ok().map(Local::Replica)
}

//! The course of one FETCH: find the track, read its past batch by batch, send, end.

use super::Birth;
use super::response::{Closed, Response};
use crate::registry::ResolveTrack;
use crate::supervise::mailbox::{self, AskError};
use crate::track::{ClosePast, OpenPast, PastOpened, ReadPast, ReaderId, TrackActor, TrackRef, Unavailable};
use actix::Addr;
use laps_protocol::moqt::message::{RequestError, RequestErrorReason};
use laps_protocol::moqt::session::Command;
use laps_protocol::relay::fetch::{Batch, Then};
use laps_protocol::relay::track_log::PastRange;
use slog::debug;
use std::future::poll_fn;
use std::time::Duration;

/// How often a track may turn out dead between being found and being asked.
const ATTEMPTS: usize = 3;
/// How long the registry may take, making the track included.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(6);
/// The pause before a track that has just ended is asked for again: the news of its end is on its way.
const RETRY: Duration = Duration::from_millis(10);
/// How long a batch may take. The track has deadlines of its own for what it asks for, a few of which may follow each
/// other; an object that was begun and stands still for so long ends the fetch.
const BATCH_DEADLINE: Duration = Duration::from_mins(1);

/// A reader's place at a track; letting go of it tells the track.
#[derive(Debug)]
pub(super) struct Hold {
    home: Addr<TrackActor>,
    reader: ReaderId,
}

impl Hold {
    /// Asks for the next batch.
    fn ask(&self) -> impl Future<Output = Result<Batch, AskError>> + use<> {
        let ask = ReadPast { reader: self.reader };
        mailbox::ask(&self.home, ask, BATCH_DEADLINE)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        mailbox::signal(&self.home, ClosePast { reader: self.reader });
    }
}

/// Serves the fetch to its end, from where its course stands.
pub(super) async fn serve(birth: Birth) {
    let request = birth.request;
    let response = Response::new(&birth);
    match run(&birth, &response).await {
        Ok(End::Whole) => response.finish().await,
        Ok(End::Stopped) => response.stopped(),
        Err(error) => {
            debug!(birth.log, "fetch fails"; "why" => ?error.reason);
            response.fail(error);
        }
    }
    birth.owner.say(Command::FetchDone(request));
    birth.course.end();
}

/// How a response that nothing was missing for has ended.
enum End {
    /// Everything was handed to the transport.
    Whole,
    /// The stream could not take all of it.
    Stopped,
}

/// Reads the past of the track, and sends it.
async fn run(birth: &Birth, response: &Response<'_>) -> Result<End, RequestError> {
    let course = &*birth.course;
    if !course.has_begun() {
        let (hold, opened) = open(birth).await.map_err(|why| RequestError {
            reason: why.reason,
            phrase: why.phrase,
        })?;
        course.begin(hold, opened);
    }
    loop {
        // What an earlier actor had taken in comes first.
        if let Err(Closed) = response.send().await {
            return Ok(End::Stopped);
        }
        match course.then() {
            Some(Then::More) | None => {}
            Some(Then::Done) => return Ok(End::Whole),
            Some(Then::Failed(reason)) => return Err(RequestError::new(reason, words(reason))),
        }
        let batch = poll_fn(|cx| course.poll_batch(cx, |hold| Box::pin(hold.ask())));
        batch.await.map_err(|error| match error {
            AskError::Deadline => RequestError::new(
                RequestErrorReason::Timeout,
                "the objects could not be had in time",
            ),
            AskError::MailboxClosed => {
                RequestError::new(RequestErrorReason::InternalError, "the track ended")
            }
        })?;
        birth.env.faults.check_named("fetch", &birth.fetch.track);
    }
}

/// Finds the track, wherever it lives, and takes a place at its past.
async fn open(birth: &Birth) -> Result<(Hold, PastOpened), Unavailable> {
    let fetch = &birth.fetch;
    let Some(range) = PastRange::new(fetch.start, fetch.end) else {
        // MOQT-14 §9.16.3 [D14-VAL-8]
        let why = "the range ends before it starts";
        return Err(Unavailable::new(RequestErrorReason::InvalidRange, why));
    };
    let (mut stale, mut attempts) = (None, 0);
    loop {
        attempts += 1;
        let reader = ReaderId::next();
        let track = resolve(birth, reader, stale).await?;
        let hold = Hold {
            home: track.home.clone(),
            reader,
        };
        let ask = OpenPast {
            reader,
            range,
            order: fetch.group_order,
            priority: fetch.priority,
            own: birth.own,
        };
        let failed = match mailbox::ask(&track.home, ask, birth.env.track.answer_deadline()).await {
            Ok(Ok(opened)) => return Ok((hold, opened)),
            Ok(Err(why)) if why.for_now => {
                stale = Some(track.epoch);
                why
            }
            Ok(Err(why)) => return Err(why),
            Err(AskError::Deadline) => {
                let why = "the publisher did not answer";
                return Err(Unavailable::new(RequestErrorReason::Timeout, why));
            }
            Err(AskError::MailboxClosed) => {
                stale = (!track.home.connected()).then_some(track.epoch);
                Unavailable::new(
                    RequestErrorReason::InternalError,
                    "the track keeps failing in the relay",
                )
            }
        };
        if attempts >= ATTEMPTS {
            return Err(failed);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// MOQT-14 §8.4 [D14-FETCH-17]: publishers are found as for SUBSCRIBE, but nobody is waited for: what is past is there
/// or it is not. On a stub that is for its edge to say.
async fn resolve(birth: &Birth, reader: ReaderId, stale: Option<u64>) -> Result<TrackRef, Unavailable> {
    let seek = birth.owner.is_client();
    let question = |wait| ResolveTrack {
        name: birth.fetch.track.clone(),
        reader,
        stale,
        wait,
        except: birth.owner.except(&birth.env),
        seek,
    };
    let registry = &birth.env.registry;
    let known = registry.ask(question(false), REGISTRY_DEADLINE).await;
    let seek_wait = birth.env.session.seek_wait;
    let answer = match known {
        Ok(Err(nobody)) if nobody.for_now && seek && !seek_wait.is_zero() => {
            match registry.ask(question(true), seek_wait).await {
                Err(AskError::Deadline) => Ok(Err(nobody)),
                answer => answer,
            }
        }
        known => known,
    };
    answer.unwrap_or_else(|_| {
        Err(Unavailable::new(
            RequestErrorReason::InternalError,
            "the relay is overloaded",
        ))
    })
}

/// What a person is told beside the code.
fn words(reason: RequestErrorReason) -> &'static str {
    let known = [
        (
            RequestErrorReason::Timeout,
            "the publisher did not bring missing objects in time",
        ),
        (
            RequestErrorReason::InvalidRange,
            "the range starts after the largest object",
        ),
        (RequestErrorReason::NoObjects, "no objects exist in the range"),
        (
            RequestErrorReason::UnknownStatusInRange,
            "nobody can say what stands in a part of the range",
        ),
        (
            RequestErrorReason::MalformedTrack,
            "the publisher breaks the rules for tracks",
        ),
        (
            RequestErrorReason::TrackDoesNotExist,
            "nobody publishes this track",
        ),
    ];
    known
        .into_iter()
        .find(|(known, _)| *known == reason)
        .map_or("the objects could not be had", |(_, words)| words)
}

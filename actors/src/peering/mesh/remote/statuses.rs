//! What is asked of a node about its tracks: TRACK_STATUS, which leaves nothing behind at either end.

use super::messages::{AskStatus, NoStatus, StatusTold};
use super::{NodeActor, numbers};
use crate::reply::{Reply, ReplyTo};
use crate::session::passed_on;
use crate::track::{Description, TrackMeta};
use actix::{Context, Handler};
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId};
use laps_protocol::peering::message::FetchStep;
use std::collections::BTreeMap;

/// Questions to one node that may be open: as many as it answers at once.
const MOST: usize = 4096;

type Answer = Result<Description, NoStatus>;

/// Those that are open, and some that nobody waits for any more.
#[derive(Debug, Default)]
pub(super) struct Statuses(BTreeMap<RequestId, ReplyTo<Answer>>);

impl Handler<AskStatus> for NodeActor {
    type Result = Reply<Answer>;
    fn handle(&mut self, AskStatus(subscribe): AskStatus, _: &mut Context<Self>) -> Self::Result {
        if !self.ours {
            return Reply::Now(Err(NoStatus::NotAsked));
        }
        let refuse = |why| {
            let error = RequestError::new(RequestErrorReason::InternalError, why);
            Reply::Now(Err(NoStatus::Refused(error)))
        };
        self.statuses.0.retain(|_, reply| !reply.is_abandoned());
        if self.statuses.0.len() >= MOST {
            return refuse("too many questions to another relay at once");
        }
        let request = numbers::next(self.epoch);
        if self.say_of_fetch(request, FetchStep::Status(subscribe)).is_err() {
            return refuse("the request cannot be told to another relay");
        }
        let (answer, reply) = Reply::later();
        self.statuses.0.insert(request, reply);
        answer
    }
}

impl Handler<StatusTold> for NodeActor {
    type Result = ();
    fn handle(&mut self, StatusTold { status, answer }: StatusTold, _: &mut Context<Self>) {
        let Some(reply) = self.statuses.0.remove(&status) else {
            return;
        };
        let answer = match answer {
            Ok(ok) => Ok(Description {
                largest: ok.largest,
                meta: TrackMeta::of(&ok),
            }),
            Err(error) => Err(NoStatus::Refused(RequestError {
                phrase: passed_on(&error.phrase),
                ..error
            })),
        };
        reply.send(answer);
    }
}

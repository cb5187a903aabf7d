//! What tracks fetch from a node.

use super::messages::FetchAnswered;
use super::{NodeActor, numbers};
use crate::fetch::{FetchNews, FetchProgress, FetchSink};
use crate::peering::mesh::SendToNode;
use crate::session::{CancelFetch, FetchUpstream};
use crate::supervise::mailbox;
use actix::{Context, Handler};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::session::CommandError;
use laps_protocol::peering::message::{FetchMessage, FetchStep, PlainFetch};
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::BTreeMap;

/// One FETCH of ours. The end of its stream goes to the sink by itself.
#[derive(Debug)]
struct Ours {
    sink: FetchSink,
    answered: bool,
}

impl Ours {
    fn tell(&self, progress: FetchProgress) {
        let key = self.sink.key;
        mailbox::signal(&self.sink.news, FetchNews { key, progress });
    }
}

/// Those that are open, and some that are over. Their number is bounded by those who ask: a few a track.
#[derive(Debug, Default)]
pub(super) struct Fetches(BTreeMap<RequestId, Ours>);

impl NodeActor {
    pub(super) fn say_of_fetch(&self, request: RequestId, step: FetchStep) -> Result<(), CommandError> {
        let unsayable = CommandError::NotAllowed("the FETCH cannot be told to a node");
        let body = (FetchMessage { request, step }).encode().map_err(|_| unsayable)?;
        let message = SendToNode {
            target: self.node,
            kind: FetchMessage::KIND,
            request_id: request.0,
            body,
        };
        if mailbox::signal(&self.mesh, message) {
            Ok(())
        } else {
            Err(CommandError::NotEstablished)
        }
    }

    /// The actor ends: nothing more comes of any of them.
    pub(super) fn abandon_fetches(&mut self) {
        for (request, ours) in std::mem::take(&mut self.fetches.0) {
            if self.inlets.expects(request) {
                self.inlets.forget(request);
                let end = StreamEnd::Reset(ResetCode::SessionClosed);
                ours.tell(FetchProgress::Ended(end));
            }
        }
    }
}

impl Handler<FetchUpstream> for NodeActor {
    type Result = Result<RequestId, CommandError>;
    fn handle(&mut self, msg: FetchUpstream, _: &mut Context<Self>) -> Self::Result {
        let FetchUpstream { sink, fetch } = msg;
        if !self.ours {
            return Err(CommandError::NotAllowed(
                "a laps relay knows no FETCH between nodes",
            ));
        }
        let joins = CommandError::NotAllowed("a FETCH that joins a subscription is not told to a node");
        let plain = PlainFetch::try_from(fetch).map_err(|_| joins)?;
        let inlets = &self.inlets;
        self.fetches
            .0
            .retain(|request, ours| !ours.answered || inlets.expects(*request));
        let request = numbers::next(self.epoch);
        self.inlets.expect(request, sink.clone());
        self.say_of_fetch(request, FetchStep::Fetch(plain))
            .inspect_err(|_| self.inlets.forget(request))?;
        let answered = false;
        self.fetches.0.insert(request, Ours { sink, answered });
        Ok(request)
    }
}

impl Handler<CancelFetch> for NodeActor {
    type Result = ();
    fn handle(&mut self, msg: CancelFetch, _: &mut Context<Self>) {
        if self.fetches.0.remove(&msg.request).is_some() {
            self.inlets.forget(msg.request);
            // MOQT-14 §5.1 [D14-FETCH-16]. A node that does not hear of it finds its stream stopped.
            drop(self.say_of_fetch(msg.request, FetchStep::Cancel));
        }
    }
}

impl Handler<FetchAnswered> for NodeActor {
    type Result = ();
    fn handle(&mut self, msg: FetchAnswered, _: &mut Context<Self>) {
        let FetchAnswered { fetch, answer } = msg;
        let Some(ours) = self.fetches.0.get_mut(&fetch) else {
            return;
        };
        match answer {
            Ok(ok) => {
                ours.answered = true;
                ours.tell(FetchProgress::Accepted(ok));
            }
            Err(error) => {
                // Objects may have come before; what comes after is of no use. MOQT-14 §5.1 [D14-FETCH-18]
                self.inlets.forget(fetch);
                ours.tell(FetchProgress::Refused(error));
                self.fetches.0.remove(&fetch);
            }
        }
    }
}

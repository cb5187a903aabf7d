//! From a message of the peer, or a command of ours, to the file that knows about it.

use super::Session;
use super::breach::PeerMisbehaved;
use super::io::{Command, CommandError, Event, Note};
use super::requests::About;
use super::setup::Phase;
use crate::moqt::message::{ControlMessage, RequestId, RequestKind};
use std::time::Instant;

impl Session {
    /// A message of the peer after SETUP.
    pub(super) fn on_message(&mut self, message: ControlMessage) -> Result<(), PeerMisbehaved> {
        match message {
            // MOQT-14 §9.3: SETUP is the first message, and only that.
            ControlMessage::ClientSetup(_) | ControlMessage::ServerSetup(_) => {
                Err(PeerMisbehaved::violation("SETUP after SETUP", "MOQT-14 §9.3"))
            }
            ControlMessage::Goaway(uri) => self.on_goaway(uri),
            ControlMessage::MaxRequestId(maximum) => self.on_max_request_id(maximum),
            ControlMessage::RequestsBlocked(_) => {
                // MOQT-14 §9.6 [D14-REQ-6]: the window opens with finished requests, not because of this.
                self.tell(Event::Note(Note::PeerBlocked));
                Ok(())
            }
            ControlMessage::Subscribe(id, body) => self.on_subscribe(id, body),
            ControlMessage::SubscribeOk(id, body) => self.on_subscribe_ok(id, body),
            ControlMessage::SubscribeUpdate(id, body) => self.on_subscribe_update(id, body),
            ControlMessage::Unsubscribe(id) => self.on_unsubscribe(id),
            ControlMessage::PublishDone(id, body) => self.on_publish_done(id, body),
            ControlMessage::Publish(id, body) => self.on_publish(id, body),
            ControlMessage::PublishOk(id, body) => self.on_publish_ok(id, body),
            ControlMessage::Fetch(id, body) => self.on_fetch(id, body),
            ControlMessage::FetchOk(id, body) => self.on_fetch_ok(id, body),
            ControlMessage::FetchCancel(id) => self.on_fetch_cancel(id),
            ControlMessage::TrackStatus(id, body) => self.on_track_status(id, body),
            ControlMessage::TrackStatusOk(id, body) => self.on_track_status_ok(id, body),
            ControlMessage::PublishNamespace(id, body) => self.on_publish_namespace(id, body),
            ControlMessage::PublishNamespaceOk(id) => self.on_namespace_ok(id, RequestKind::PublishNamespace),
            ControlMessage::PublishNamespaceDone(body) => {
                self.on_publish_namespace_done(&body);
                Ok(())
            }
            ControlMessage::PublishNamespaceCancel(body) => {
                self.on_publish_namespace_cancel(body);
                Ok(())
            }
            ControlMessage::SubscribeNamespace(id, body) => self.on_subscribe_namespace(id, body),
            ControlMessage::SubscribeNamespaceOk(id) => {
                self.on_namespace_ok(id, RequestKind::SubscribeNamespace)
            }
            ControlMessage::UnsubscribeNamespace(body) => {
                self.on_unsubscribe_namespace(&body);
                Ok(())
            }
            ControlMessage::UnsubscribeNamespaceById(id) => self.on_unsubscribe_namespace_by_id(id),
            ControlMessage::RequestError(id, kind, error) => self.on_request_error(id, kind, error),
        }
    }

    /// Carries a command out, or changes nothing.
    pub(super) fn on_command(
        &mut self,
        _now: Instant,
        command: Command,
    ) -> Result<Option<RequestId>, CommandError> {
        if let Command::Close(code, reason) = command {
            self.close(code, reason);
            return Ok(None);
        }
        if self.phase != Phase::Established {
            return Err(CommandError::NotEstablished);
        }
        match command {
            Command::Close(..) => Ok(()),
            Command::Subscribe(body) => return self.subscribe(body).map(Some),
            Command::Publish(body) => return self.publish(body).map(Some),
            Command::PublishNamespace(body) => return self.publish_namespace(body).map(Some),
            Command::SubscribeNamespace(body) => return self.subscribe_namespace(body).map(Some),
            Command::Fetch(body) => return self.fetch(body).map(Some),
            Command::TrackStatus(body) => return self.track_status(body).map(Some),
            Command::SubscribeUpdate(body) => self.update_subscription(body),
            Command::Unsubscribe(id) => self.unsubscribe(id),
            Command::PublishNamespaceDone(id) => self.publish_namespace_done(id),
            Command::PublishNamespaceCancel(id, error) => self.publish_namespace_cancel(id, error),
            Command::UnsubscribeNamespace(id) => self.unsubscribe_namespace(id),
            Command::FetchCancel(id) => self.fetch_cancel(id),
            Command::FetchDone(id) => self.fetch_done(id),
            Command::AcceptSubscribe(id, ok) => self.accept_subscribe(id, ok),
            Command::AcceptPublish(id, ok) => self.accept_publish(id, ok),
            Command::AcceptFetch(id, ok) => self.accept_fetch(id, ok),
            Command::AcceptTrackStatus(id, ok) => self.accept_track_status(id, ok),
            Command::AcceptNamespace(id) => self.accept_namespace(id),
            Command::Reject(id, error) => self.reject(id, error),
            Command::PublishDone(id, done) => self.publish_done(id, done),
            Command::Goaway(uri) => self.goaway(uri),
        }?;
        Ok(None)
    }

    /// MOQT-14 §9.31 DEVIATION [D14-MSG-30]: some peers name the request instead of the prefix.
    fn on_unsubscribe_namespace_by_id(&mut self, id: RequestId) -> Result<(), PeerMisbehaved> {
        self.check_their_id(id)?;
        self.tell(Event::Note(Note::UnsubscribeNamespaceById));
        let Some(request) = self.theirs.open.get(&id) else {
            return Ok(());
        };
        let About::Watch(_) = request.about else {
            let kind = RequestKind::SubscribeNamespace;
            return Err(super::requests::wrong_kind(id, kind, request.about.kind()));
        };
        self.withdraw_theirs(id);
        self.tell(Event::PeerUnsubscribeNamespace(id));
        Ok(())
    }
}

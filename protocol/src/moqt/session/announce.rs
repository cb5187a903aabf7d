//! Announced namespaces. Draft 14 ends them by name, so a name stands for its latest request.
//! MOQT-14 §9.23 to §9.27.

use super::Session;
use super::breach::PeerMisbehaved;
use super::io::{CommandError, Event, Note};
use super::requests::{About, Answer, Answering, Asked, Asking};
use crate::moqt::message::{
    ControlMessage, Namespace, NamespaceCancel, NamespaceRequest, RequestError, RequestId, RequestKind,
};

impl Session {
    pub(super) fn publish_namespace(&mut self, request: NamespaceRequest) -> Result<RequestId, CommandError> {
        if let Some(id) = self.ours.announced.get(&request.namespace) {
            return Err(CommandError::Duplicate(*id));
        }
        let namespace = request.namespace.clone();
        let id = self.request(|id| ControlMessage::PublishNamespace(id, request))?;
        self.ours.announced.insert(namespace.clone(), id);
        self.ours.insert(id, About::Announcement(namespace));
        Ok(id)
    }

    pub(super) fn on_publish_namespace(
        &mut self,
        id: RequestId,
        mut request: NamespaceRequest,
    ) -> Result<(), PeerMisbehaved> {
        self.grant.admit(id)?;
        if self.refuses_tokens(id, RequestKind::PublishNamespace, &mut request.params)? {
            return Ok(());
        }
        let namespace = request.namespace.clone();
        let former = self.theirs.announced.insert(namespace.clone(), id);
        self.theirs.insert(id, About::Announcement(namespace));
        self.tell(Event::PeerPublishNamespace(id, request));
        // [D14-NS-14]: announcing again refreshes. The new request takes the name over before the former one ends,
        // so that the namespace is never gone in between; a former one that is unanswered still gets its answer.
        if let Some(former) = former {
            self.move_theirs(former, Answer::End);
            if !self.theirs.open.contains_key(&former) {
                self.tell(Event::PeerPublishNamespaceDone(former));
            }
        }
        Ok(())
    }

    /// Accepts the peer's PUBLISH_NAMESPACE or SUBSCRIBE_NAMESPACE.
    pub(super) fn accept_namespace(&mut self, id: RequestId) -> Result<(), CommandError> {
        match self.answerable(id, Answer::Accept)? {
            About::Announcement(_) => {
                self.send(&ControlMessage::PublishNamespaceOk(id))?;
                self.move_theirs(id, Answer::Accept);
                // It was announced again in the meantime, under another request.
                if !self.theirs.open.contains_key(&id) {
                    self.tell(Event::PeerPublishNamespaceDone(id));
                }
                Ok(())
            }
            About::Watch(_) => {
                self.send(&ControlMessage::SubscribeNamespaceOk(id))?;
                self.move_theirs(id, Answer::Accept);
                Ok(())
            }
            About::Subscription { .. }
            | About::Publication { .. }
            | About::Fetch { .. }
            | About::TrackStatus => Err(CommandError::NoSuchRequest(id)),
        }
    }

    /// The peer accepted our PUBLISH_NAMESPACE or SUBSCRIBE_NAMESPACE.
    pub(super) fn on_namespace_ok(&mut self, id: RequestId, kind: RequestKind) -> Result<(), PeerMisbehaved> {
        if self.answered(id, kind, Asked::Accept)?.is_some() {
            self.tell(Event::NamespaceOk(id, kind));
        }
        Ok(())
    }

    pub(super) fn publish_namespace_done(&mut self, id: RequestId) -> Result<(), CommandError> {
        let Some(About::Announcement(namespace)) = self.our_live_request(id) else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.follow_up(id, &ControlMessage::PublishNamespaceDone(Namespace { namespace }))?;
        self.withdraw_ours(id);
        Ok(())
    }

    pub(super) fn on_publish_namespace_done(&mut self, done: &Namespace) {
        // MOQT-14 §9.26 [D14-NS-9]: it may cross our error or CANCEL.
        let Some(id) = self.theirs.announced.get(&done.namespace).copied() else {
            self.tell(Event::Note(Note::UnknownNamespace));
            return;
        };
        self.withdraw_theirs(id);
        self.tell(Event::PeerPublishNamespaceDone(id));
    }

    pub(super) fn publish_namespace_cancel(
        &mut self,
        id: RequestId,
        error: RequestError,
    ) -> Result<(), CommandError> {
        let request = self.theirs.open.get(&id).ok_or(CommandError::NoSuchRequest(id))?;
        let (Answering::Open, About::Announcement(namespace)) = (request.state, request.about.clone()) else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.send(&ControlMessage::PublishNamespaceCancel(NamespaceCancel {
            namespace,
            reason: error.reason,
            phrase: error.phrase,
        }))?;
        self.move_theirs(id, Answer::End);
        Ok(())
    }

    pub(super) fn on_publish_namespace_cancel(&mut self, cancel: NamespaceCancel) {
        // MOQT-14 §9.27 [D14-NS-9]: it may cross our DONE.
        let Some(id) = self.ours.announced.get(&cancel.namespace).copied() else {
            self.tell(Event::Note(Note::UnknownNamespace));
            return;
        };
        // No DONE follows from us, and the name is free to be announced again.
        self.withdraw_ours(id);
        let error = RequestError {
            reason: cancel.reason,
            phrase: cancel.phrase,
        };
        self.tell(Event::Rejected(id, RequestKind::PublishNamespace, error));
    }

    /// What a request of ours is about, when it is neither over nor withdrawn.
    pub(super) fn our_live_request(&self, id: RequestId) -> Option<About> {
        let request = self.ours.open.get(&id)?;
        matches!(request.state, Asking::Unanswered | Asking::Open | Asking::Owed)
            .then(|| request.about.clone())
    }
}

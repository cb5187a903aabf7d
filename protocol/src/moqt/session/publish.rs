//! Subscriptions that begin with PUBLISH, and the publisher's end of all subscriptions. MOQT-14 §9.12 to §9.15.

use super::Session;
use super::breach::PeerMisbehaved;
use super::credit::belongs_to;
use super::io::{CommandError, Event, Note};
use super::range::{Wanted, is_inverted};
use super::requests::{About, Answer, Answering, Asked, Asking, wrong_kind};
use crate::moqt::message::{
    ControlMessage, Publish, PublishDone, PublishDoneStatus, PublishOk, RequestError, RequestErrorReason,
    RequestId, RequestKind,
};
use crate::moqt::name::FullTrackName;
use crate::moqt::object::TrackAlias;

impl Session {
    /// An alias in a command must be one that `new_alias` gave out.
    pub(super) const fn check_fresh_alias(&self, alias: TrackAlias) -> Result<(), CommandError> {
        if self.aliases.is_ours(alias) {
            Ok(())
        } else {
            Err(CommandError::NotAllowed("the alias does not come from new_alias"))
        }
    }

    pub(super) fn publish(&mut self, publish: Publish) -> Result<RequestId, CommandError> {
        self.check_fresh_alias(publish.alias)?;
        // MOQT-14 §9.7 [D14-VAL-15]: accepted, it would be the peer's second subscription to the track.
        if let Some(id) = self.theirs.tracks.get(&publish.track) {
            return Err(CommandError::Duplicate(*id));
        }
        let about = About::Publication {
            track: publish.track.clone(),
            wanted: Wanted::offered(publish.largest),
        };
        let id = self.request(|id| ControlMessage::Publish(id, publish))?;
        self.ours.insert(id, about);
        Ok(id)
    }

    /// The subscription that our PUBLISH made, once the peer accepted it.
    pub(super) fn our_publication(&self, id: RequestId) -> Option<(&FullTrackName, &Wanted)> {
        let request = self.ours.open.get(&id)?;
        let About::Publication { track, wanted } = &request.about else {
            return None;
        };
        (request.state == Asking::Open).then_some((track, wanted))
    }

    /// MOQT-14 §5.1 [D14-SUB-1]: a subscription that the publisher begins.
    pub(super) fn on_publish(&mut self, id: RequestId, mut publish: Publish) -> Result<(), PeerMisbehaved> {
        self.grant.admit(id)?;
        if self.refuses_tokens(id, RequestKind::Publish, &mut publish.params)? {
            return Ok(());
        }
        // MOQT-14 §5.1 [D14-SUB-24]: objects may come before our answer, so the alias counts from here on.
        self.aliases.register(publish.alias, id, &publish.track)?;
        let about = About::Publication {
            track: publish.track.clone(),
            wanted: Wanted::offered(publish.largest),
        };
        self.theirs.insert(id, about);
        self.tell(Event::PeerPublish(id, publish));
        Ok(())
    }

    pub(super) fn accept_publish(&mut self, id: RequestId, ok: PublishOk) -> Result<(), CommandError> {
        let About::Publication { track, .. } = self.answerable(id, Answer::Accept)? else {
            return Err(CommandError::NoSuchRequest(id));
        };
        // MOQT-14 §9.7 [D14-VAL-15]: SUBSCRIBE and PUBLISH_OK for one track would be two active subscriptions.
        if let Some(other) = self.ours.tracks.get(&track) {
            return Err(CommandError::Duplicate(*other));
        }
        if is_inverted(ok.filter) {
            return Err(CommandError::NotAllowed("the filter ends before it starts"));
        }
        let filter = ok.filter;
        self.send(&ControlMessage::PublishOk(id, ok))?;
        self.move_theirs(id, Answer::Accept);
        if let Some(request) = self.theirs.open.get_mut(&id)
            && request.state == Answering::Open
        {
            if let Some(wanted) = request.about.wanted() {
                wanted.chosen(filter);
            }
            self.ours.tracks.insert(track, id);
        }
        Ok(())
    }

    pub(super) fn on_publish_ok(&mut self, id: RequestId, ok: PublishOk) -> Result<(), PeerMisbehaved> {
        let Some(About::Publication { track, .. }) =
            self.answered(id, RequestKind::Publish, Asked::Accept)?
        else {
            return Ok(());
        };
        // MOQT-14 §9.14 [D14-VAL-6]: the filter obeys the rules of SUBSCRIBE's. §3.4 [D14-TERM-3]: no error answers
        // PUBLISH_OK, and yet one subscription ends, not all of them with the session.
        if is_inverted(ok.filter) {
            let error = RequestError::new(
                RequestErrorReason::InvalidRange,
                "the range of PUBLISH_OK ends before it starts",
            );
            self.say(&ControlMessage::PublishDone(
                id,
                PublishDone {
                    status: PublishDoneStatus::InternalError,
                    stream_count: Some(0),
                    phrase: error.phrase.clone(),
                },
            ));
            self.withdraw_ours(id);
            self.tell(Event::Rejected(id, RequestKind::Publish, error));
            return Ok(());
        }
        if let Some(wanted) = self
            .ours
            .open
            .get_mut(&id)
            .and_then(|request| request.about.wanted())
        {
            wanted.chosen(ok.filter);
            wanted.set_params(&ok.params);
        }
        // The peer has this track now: a SUBSCRIBE for it would be a second one [D14-VAL-15].
        self.theirs.tracks.entry(track).or_insert(id);
        if ok.group_order.is_none() {
            // MOQT-14 §9.14 [D14-VAL-2] DEVIATION: some peers send 0 for "as you like".
            self.tell(Event::Note(Note::PublishOkGroupOrderZero));
        }
        self.tell(Event::PublishOk(id, ok));
        Ok(())
    }

    pub(super) fn publish_done(&mut self, id: RequestId, done: PublishDone) -> Result<(), CommandError> {
        let no_such = CommandError::NoSuchRequest(id);
        if belongs_to(self.role, id) {
            // Our PUBLISH ends, perhaps before it was answered.
            let request = self.ours.open.get(&id).ok_or_else(|| no_such.clone())?;
            let open = matches!(request.state, Asking::Unanswered | Asking::Open);
            if !open || request.about.kind() != RequestKind::Publish {
                return Err(no_such);
            }
            self.follow_up(id, &ControlMessage::PublishDone(id, done))?;
            self.withdraw_ours(id);
            return Ok(());
        }
        let request = self.theirs.open.get(&id).ok_or_else(|| no_such.clone())?;
        if request.state != Answering::Open || request.about.kind() != RequestKind::Subscribe {
            return Err(no_such);
        }
        self.send(&ControlMessage::PublishDone(id, done))?;
        self.move_theirs(id, Answer::End);
        Ok(())
    }

    pub(super) fn on_publish_done(&mut self, id: RequestId, done: PublishDone) -> Result<(), PeerMisbehaved> {
        if belongs_to(self.role, id) {
            return self.on_subscription_done(id, done);
        }
        self.check_their_id(id)?;
        // MOQT-14 §5.1 [D14-SUB-18]: it may cross our UNSUBSCRIBE or PUBLISH_ERROR.
        let Some(request) = self.theirs.open.get(&id) else {
            return Ok(());
        };
        if request.about.kind() != RequestKind::Publish {
            return Err(wrong_kind(id, RequestKind::Publish, request.about.kind()));
        }
        if matches!(request.state, Answering::Owing | Answering::Finished) {
            return Ok(());
        }
        // A short track may be over before we answer its PUBLISH; the answer is still ours to give.
        self.aliases.retire(id);
        self.move_theirs(id, Answer::End);
        self.tell(Event::PublishDone(id, done));
        Ok(())
    }

    /// The publisher ends the subscription that our SUBSCRIBE made.
    fn on_subscription_done(&mut self, id: RequestId, done: PublishDone) -> Result<(), PeerMisbehaved> {
        self.check_our_id(id)?;
        // MOQT-14 §5.1 [D14-SUB-18]: after our UNSUBSCRIBE one may still come, and nothing depends on it.
        let Some(request) = self.ours.open.get(&id) else {
            return Ok(());
        };
        if request.about.kind() != RequestKind::Subscribe {
            return Err(wrong_kind(id, RequestKind::Subscribe, request.about.kind()));
        }
        match request.state {
            Asking::Open => {
                self.end_ours(id);
                self.tell(Event::PublishDone(id, done));
                Ok(())
            }
            // MOQT-14 §5.1 [D14-REQ-8]: OK or ERROR comes first.
            Asking::Unanswered => Err(PeerMisbehaved::violation(
                format!("PUBLISH_DONE before an answer to SUBSCRIBE {id}"),
                "MOQT-14 §5.1",
            )),
            Asking::Owed | Asking::Withdrawn | Asking::Finished => Ok(()),
        }
    }
}

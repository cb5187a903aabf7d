//! Subscriptions that begin with SUBSCRIBE, and the updates and ends of all subscriptions. MOQT-14 §9.7 to §9.11.

use super::Session;
use super::breach::PeerMisbehaved;
use super::credit::belongs_to;
use super::io::{CommandError, Event};
use super::range::{Wanted, is_inverted};
use super::requests::{About, Answer, Answering, Asked, Asking, wrong_kind};
use crate::moqt::location::{GroupId, Location};
use crate::moqt::message::{
    ControlMessage, RequestErrorReason, RequestId, RequestKind, Subscribe, SubscribeOk, SubscribeUpdate,
};
use crate::moqt::name::FullTrackName;

impl Session {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) -> Result<RequestId, CommandError> {
        // MOQT-14 §9.7 [D14-VAL-15]: one active subscription to a track in a session.
        if let Some(id) = self.ours.tracks.get(&subscribe.track) {
            return Err(CommandError::Duplicate(*id));
        }
        if is_inverted(subscribe.filter) {
            return Err(CommandError::NotAllowed("the filter ends before it starts"));
        }
        let track = subscribe.track.clone();
        let wanted = Wanted::asked(subscribe.filter);
        let id = self.request(|id| ControlMessage::Subscribe(id, subscribe))?;
        self.ours.tracks.insert(track.clone(), id);
        self.ours.insert(id, About::Subscription { track, wanted });
        Ok(id)
    }

    /// MOQT-14 §5.1 [D14-SUB-1]: a subscription that the subscriber begins.
    pub(super) fn on_subscribe(
        &mut self,
        id: RequestId,
        mut subscribe: Subscribe,
    ) -> Result<(), PeerMisbehaved> {
        self.grant.admit(id)?;
        if self.refuses_tokens(id, RequestKind::Subscribe, &mut subscribe.params)? {
            return Ok(());
        }
        // MOQT-14 §9.7, §9.9 [D14-VAL-6]: a range that ends before it starts costs the request, not the session.
        if is_inverted(subscribe.filter) {
            let reason = RequestErrorReason::InvalidRange;
            self.refuse(
                id,
                RequestKind::Subscribe,
                reason,
                "the range ends before it starts",
            );
            return Ok(());
        }
        // MOQT-14 §9.7 [D14-VAL-15] DEVIATION: a second subscription to a track is refused instead of ending all
        // the others with the session. §5.1 [D14-SUB-22]: only its own subscriptions count, so it may subscribe to what
        // it publishes.
        if self.theirs.tracks.contains_key(&subscribe.track) {
            let reason = RequestErrorReason::InternalError;
            self.refuse(
                id,
                RequestKind::Subscribe,
                reason,
                "already subscribed to this track",
            );
            return Ok(());
        }
        let track = subscribe.track.clone();
        let mut wanted = Wanted::asked(subscribe.filter);
        wanted.set_params(&subscribe.params);
        self.theirs.tracks.insert(track.clone(), id);
        self.theirs.insert(id, About::Subscription { track, wanted });
        self.tell(Event::PeerSubscribe(id, subscribe));
        Ok(())
    }

    pub(super) fn accept_subscribe(&mut self, id: RequestId, ok: SubscribeOk) -> Result<(), CommandError> {
        let About::Subscription { .. } = self.answerable(id, Answer::Accept)? else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.check_fresh_alias(ok.alias)?;
        let largest = ok.largest;
        self.send(&ControlMessage::SubscribeOk(id, ok))?;
        self.move_theirs(id, Answer::Accept);
        // MOQT-14 §9.10 [D14-VAL-9]: updates are measured by the start that follows from the place reported here.
        if let Some(wanted) = self
            .theirs
            .open
            .get_mut(&id)
            .and_then(|request| request.about.wanted())
        {
            wanted.accepted(largest);
        }
        self.release_joining(id);
        Ok(())
    }

    pub(super) fn on_subscribe_ok(&mut self, id: RequestId, ok: SubscribeOk) -> Result<(), PeerMisbehaved> {
        // An answer that crossed our UNSUBSCRIBE is no news, and its alias stays free.
        let Some(About::Subscription { track, .. }) =
            self.answered(id, RequestKind::Subscribe, Asked::Accept)?
        else {
            return Ok(());
        };
        self.aliases.register(ok.alias, id, &track)?;
        if let Some(wanted) = self
            .ours
            .open
            .get_mut(&id)
            .and_then(|request| request.about.wanted())
        {
            wanted.accepted(ok.largest);
        }
        self.tell(Event::SubscribeOk(id, ok));
        Ok(())
    }

    pub(super) fn update_subscription(&mut self, update: SubscribeUpdate) -> Result<(), CommandError> {
        let id = update.subscription;
        let Some(mut wanted) = self.our_subscription(id).map(|wanted| *wanted) else {
            return Err(CommandError::NoSuchRequest(id));
        };
        // MOQT-14 §9.10 [D14-VAL-9]: the publisher may know the start of a relative filter already, and would close
        // the session for one that lies before it.
        if !wanted.is_known() {
            return Err(CommandError::NotAllowed(
                "the start is not known before the answer",
            ));
        }
        wanted.update(&update).map_err(CommandError::NotAllowed)?;
        self.place(Some(id), |id| ControlMessage::SubscribeUpdate(id, update))?;
        if let Some(known) = self.our_subscription(id) {
            *known = wanted;
        }
        Ok(())
    }

    /// First place and last group of a subscription that we have: what an update says that leaves them as they are.
    /// None when it is over, or not accepted yet and so without a known start.
    pub fn subscription_range(&mut self, id: RequestId) -> Option<(Location, Option<GroupId>)> {
        self.our_subscription(id)?.range()
    }

    /// The range of a subscription that we have and may still change.
    /// The request that brings this track to us, if there is one: our SUBSCRIBE, or the peer's PUBLISH.
    #[must_use]
    pub fn request_for(&self, track: &FullTrackName) -> Option<RequestId> {
        self.ours.tracks.get(track).copied()
    }

    /// Whether the peer is subscribed to this track here, or asks to be.
    #[must_use]
    pub fn is_read_by_peer(&self, track: &FullTrackName) -> bool {
        self.theirs.tracks.contains_key(track)
    }

    pub(super) fn our_subscription(&mut self, id: RequestId) -> Option<&mut Wanted> {
        if belongs_to(self.role, id) {
            let request = self.ours.open.get_mut(&id)?;
            let open = matches!(request.state, Asking::Unanswered | Asking::Open);
            let ours = request.about.kind() == RequestKind::Subscribe;
            return request.about.wanted().filter(|_| open && ours);
        }
        let request = self.theirs.open.get_mut(&id)?;
        let open = request.state == Answering::Open;
        let ours = request.about.kind() == RequestKind::Publish;
        request.about.wanted().filter(|_| open && ours)
    }

    pub(super) fn on_subscribe_update(
        &mut self,
        id: RequestId,
        mut update: SubscribeUpdate,
    ) -> Result<(), PeerMisbehaved> {
        // MOQT-14 §9.1 [D14-REQ-1]: an update uses up an id though nothing answers it [D14-SUB-17].
        self.grant.admit(id)?;
        self.grant.finish();
        self.check_tokens(&mut update.params)?;
        let subscription = update.subscription;
        let about = if belongs_to(self.role, subscription) {
            // The subscriber of our PUBLISH changes it.
            self.check_our_id(subscription)?;
            let request = self.ours.open.get_mut(&subscription);
            let open = request.filter(|request| matches!(request.state, Asking::Unanswered | Asking::Open));
            open.map(|request| (&mut request.about, RequestKind::Publish))
        } else {
            self.check_their_id(subscription)?;
            let request = self.theirs.open.get_mut(&subscription);
            let open = request.filter(|request| request.state != Answering::Finished);
            open.map(|request| (&mut request.about, RequestKind::Subscribe))
        };
        // MOQT-14 §9.10 [D14-VAL-9]: the id must have existed in the session; one that is over may cross its end.
        let Some((about, kind)) = about else {
            return Ok(());
        };
        let is = about.kind();
        match about.wanted() {
            Some(wanted) if is == kind => {
                wanted
                    .update(&update)
                    .map_err(|what| PeerMisbehaved::violation(what, "MOQT-14 §9.10"))?;
                wanted.keep_params(&mut update.params);
            }
            // MOQT-14 §9.10 [D14-FETCH-19]: the priority of a fetch, for one, cannot be changed.
            _ => return Err(wrong_kind(subscription, kind, is)),
        }
        self.tell(Event::PeerSubscribeUpdate(subscription, update));
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, id: RequestId) -> Result<(), CommandError> {
        if self.our_subscription(id).is_none() {
            return Err(CommandError::NoSuchRequest(id));
        }
        self.follow_up(id, &ControlMessage::Unsubscribe(id))?;
        if belongs_to(self.role, id) {
            self.withdraw_ours(id);
        } else {
            self.move_theirs(id, Answer::End);
        }
        Ok(())
    }

    pub(super) fn on_unsubscribe(&mut self, id: RequestId) -> Result<(), PeerMisbehaved> {
        if belongs_to(self.role, id) {
            return self.on_unsubscribe_from_publication(id);
        }
        self.check_their_id(id)?;
        // One that is over may cross our PUBLISH_DONE or SUBSCRIBE_ERROR, and some peers always send it.
        let Some(request) = self
            .theirs
            .open
            .get(&id)
            .filter(|request| request.state != Answering::Finished)
        else {
            return Ok(());
        };
        if request.about.kind() != RequestKind::Subscribe {
            return Err(wrong_kind(id, RequestKind::Subscribe, request.about.kind()));
        }
        self.withdraw_theirs(id);
        self.tell(Event::PeerUnsubscribe(id));
        Ok(())
    }

    /// The subscriber of our PUBLISH leaves, perhaps before it answered it.
    fn on_unsubscribe_from_publication(&mut self, id: RequestId) -> Result<(), PeerMisbehaved> {
        self.check_our_id(id)?;
        let request = self.ours.open.get(&id);
        let Some(request) = request.filter(|request| request.state != Asking::Withdrawn) else {
            return Ok(());
        };
        if request.about.kind() != RequestKind::Publish {
            return Err(wrong_kind(id, RequestKind::Publish, request.about.kind()));
        }
        self.withdraw_ours(id);
        self.tell(Event::PeerUnsubscribe(id));
        Ok(())
    }

    // TRACK_STATUS has the fields of SUBSCRIBE and leaves nothing behind. MOQT-14 §9.20 [D14-SUB-28].

    pub(super) fn track_status(&mut self, subscribe: Subscribe) -> Result<RequestId, CommandError> {
        let id = self.request(|id| ControlMessage::TrackStatus(id, subscribe))?;
        self.ours.insert(id, About::TrackStatus);
        Ok(id)
    }

    pub(super) fn on_track_status(
        &mut self,
        id: RequestId,
        mut subscribe: Subscribe,
    ) -> Result<(), PeerMisbehaved> {
        self.grant.admit(id)?;
        if self.refuses_tokens(id, RequestKind::TrackStatus, &mut subscribe.params)? {
            return Ok(());
        }
        // [D14-VAL-6], as for SUBSCRIBE.
        if is_inverted(subscribe.filter) {
            let reason = RequestErrorReason::InvalidRange;
            self.refuse(
                id,
                RequestKind::TrackStatus,
                reason,
                "the range ends before it starts",
            );
            return Ok(());
        }
        self.theirs.insert(id, About::TrackStatus);
        self.tell(Event::PeerTrackStatus(id, subscribe));
        Ok(())
    }

    pub(super) fn accept_track_status(&mut self, id: RequestId, ok: SubscribeOk) -> Result<(), CommandError> {
        let About::TrackStatus = self.answerable(id, Answer::Accept)? else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.send(&ControlMessage::TrackStatusOk(id, ok))?;
        self.move_theirs(id, Answer::Accept);
        self.move_theirs(id, Answer::End);
        Ok(())
    }

    pub(super) fn on_track_status_ok(
        &mut self,
        id: RequestId,
        ok: SubscribeOk,
    ) -> Result<(), PeerMisbehaved> {
        // MOQT-14 §9.21 [D14-VAL-14]: the alias in it stands for nothing.
        if self
            .answered(id, RequestKind::TrackStatus, Asked::Accept)?
            .is_some()
        {
            self.end_ours(id);
            self.tell(Event::TrackStatusOk(id, ok));
        }
        Ok(())
    }
}

//! Open requests of both sides: what they are about, and how far their conversation has come.

use super::Session;
use super::breach::PeerMisbehaved;
use super::credit::belongs_to;
use super::io::CommandError;
use super::joining::Join;
use super::range::Wanted;
use crate::moqt::error::CloseCode;
use crate::moqt::location::Location;
use crate::moqt::message::{ControlMessage, RequestError, RequestErrorReason, RequestId, RequestKind};
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::state::transitions;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most requests that we withdrew unanswered and whose answer is still waited for. A publisher may drop a request
/// that was withdrawn without answering (MOQT-14 §5.1), so their number needs a bound of its own.
const MAX_WITHDRAWN: usize = 1024;

transitions! {
    /// A request of ours.
    pub(super) machine Asking moved by Asked;
    states {
        /// Made, not answered.
        Unanswered,
        /// Accepted.
        Open,
        /// Over before it was answered; the answer is still news.
        Owed,
        /// We gave it up before it was answered; the answer is no news.
        Withdrawn,
        /// Over.
        Finished,
    }
    moves {
        /// The peer answers with OK.
        Accept: Unanswered => Open, Owed => Finished, Withdrawn => Finished;
        /// The peer answers with an error.
        Refuse: Unanswered => Finished, Owed => Finished, Withdrawn => Finished;
        /// It reached its end.
        End: Unanswered => Owed, Open => Finished;
        /// We give it up.
        Withdraw: Unanswered => Withdrawn, Owed => Withdrawn, Open => Finished;
    }
}

transitions! {
    /// A request of the peer.
    pub(super) machine Answering moved by Answer;
    states {
        /// Not answered yet.
        Unanswered,
        /// Accepted.
        Open,
        /// Over before it was answered, and still to be answered.
        Owing,
        /// Over.
        Finished,
    }
    moves {
        /// We answer with OK.
        Accept: Unanswered => Open, Owing => Finished;
        /// We answer with an error.
        Refuse: Unanswered => Finished, Owing => Finished;
        /// It reached its end.
        End: Unanswered => Owing, Open => Finished;
        /// The peer gives it up.
        Withdraw: Unanswered => Finished, Owing => Finished, Open => Finished;
    }
}

/// What a request is about, as far as later messages are checked against it.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// SUBSCRIBE.
    Subscription { track: FullTrackName, wanted: Wanted },
    /// PUBLISH.
    Publication { track: FullTrackName, wanted: Wanted },
    /// FETCH.
    Fetch {
        /// The first place, once it is known.
        start: Option<Location>,
        /// What it joins, as long as the first place is not known. One of the peer is held and told to nobody then.
        joins: Option<(RequestId, Join)>,
    },
    /// TRACK_STATUS.
    TrackStatus,
    /// PUBLISH_NAMESPACE.
    Announcement(TrackNamespace),
    /// SUBSCRIBE_NAMESPACE.
    Watch(TrackNamespace),
}

impl About {
    pub(super) const fn kind(&self) -> RequestKind {
        match self {
            Self::Subscription { .. } => RequestKind::Subscribe,
            Self::Publication { .. } => RequestKind::Publish,
            Self::Fetch { .. } => RequestKind::Fetch,
            Self::TrackStatus => RequestKind::TrackStatus,
            Self::Announcement(_) => RequestKind::PublishNamespace,
            Self::Watch(_) => RequestKind::SubscribeNamespace,
        }
    }

    /// The range of a subscription, however it came about.
    pub(super) const fn wanted(&mut self) -> Option<&mut Wanted> {
        match self {
            Self::Subscription { wanted, .. } | Self::Publication { wanted, .. } => Some(wanted),
            Self::Fetch { .. } | Self::TrackStatus | Self::Announcement(_) | Self::Watch(_) => None,
        }
    }
}

/// One open request.
#[derive(Debug)]
pub(super) struct Request<S> {
    pub(super) state: S,
    pub(super) about: About,
}

/// The requests that one side made, and the names by which draft 14 finds them again.
#[derive(Debug)]
pub(super) struct Side<S> {
    pub(super) open: BTreeMap<RequestId, Request<S>>,
    // [D14-LIM-5]: the peer chooses these names, so they are hashed with a key that it does not know.
    /// Subscriptions that this side *has*: by its SUBSCRIBE, or by the other side's PUBLISH once it is accepted.
    pub(super) tracks: HashMap<FullTrackName, RequestId>,
    pub(super) announced: HashMap<TrackNamespace, RequestId>,
    /// Sorted, so that an overlapping prefix is a neighbour. Holds no two overlapping prefixes.
    pub(super) watched: BTreeMap<TrackNamespace, RequestId>,
}

impl<S: Default> Side<S> {
    pub(super) fn new() -> Self {
        Self {
            open: BTreeMap::new(),
            tracks: HashMap::new(),
            announced: HashMap::new(),
            watched: BTreeMap::new(),
        }
    }

    pub(super) fn insert(&mut self, id: RequestId, about: About) {
        let state = S::default();
        self.open.insert(id, Request { state, about });
    }

    /// A name that this side gave to `id` is free again.
    pub(super) fn release_names(&mut self, id: RequestId, about: &About) {
        match about {
            About::Subscription { track, .. } => remove_if(&mut self.tracks, track, id),
            About::Announcement(namespace) => remove_if(&mut self.announced, namespace, id),
            About::Watch(prefix) => {
                if self.watched.get(prefix) == Some(&id) {
                    self.watched.remove(prefix);
                }
            }
            About::Publication { .. } | About::Fetch { .. } | About::TrackStatus => {}
        }
    }

    /// The subscription of this side to `track` is over, when it is the one of `id`.
    pub(super) fn release_track(&mut self, id: RequestId, track: &FullTrackName) {
        remove_if(&mut self.tracks, track, id);
    }
}

/// Requests of ours that were withdrawn unanswered.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    ids: BTreeSet<RequestId>,
    /// Answers to requests up to this id may belong to withdrawn ones that were dropped to stay within the bound.
    forgotten: Option<RequestId>,
}

impl Session {
    /// The answer to a request of ours came. Gives what the request was about when the answer is news.
    pub(super) fn answered(
        &mut self,
        id: RequestId,
        kind: RequestKind,
        by: Asked,
    ) -> Result<Option<About>, PeerMisbehaved> {
        self.check_our_id(id)?;
        let Some(request) = self.ours.open.get_mut(&id) else {
            if self.withdrawn.forgotten.is_some_and(|forgotten| id <= forgotten) {
                return Ok(None);
            }
            // MOQT-14 §5.1, §6.1, §6.2 [D14-REQ-8]: one answer for each request.
            return Err(PeerMisbehaved::violation(
                format!("second answer to request {id}"),
                "MOQT-14 §5.1",
            ));
        };
        if request.about.kind() != kind {
            return Err(wrong_kind(id, kind, request.about.kind()));
        }
        let withdrawn = request.state == Asking::Withdrawn;
        if request.state.apply(by).is_err() {
            return Err(PeerMisbehaved::violation(
                format!("second answer to request {id}"),
                "MOQT-14 §5.1",
            ));
        }
        let about = request.about.clone();
        if request.state == Asking::Finished {
            self.drop_ours(id);
        }
        Ok((!withdrawn).then_some(about))
    }

    /// Checks that an id in a message of the peer is one of a request that we sent. MOQT-14 §9.1 [D14-REQ-7].
    pub(super) fn check_our_id(&self, id: RequestId) -> Result<(), PeerMisbehaved> {
        if !belongs_to(self.role, id) {
            return Err(PeerMisbehaved::new(
                CloseCode::InvalidRequestId,
                format!("request id {id} is not one of ours"),
                "MOQT-14 §9.1",
            ));
        }
        if !self.credit.has_sent(id) {
            return Err(PeerMisbehaved::violation(
                format!("request {id} was never made"),
                "MOQT-14 §9.1",
            ));
        }
        Ok(())
    }

    /// Checks that an id in a message of the peer is one that it used for a request. MOQT-14 §9.1 [D14-REQ-7].
    pub(super) fn check_their_id(&self, id: RequestId) -> Result<(), PeerMisbehaved> {
        if belongs_to(self.role, id) {
            return Err(PeerMisbehaved::new(
                CloseCode::InvalidRequestId,
                format!("request id {id} is not one of the peer's"),
                "MOQT-14 §9.1",
            ));
        }
        if !self.grant.has_seen(id) {
            return Err(PeerMisbehaved::violation(
                format!("request {id} was never made"),
                "MOQT-14 §9.1",
            ));
        }
        Ok(())
    }

    /// We give a request of ours up; the message that says so is sent already.
    pub(super) fn withdraw_ours(&mut self, id: RequestId) {
        let Some(request) = self.ours.open.get_mut(&id) else {
            return;
        };
        if request.state.apply(Asked::Withdraw).is_err() {
            return;
        }
        if request.state == Asking::Finished {
            self.drop_ours(id);
            return;
        }
        let about = request.about.clone();
        self.release_ours(id, &about);
        self.withdrawn.ids.insert(id);
        while self.withdrawn.ids.len() > MAX_WITHDRAWN {
            let Some(oldest) = self.withdrawn.ids.pop_first() else {
                break;
            };
            self.ours.open.remove(&oldest);
            self.withdrawn.forgotten = self.withdrawn.forgotten.max(Some(oldest));
        }
    }

    /// A request of ours came to its end by itself.
    pub(super) fn end_ours(&mut self, id: RequestId) {
        let Some(request) = self.ours.open.get_mut(&id) else {
            return;
        };
        if request.state.apply(Asked::End).is_ok() && request.state == Asking::Finished {
            self.drop_ours(id);
        }
    }

    fn drop_ours(&mut self, id: RequestId) {
        self.withdrawn.ids.remove(&id);
        self.aliases.retire(id);
        if let Some(request) = self.ours.open.remove(&id) {
            self.release_ours(id, &request.about);
        }
    }

    fn release_ours(&mut self, id: RequestId, about: &About) {
        self.ours.release_names(id, about);
        if let About::Publication { track, .. } = about {
            // The peer had this subscription.
            self.theirs.release_track(id, track);
        }
    }

    /// Moves a request of the peer; forgets it when it is over. Does nothing for one that is not open for it.
    pub(super) fn move_theirs(&mut self, id: RequestId, by: Answer) {
        let Some(request) = self.theirs.open.get_mut(&id) else {
            return;
        };
        if request.state.apply(by).is_err() || request.state != Answering::Finished {
            return;
        }
        let about = request.about.clone();
        self.theirs.release_names(id, &about);
        if matches!(about, About::Subscription { .. }) {
            self.theirs.open.remove(&id);
            self.grant.finish();
            // [D14-FETCH-14]: what was to join it has nothing to join.
            self.release_joining(id);
            return;
        }
        if let About::Publication { track, .. } = &about {
            // We had this subscription.
            self.ours.release_track(id, track);
            self.aliases.retire(id);
            if self.aliases.holds(id) {
                // It counts against the peer's window until its alias is forgotten, so that aliases are bounded.
                return;
            }
        }
        self.theirs.open.remove(&id);
        self.grant.finish();
    }

    /// What a request of the peer is about, when a command may make this move.
    pub(super) fn answerable(&self, id: RequestId, by: Answer) -> Result<About, CommandError> {
        let request = self.theirs.open.get(&id).ok_or(CommandError::NoSuchRequest(id))?;
        if let About::Fetch { joins: Some(_), .. } = request.about {
            return Err(CommandError::NoSuchRequest(id));
        }
        match request.state.after(by) {
            Ok(_) => Ok(request.about.clone()),
            Err(_) => Err(CommandError::NoSuchRequest(id)),
        }
    }

    /// Refuses a request of the peer that is not in the table, without asking anybody.
    pub(super) fn refuse(
        &mut self,
        id: RequestId,
        kind: RequestKind,
        reason: RequestErrorReason,
        phrase: &'static str,
    ) {
        self.say(&ControlMessage::RequestError(
            id,
            kind,
            RequestError::new(reason, phrase),
        ));
        self.grant.finish();
    }

    /// The peer gives up a request. One that was not answered yet gets its one answer now, since the draft knows no
    /// request without (MOQT-14 §5.1, §6.1, §6.2 [D14-REQ-8]).
    pub(super) fn withdraw_theirs(&mut self, id: RequestId) {
        let Some(request) = self.theirs.open.get(&id) else {
            return;
        };
        if matches!(request.state, Answering::Unanswered | Answering::Owing) {
            let error = RequestError::new(
                RequestErrorReason::InternalError,
                "withdrawn before it was answered",
            );
            self.say(&ControlMessage::RequestError(id, request.about.kind(), error));
        }
        self.move_theirs(id, Answer::Withdraw);
    }

    /// Refuses a request of the peer, of whatever kind.
    pub(super) fn reject(&mut self, id: RequestId, error: RequestError) -> Result<(), CommandError> {
        let about = self.answerable(id, Answer::Refuse)?;
        self.send(&ControlMessage::RequestError(id, about.kind(), error))?;
        // MOQT-14 §5.1 [D14-REQ-9]: nothing may come for a refused PUBLISH; its alias is as good as unknown.
        self.aliases.forget(id);
        self.move_theirs(id, Answer::Refuse);
        Ok(())
    }

    /// An error answered a request of ours.
    pub(super) fn on_request_error(
        &mut self,
        id: RequestId,
        kind: RequestKind,
        error: RequestError,
    ) -> Result<(), PeerMisbehaved> {
        // [D14-TERM-9]: the reason may be one that the draft does not define; it ends the request all the same.
        if self.answered(id, kind, Asked::Refuse)?.is_some() {
            self.tell(super::Event::Rejected(id, kind, error));
        }
        Ok(())
    }
}

/// A message names a request of a kind that it cannot be about. MOQT-14 §9.1 [D14-REQ-7].
pub(super) fn wrong_kind(id: RequestId, said: RequestKind, is: RequestKind) -> PeerMisbehaved {
    PeerMisbehaved::violation(
        format!("request {id} is a {is:?}, not a {said:?}"),
        "MOQT-14 §9.1",
    )
}

fn remove_if<K: std::hash::Hash + Eq>(names: &mut HashMap<K, RequestId>, name: &K, id: RequestId) {
    if names.get(name) == Some(&id) {
        names.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-LIM-5: what collides in one session does not in the next.
    #[test]
    fn names_are_hashed_with_a_key_of_their_own() {
        use std::hash::BuildHasher;
        let namespace = TrackNamespace::new([bytes::Bytes::from_static(b"live")]).unwrap();
        let track = FullTrackName::new(namespace.clone(), bytes::Bytes::from_static(b"video")).unwrap();
        let (one, other) = (Side::<Asking>::new(), Side::<Asking>::new());
        let tracks = |side: &Side<Asking>| side.tracks.hasher().hash_one(&track);
        let announced = |side: &Side<Asking>| side.announced.hasher().hash_one(&namespace);
        assert_ne!(tracks(&one), tracks(&other));
        assert_ne!(announced(&one), announced(&other));
    }

    /// D14-REQ-8
    #[test]
    fn a_request_of_ours_moves_as_drawn() {
        assert_eq!(
            Asking::dot(),
            "digraph Asking {\n  start -> Unanswered\n  Unanswered -> Open [Accept]\n  Owed -> Finished [Accept]\n  \
             Withdrawn -> Finished [Accept]\n  Unanswered -> Finished [Refuse]\n  Owed -> Finished [Refuse]\n  \
             Withdrawn -> Finished [Refuse]\n  Unanswered -> Owed [End]\n  Open -> Finished [End]\n  \
             Unanswered -> Withdrawn [Withdraw]\n  Owed -> Withdrawn [Withdraw]\n  Open -> Finished [Withdraw]\n}\n"
        );
    }

    /// D14-REQ-8
    #[test]
    fn a_request_of_the_peer_moves_as_drawn() {
        assert_eq!(
            Answering::dot(),
            "digraph Answering {\n  start -> Unanswered\n  Unanswered -> Open [Accept]\n  \
             Owing -> Finished [Accept]\n  Unanswered -> Finished [Refuse]\n  Owing -> Finished [Refuse]\n  \
             Unanswered -> Owing [End]\n  Open -> Finished [End]\n  Unanswered -> Finished [Withdraw]\n  \
             Owing -> Finished [Withdraw]\n  Open -> Finished [Withdraw]\n}\n"
        );
    }
}

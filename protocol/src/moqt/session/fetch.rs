//! Fetches: one request, one answer, one data stream, whose end the caller reports. MOQT-14 §9.16 to §9.19.

use super::Session;
use super::breach::PeerMisbehaved;
use super::credit::belongs_to;
use super::io::{CommandError, Event};
use super::requests::{About, Answer, Answering, Asked, wrong_kind};
use crate::moqt::location::Location;
use crate::moqt::message::{
    ControlMessage, Fetch, FetchOk, FetchRange, FilterType, RequestErrorReason, RequestId, RequestKind,
    SubscribeFilter,
};

/// What a FETCH gets without asking anybody.
type Refusal = (RequestErrorReason, &'static str);

impl Session {
    pub(super) fn fetch(&mut self, fetch: Fetch) -> Result<RequestId, CommandError> {
        let start = match &fetch.range {
            FetchRange::Standalone { start, end, .. } => {
                if is_inverted(*start, *end) {
                    return Err(CommandError::NotAllowed("the range ends before it starts"));
                }
                Some(*start)
            }
            FetchRange::RelativeJoining { .. } | FetchRange::AbsoluteJoining { .. } => None,
        };
        let id = self.request(|id| ControlMessage::Fetch(id, fetch))?;
        self.ours.insert(id, About::Fetch { start });
        Ok(id)
    }

    pub(super) fn on_fetch(&mut self, id: RequestId, fetch: Fetch) -> Result<(), PeerMisbehaved> {
        self.grant.admit(id)?;
        if let Some((reason, phrase)) = self.refusal(&fetch.range)? {
            self.refuse(id, RequestKind::Fetch, reason, phrase);
            return Ok(());
        }
        self.theirs.insert(id, About::Fetch { start: None });
        self.tell(Event::PeerFetch(id, fetch));
        Ok(())
    }

    fn refusal(&self, range: &FetchRange) -> Result<Option<Refusal>, PeerMisbehaved> {
        let subscription = match range {
            FetchRange::Standalone { start, end, .. } => {
                // MOQT-14 §9.16.3 [D14-VAL-8].
                let refusal = (
                    RequestErrorReason::InvalidRange,
                    "the range ends before it starts",
                );
                return Ok(is_inverted(*start, *end).then_some(refusal));
            }
            FetchRange::RelativeJoining { subscription, .. }
            | FetchRange::AbsoluteJoining { subscription, .. } => subscription,
        };
        // MOQT-14 §9.16.2 [D14-FETCH-11]: a SUBSCRIBE of this session that is not over.
        let request = self.theirs.open.get(subscription);
        let Some((state, About::Subscription { wanted, .. })) =
            request.map(|request| (request.state, &request.about))
        else {
            let refusal = (
                RequestErrorReason::InvalidJoiningRequestId,
                "no such subscription",
            );
            return Ok(Some(refusal));
        };
        // MOQT-14 §9.16.2 [D14-FETCH-11]: only the filter Largest Object can be joined.
        if wanted.filter().map(|filter| SubscribeFilter::kind(&filter)) != Some(FilterType::LargestObject) {
            return Err(PeerMisbehaved::violation(
                "joining FETCH of a subscription with another filter than Largest Object",
                "MOQT-14 §9.16.2",
            ));
        }
        // MOQT-14 §9.16.2 [D14-FETCH-11]: the subscription was told that there is nothing yet.
        let empty = state == Answering::Open && wanted.largest().is_none();
        Ok(empty.then_some((RequestErrorReason::InvalidRange, "the track had no objects")))
    }

    pub(super) fn accept_fetch(&mut self, id: RequestId, ok: FetchOk) -> Result<(), CommandError> {
        let About::Fetch { .. } = self.answerable(id, Answer::Accept)? else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.send(&ControlMessage::FetchOk(id, ok))?;
        self.move_theirs(id, Answer::Accept);
        Ok(())
    }

    pub(super) fn on_fetch_ok(&mut self, id: RequestId, ok: FetchOk) -> Result<(), PeerMisbehaved> {
        let Some(About::Fetch { start }) = self.answered(id, RequestKind::Fetch, Asked::Accept)? else {
            return Ok(());
        };
        // MOQT-14 §9.17 [D14-VAL-12].
        if start.is_some_and(|start| is_inverted(start, ok.end)) {
            return Err(PeerMisbehaved::violation(
                "FETCH_OK ends before the range starts",
                "MOQT-14 §9.17",
            ));
        }
        self.tell(Event::FetchOk(id, ok));
        Ok(())
    }

    pub(super) fn fetch_cancel(&mut self, id: RequestId) -> Result<(), CommandError> {
        let Some(About::Fetch { .. }) = self.our_live_request(id) else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.follow_up(id, &ControlMessage::FetchCancel(id))?;
        self.withdraw_ours(id);
        Ok(())
    }

    pub(super) fn on_fetch_cancel(&mut self, id: RequestId) -> Result<(), PeerMisbehaved> {
        self.check_their_id(id)?;
        // MOQT-14 §5.1 [D14-FETCH-16]: it may cross the end of the fetch.
        let Some(request) = self.theirs.open.get(&id) else {
            return Ok(());
        };
        if request.about.kind() != RequestKind::Fetch {
            return Err(wrong_kind(id, RequestKind::Fetch, request.about.kind()));
        }
        self.withdraw_theirs(id);
        self.tell(Event::PeerFetchCancel(id));
        Ok(())
    }

    /// The data stream of a fetch, ours or the peer's, has ended. MOQT-14 §5.1 [D14-FETCH-16].
    pub(super) fn fetch_done(&mut self, id: RequestId) -> Result<(), CommandError> {
        if belongs_to(self.role, id) {
            let Some(About::Fetch { .. }) = self.our_live_request(id) else {
                return Err(CommandError::NoSuchRequest(id));
            };
            self.end_ours(id);
            return Ok(());
        }
        let About::Fetch { .. } = self.answerable(id, Answer::End)? else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.move_theirs(id, Answer::End);
        Ok(())
    }
}

/// Whether an end, as it stands on the wire, lies before a start.
///
/// MOQT-14 §9.16.1 [D14-FETCH-3]: object 0 of the end stands for its whole group.
fn is_inverted(start: Location, end: Location) -> bool {
    end.group < start.group || (end.group == start.group && end.object != 0 && end.object < start.object)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-VAL-8
    #[test]
    fn an_end_with_object_0_is_the_whole_group() {
        let cases = [
            ((3, 4), (3, 0), false),
            ((3, 4), (3, 5), false),
            ((3, 4), (3, 3), true),
            ((3, 0), (2, 0), true),
            ((3, 9), (4, 1), false),
        ];
        for (start, end, inverted) in cases {
            let (start, end) = (Location::new(start.0, start.1), Location::new(end.0, end.1));
            assert_eq!(is_inverted(start, end), inverted, "{start} {end}");
        }
    }
}

//! Fetches: one request, one answer, one data stream, whose end the caller reports. MOQT-14 §9.16 to §9.19.

use super::Session;
use super::breach::PeerMisbehaved;
use super::credit::belongs_to;
use super::io::{CommandError, Event, PeerFetch};
use super::joining::{Join, Joined};
use super::requests::{About, Answer, Asked, wrong_kind};
use crate::moqt::location::Location;
use crate::moqt::message::{
    ControlMessage, Fetch, FetchOk, FetchRange, FilterType, RequestErrorReason, RequestId, RequestKind,
};

impl Session {
    pub(super) fn fetch(&mut self, fetch: Fetch) -> Result<RequestId, CommandError> {
        let about = match &fetch.range {
            FetchRange::Standalone { start, end, .. } => {
                if is_inverted(*start, *end) {
                    return Err(CommandError::NotAllowed("the range ends before it starts"));
                }
                About::Fetch {
                    start: Some(*start),
                    joins: None,
                }
            }
            FetchRange::RelativeJoining { subscription, .. }
            | FetchRange::AbsoluteJoining { subscription, .. } => {
                // MOQT-14 §9.16.2 [D14-FETCH-11]: the peer would close the session for another filter.
                let wanted = self.our_subscription(*subscription);
                let Some(filter) = wanted.and_then(|wanted| wanted.filter()) else {
                    return Err(CommandError::NoSuchRequest(*subscription));
                };
                if filter.kind() != FilterType::LargestObject {
                    return Err(CommandError::NotAllowed(
                        "only a subscription with the filter Largest Object can be joined",
                    ));
                }
                About::Fetch {
                    start: None,
                    joins: Join::of(&fetch.range),
                }
            }
        };
        let id = self.request(|id| ControlMessage::Fetch(id, fetch))?;
        self.ours.insert(id, about);
        Ok(id)
    }

    pub(super) fn on_fetch(&mut self, id: RequestId, mut fetch: Fetch) -> Result<(), PeerMisbehaved> {
        self.grant.admit(id)?;
        if self.refuses_tokens(id, RequestKind::Fetch, &mut fetch.params)? {
            return Ok(());
        }
        let Fetch {
            priority,
            group_order,
            range,
            params,
        } = fetch;
        let (joined, joins) = match range {
            // MOQT-14 §9.16.3 [D14-VAL-8].
            FetchRange::Standalone { start, end, .. } if is_inverted(start, end) => {
                let phrase = "the range ends before it starts";
                (Joined::Refused(RequestErrorReason::InvalidRange, phrase), None)
            }
            FetchRange::Standalone { track, start, end } => (Joined::Resolved { track, start, end }, None),
            FetchRange::RelativeJoining { .. } | FetchRange::AbsoluteJoining { .. } => {
                let joins = Join::of(&range);
                let joined = joins.map(|(subscription, join)| self.join(subscription, join));
                (joined.unwrap_or(Joined::Forbidden), joins)
            }
        };
        match (joined, joins) {
            (Joined::Resolved { track, start, end }, joins) => {
                let about = About::Fetch {
                    start: Some(start),
                    joins: None,
                };
                self.theirs.insert(id, about);
                let fetch = PeerFetch {
                    track,
                    start,
                    end,
                    joining: joins.is_some(),
                    priority,
                    group_order,
                    params,
                };
                self.tell(Event::PeerFetch(id, fetch));
            }
            (Joined::Refused(reason, phrase), _) => self.refuse(id, RequestKind::Fetch, reason, phrase),
            (Joined::Undecided, Some((subscription, join))) => {
                if self.hold(subscription, id, join, (priority, group_order, params)) {
                    self.theirs.insert(id, About::Fetch { start: None, joins });
                } else {
                    let reason = RequestErrorReason::InternalError;
                    self.refuse(
                        id,
                        RequestKind::Fetch,
                        reason,
                        "too many tokens wait for an answer",
                    );
                }
            }
            (Joined::Forbidden | Joined::Undecided, _) => {
                return Err(PeerMisbehaved::violation(
                    "joining FETCH of a subscription with another filter than Largest Object",
                    "MOQT-14 §9.16.2",
                ));
            }
        }
        Ok(())
    }

    pub(super) fn accept_fetch(&mut self, id: RequestId, ok: FetchOk) -> Result<(), CommandError> {
        let About::Fetch { start, .. } = self.answerable(id, Answer::Accept)? else {
            return Err(CommandError::NoSuchRequest(id));
        };
        // MOQT-14 §9.17 [D14-VAL-12]: the peer would close the session.
        if start.is_some_and(|start| is_inverted(start, ok.end)) {
            return Err(CommandError::NotAllowed("FETCH_OK ends before the range starts"));
        }
        self.send(&ControlMessage::FetchOk(id, ok))?;
        self.move_theirs(id, Answer::Accept);
        Ok(())
    }

    pub(super) fn on_fetch_ok(&mut self, id: RequestId, ok: FetchOk) -> Result<(), PeerMisbehaved> {
        let Some(About::Fetch { start, joins }) = self.answered(id, RequestKind::Fetch, Asked::Accept)?
        else {
            return Ok(());
        };
        // What a joining fetch asked for is known once its subscription was accepted.
        let start = start.or_else(|| {
            let (subscription, join) = joins?;
            let largest = self.our_subscription(subscription)?.largest()?;
            Some(join.start(largest))
        });
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
        let held = if let About::Fetch { joins, .. } = request.about {
            joins
        } else {
            None
        };
        self.withdraw_theirs(id);
        match held {
            // [D14-FETCH-14]: nobody heard of it yet.
            Some((subscription, _)) => self.joining.forget(subscription, id),
            None => self.tell(Event::PeerFetchCancel(id)),
        }
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

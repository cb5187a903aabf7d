//! A FETCH of ours as the commands see it: objects, and then one end with its reason.

use super::client;
use crate::cli::last_of;
use crate::exit::Exit;
use laps_actors::client::{ClientError, FetchItem, Fetcher, ReceivedObject};
use laps_protocol::moqt::location::GroupId;
use laps_protocol::moqt::message::{FetchOk, RequestError, RequestErrorReason};
use laps_protocol::moqt::object::ObjectStatus;
use std::time::{Duration, Instant};

/// What comes of a FETCH.
#[derive(Debug)]
pub(super) enum PastItem {
    /// An object.
    Object(ReceivedObject),
    /// Nothing more.
    End(PastEnd),
}

/// How a FETCH ended. What came before stays true. MOQT-14 §5.1 [D14-FETCH-18]
#[derive(Debug)]
pub(super) enum PastEnd {
    /// All came that there is.
    Whole(FetchOk),
    /// The relay refused.
    Refused(RequestError),
    /// Its stream, or the session, was cut short.
    Cut(String),
    /// Nothing came for so long.
    Silent(Duration),
}

/// Reads a FETCH, and counts what it brings.
#[derive(Debug)]
pub(super) struct Past {
    fetcher: Fetcher,
    patience: Duration,
    /// When something came last, or was not waited for.
    heard: Instant,
    bytes: u64,
    accepted: Option<FetchOk>,
    tally: Tally,
}

/// How much came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Objects with a payload, be it empty.
    pub(super) objects: u64,
    groups: u64,
    bytes: u64,
    group: Option<GroupId>,
}

impl Past {
    /// Reads `fetcher`; gives up when nothing comes for as long as `patience`.
    pub(super) fn new(fetcher: Fetcher, patience: Duration) -> Self {
        Self {
            fetcher,
            patience,
            heard: Instant::now(),
            bytes: 0,
            accepted: None,
            tally: Tally::default(),
        }
    }

    /// What came so far.
    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    /// It is not read just now, so that it brings nothing is not its fault.
    pub(super) fn held_up(&mut self) {
        self.heard = Instant::now();
    }

    /// What comes next. May be dropped and called again. Nothing comes after an end.
    pub(super) async fn next(&mut self) -> PastItem {
        loop {
            let silent = tokio::time::sleep_until((self.heard + self.patience).into());
            let next = tokio::select! {
                biased;
                next = self.fetcher.next() => next,
                () = silent => {
                    let bytes = self.fetcher.bytes();
                    // A large object comes in pieces.
                    if std::mem::replace(&mut self.bytes, bytes) == bytes {
                        return PastItem::End(PastEnd::Silent(self.patience));
                    }
                    self.heard = Instant::now();
                    continue;
                }
            };
            self.heard = Instant::now();
            return match next {
                Ok(FetchItem::Accepted(ok)) => {
                    self.accepted = Some(ok);
                    continue;
                }
                Ok(FetchItem::Object(object)) => {
                    self.tally.add(&object);
                    PastItem::Object(object)
                }
                Ok(FetchItem::Done) => PastItem::End(match self.accepted.take() {
                    Some(ok) => PastEnd::Whole(ok),
                    None => PastEnd::Cut("it ended without an answer".to_owned()),
                }),
                Err(ClientError::Rejected(error)) => PastItem::End(PastEnd::Refused(error)),
                Err(ClientError::Closed(why)) => PastItem::End(PastEnd::Cut(why)),
                Err(error) => PastItem::End(PastEnd::Cut(error.to_string())),
            };
        }
    }
}

impl Tally {
    fn add(&mut self, object: &ReceivedObject) {
        if object.status != ObjectStatus::Normal {
            return;
        }
        self.objects += 1;
        self.bytes += object.len() as u64;
        // Groups come one after the other. MOQT-14 §9.16.3 [D14-FETCH-4]
        if self.group.replace(object.location.group) != Some(object.location.group) {
            self.groups += 1;
        }
    }

    /// The figures as a sentence; `end` is what the relay said of it.
    pub(super) fn text(&self, end: Option<&FetchOk>) -> String {
        let plural = |number: u64| if number == 1 { "" } else { "s" };
        let (objects, groups, bytes) = (self.objects, self.groups, self.bytes);
        let mut text = format!(
            "fetched {objects} object{} of {groups} group{}, {bytes} bytes",
            plural(objects),
            plural(groups)
        );
        if let Some(ok) = end {
            text.push_str(&format!("; up to {}", last_of(ok.end)));
            if ok.end_of_track {
                text.push_str(", the end of the track");
            }
        }
        text
    }
}

impl PastEnd {
    /// Why less came, with what to do about it; none when all came.
    pub(super) fn shortfall(&self) -> Option<(String, &'static str)> {
        let (reason, remedy) = match self {
            Self::Whole(_) => return None,
            Self::Cut(why) => (
                format!("cut short: {why}"),
                "ask again, for what is missing or for less",
            ),
            Self::Silent(patience) => (
                format!("nothing came for {} s", patience.as_secs_f64()),
                "wait longer with --timeout",
            ),
            Self::Refused(error) if client::is_overload(error) => {
                ("the relay is overloaded".to_owned(), client::LATER)
            }
            Self::Refused(error) => {
                let (reason, remedy) = refusal(error.reason);
                let phrase = String::from_utf8_lossy(&error.phrase);
                let reason = if phrase.is_empty() {
                    reason.to_owned()
                } else {
                    format!("{reason} (the relay: {phrase})")
                };
                (reason, remedy)
            }
        };
        Some((reason, remedy))
    }

    /// The relay has none of the objects, and that is an answer.
    pub(super) const fn is_nothing(&self) -> bool {
        matches!(
            self,
            Self::Refused(RequestError {
                reason: RequestErrorReason::InvalidRange | RequestErrorReason::NoObjects,
                ..
            })
        )
    }

    /// The exit code when less came: of `objects` so far, whatever the reason, some are missing.
    pub(super) const fn exit(&self, objects: u64) -> Exit {
        match self {
            Self::Whole(_) => Exit::Ok,
            Self::Refused(error) if objects == 0 && !is_about_objects(error.reason) => Exit::Failure,
            Self::Refused(_) | Self::Cut(_) | Self::Silent(_) => Exit::Incomplete,
        }
    }
}

/// Whether a refusal says something of the objects, and not of who asks or who answers.
const fn is_about_objects(reason: RequestErrorReason) -> bool {
    matches!(
        reason,
        RequestErrorReason::TrackDoesNotExist
            | RequestErrorReason::InvalidRange
            | RequestErrorReason::NoObjects
            | RequestErrorReason::UnknownStatusInRange
            | RequestErrorReason::MalformedTrack
            | RequestErrorReason::Timeout
    )
}

/// A refusal as a person would say it, and what to do. MOQT-14 §9.18
const fn refusal(reason: RequestErrorReason) -> (&'static str, &'static str) {
    match reason {
        RequestErrorReason::TrackDoesNotExist => ("does not exist", "check the names, or start a publisher"),
        RequestErrorReason::InvalidRange => (
            "it has no object yet, or the range starts behind its largest one",
            "ask for an earlier range; `laps sub` waits for what comes",
        ),
        RequestErrorReason::NoObjects => ("no objects exist in the range", "ask for another range"),
        RequestErrorReason::UnknownStatusInRange => (
            "it is not known whether all objects of the range exist",
            "ask for less, or again later",
        ),
        RequestErrorReason::Timeout => ("its publisher did not answer in time", "ask again"),
        RequestErrorReason::MalformedTrack => ("its publisher breaks the rules for tracks", ""),
        RequestErrorReason::NotSupported => (
            "the relay does not serve FETCH",
            "subscribe with `laps sub` instead",
        ),
        RequestErrorReason::Unauthorized => ("the relay refused: unauthorized", client::PASS_TOKEN),
        RequestErrorReason::MalformedAuthToken => ("the relay refused: invalid token", client::OTHER_TOKEN),
        RequestErrorReason::ExpiredAuthToken => ("the relay refused: expired token", client::OTHER_TOKEN),
        // What is left is no answer to a FETCH of ours.
        RequestErrorReason::InternalError
        | RequestErrorReason::InvalidJoiningRequestId
        | RequestErrorReason::Uninterested
        | RequestErrorReason::NamespacePrefixUnknown
        | RequestErrorReason::NamespacePrefixOverlap
        | RequestErrorReason::Unknown(_)
        | _ => ("the relay failed", "ask again; its log may say more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use laps_protocol::moqt::location::Location;
    use laps_protocol::moqt::message::{GroupOrder, MessageParams};

    fn object(group: u64, status: ObjectStatus, payload: &'static [u8]) -> ReceivedObject {
        ReceivedObject {
            location: Location::new(group, 0),
            subgroup: Some(0),
            priority: 0,
            status,
            extensions: Bytes::new(),
            payload: vec![Bytes::from_static(payload)],
            at: Instant::now(),
        }
    }

    fn ok(end: Location, end_of_track: bool) -> FetchOk {
        FetchOk {
            group_order: GroupOrder::Ascending,
            end_of_track,
            end,
            params: MessageParams::default(),
        }
    }

    #[test]
    fn figures_are_a_sentence() {
        let mut tally = Tally::default();
        assert_eq!(tally.text(None), "fetched 0 objects of 0 groups, 0 bytes");
        tally.add(&object(3, ObjectStatus::Normal, b"abc"));
        let end = ok(Location::new(3, 0), false);
        assert_eq!(
            tally.text(Some(&end)),
            "fetched 1 object of 1 group, 3 bytes; up to the end of group 3"
        );
        tally.add(&object(3, ObjectStatus::Normal, b""));
        tally.add(&object(4, ObjectStatus::EndOfGroup, b""));
        tally.add(&object(5, ObjectStatus::Normal, b"d"));
        let end = ok(Location::new(5, 1), true);
        assert_eq!(
            tally.text(Some(&end)),
            "fetched 3 objects of 2 groups, 4 bytes; up to 5/0, the end of the track"
        );
    }

    /// D14-TERM-6
    #[test]
    fn every_refusal_has_a_reason_and_a_code() {
        use RequestErrorReason as Reason;
        for (reason, says, exit) in [
            (Reason::TrackDoesNotExist, "does not exist", Exit::Incomplete),
            (Reason::InvalidRange, "behind its largest", Exit::Incomplete),
            (Reason::NoObjects, "no objects exist", Exit::Incomplete),
            (Reason::UnknownStatusInRange, "not known", Exit::Incomplete),
            (Reason::Timeout, "in time", Exit::Incomplete),
            (Reason::MalformedTrack, "breaks the rules", Exit::Incomplete),
            (Reason::NotSupported, "does not serve FETCH", Exit::Failure),
            (Reason::Unauthorized, "refused: unauthorized", Exit::Failure),
            (Reason::InternalError, "the relay failed", Exit::Failure),
            (Reason::Unknown(99), "the relay failed", Exit::Failure),
        ] {
            let end = PastEnd::Refused(RequestError::new(reason, "words"));
            let (text, _) = end.shortfall().unwrap();
            assert!(
                text.contains(says) && text.ends_with("(the relay: words)"),
                "{text}"
            );
            assert_eq!((end.exit(0), end.exit(1)), (exit, Exit::Incomplete), "{reason:?}");
        }
        let silent = PastEnd::Silent(Duration::from_millis(1500));
        assert_eq!(silent.shortfall().unwrap().0, "nothing came for 1.5 s");
        assert_eq!(silent.exit(0), Exit::Incomplete);
        let whole = PastEnd::Whole(ok(Location::new(1, 0), false));
        assert!(whole.shortfall().is_none() && whole.exit(0) == Exit::Ok);
    }
}

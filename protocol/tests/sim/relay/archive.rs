//! The publisher's answers to FETCH: from everything it made, in every way that the draft allows and some that hurt.

use super::plan::{Manners, usize};
use super::world::{Timer, World};
use crate::common::C;
use bytes::BytesMut;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    FetchOk, GroupOrder, GroupOrderRequest, MessageParams, RequestError, RequestErrorReason, RequestId,
};
use laps_protocol::moqt::object::{FetchObjectHeader, ObjectStatus};
use laps_protocol::moqt::session::{Command, PeerFetch};
use laps_protocol::relay::track_log::PastRange;
use laps_protocol::sim::StreamId;
use std::collections::VecDeque;
use std::time::Duration;

/// One answer on its way.
#[derive(Debug)]
pub(crate) struct Archived {
    objects: VecDeque<Location>,
    ok: FetchOk,
    /// FETCH_OK is said when so many objects were written; at the latest after the last.
    ok_after: usize,
    said: bool,
    written: usize,
    rest: BytesMut,
    stream: Option<StreamId>,
    fate: Fate,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    /// These happen when so many objects were written.
    Silence(usize),
    Reset(usize),
    Refused(usize, RequestErrorReason),
}

impl World {
    /// What stands at `at`, as it travels on a fetch stream.
    pub(crate) fn as_fetched(&self, at: Location) -> Option<FetchObjectHeader> {
        let object = self.plan.objects.get(&at)?;
        Some(FetchObjectHeader {
            location: at,
            // MOQT-14 §10.4.4 [D14-FETCH-15]
            subgroup: if self.plan.datagrams {
                at.object
            } else {
                object.subgroup
            },
            priority: object.priority,
            status: object.header.status,
            extensions: object.header.extensions.clone(),
            payload_len: object.header.payload_len,
        })
    }

    pub(crate) fn archive_hears(&mut self, request: RequestId, fetch: &PeerFetch) {
        // [D14-FETCH-20]
        if self.publisher.archived.len() >= self.plan.desk.max_fills {
            self.fail("[D14-FETCH-20] the publisher has more fetches open than the desk may make".into());
        }
        let Some(range) = PastRange::new(fetch.start, fetch.end).filter(|range| !range.is_empty()) else {
            self.fail(format!(
                "the publisher is asked for {} to {}",
                fetch.start, fetch.end
            ));
            return;
        };
        let order = match fetch.group_order {
            GroupOrderRequest::Fixed(order) => order,
            GroupOrderRequest::Publisher => GroupOrder::Ascending,
        };
        let answer = self.archived(range, order);
        self.note(|| format!("up will answer {request}: {answer:?}"));
        self.publisher.archived.insert(request, answer);
        self.archive_later(request);
    }

    pub(crate) fn archive_cancelled(&mut self, request: RequestId) {
        if let Some(stream) = self
            .publisher
            .archived
            .remove(&request)
            .and_then(|answer| answer.stream)
        {
            self.reset_upstream(stream, ResetCode::Cancelled);
        }
    }

    fn archive_later(&mut self, request: RequestId) {
        let wait = Duration::from_micros(self.rng.below(8000));
        self.after(wait, Timer::Archive(request));
    }

    /// All that the publisher made, as far as it remembers, decides the answer.
    fn archived(&mut self, range: PastRange, order: GroupOrder) -> Archived {
        let refused = |reason| Archived {
            objects: VecDeque::new(),
            ok: FetchOk {
                group_order: order,
                end_of_track: false,
                end: range.end,
                params: MessageParams::default(),
            },
            ok_after: 0,
            said: false,
            written: 0,
            rest: BytesMut::new(),
            stream: None,
            fate: Fate::Refused(0, reason),
        };
        let manners = self.plan.manners;
        if manners == Manners::Unable {
            return refused(RequestErrorReason::NotSupported);
        }
        // MOQT-14 §9.16.3 [D14-FETCH-7]
        let Some(largest) = self.publisher.made.filter(|largest| *largest >= range.start) else {
            return refused(RequestErrorReason::InvalidRange);
        };
        let is_over = matches!(
            self.plan.objects[&largest].header.status,
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack
        );
        let after = Location::new(largest.group, largest.object + 1);
        // MOQT-14 §9.17 [D14-FETCH-9]
        let end = match range.end.object {
            0 if range.end.group > largest.group => after,
            0 if range.end.group == largest.group && !is_over => after,
            0 => range.end,
            _ => range.end.min(after),
        };
        let whole = PastRange::new(range.start, end).unwrap();
        let mut objects: Vec<_> = self
            .plan
            .objects
            .iter()
            .filter(|(at, object)| whole.contains(**at) && **at <= largest && !object.is_rogue())
            .map(|(at, object)| (*at, object.header.status))
            .collect();
        // MOQT-14 §10.2.1.1: what does not exist may be left out or said.
        objects.retain(|(_, status)| *status != ObjectStatus::DoesNotExist || self.rng.one_in(2));
        let mut objects: Vec<_> = objects.into_iter().map(|(at, _)| at).collect();
        if order == GroupOrder::Descending {
            objects.sort_by_key(|at| (u64::MAX - at.group, at.object));
        }
        let mut fate = self.fate(objects.len());
        if range.start.group < self.plan.forgets {
            // MOQT-14 §9.16.3 [D14-FETCH-8]
            let forgotten = objects.iter().position(|at| at.group < self.plan.forgets);
            let before = match order {
                GroupOrder::Ascending => 0,
                GroupOrder::Descending => forgotten.unwrap_or(objects.len()),
            };
            fate = Fate::Refused(before, RequestErrorReason::UnknownStatusInRange);
        } else if objects.is_empty() {
            return refused(RequestErrorReason::NoObjects);
        }
        let ok_after = match self.rng.below(4) {
            0 => 0,
            1 => usize(self.rng.below(objects.len() as u64 + 1)),
            _ if matches!(fate, Fate::Refused(..)) => usize::MAX,
            2 => 0,
            _ => usize::MAX,
        };
        let last = self.plan.end_of_track.filter(|last| *last <= largest);
        Archived {
            ok: FetchOk {
                group_order: order,
                end_of_track: last.is_some_and(|last| whole.contains(last)),
                end,
                params: MessageParams::default(),
            },
            objects: objects.into(),
            ok_after,
            said: false,
            written: 0,
            rest: BytesMut::new(),
            stream: None,
            fate,
        }
    }

    fn fate(&mut self, objects: usize) -> Fate {
        if self.plan.manners == Manners::Good {
            return Fate::Whole;
        }
        let at = usize(self.rng.below(objects as u64 + 1));
        match self.rng.below(12) {
            0 => Fate::Silence(0),
            1 => Fate::Silence(at),
            2 | 3 => Fate::Reset(at),
            4 => {
                let reasons = [
                    RequestErrorReason::InternalError,
                    RequestErrorReason::Unauthorized,
                    RequestErrorReason::Timeout,
                    RequestErrorReason::TrackDoesNotExist,
                    RequestErrorReason::UnknownStatusInRange,
                    RequestErrorReason::Unknown(0x77),
                ];
                let at = if self.rng.one_in(2) { 0 } else { at };
                Fate::Refused(at, reasons[usize(self.rng.below(reasons.len() as u64))])
            }
            _ => Fate::Whole,
        }
    }

    /// Goes on with an answer.
    pub(crate) fn archive_step(&mut self, request: RequestId) {
        if self.arrivals.is_dead {
            return;
        }
        let now = self.now;
        let Some(answer) = self.publisher.archived.get_mut(&request) else {
            return;
        };
        if answer.rest.is_empty() {
            let (written, said) = (answer.written, answer.said);
            match answer.fate {
                Fate::Silence(at) if at == written => return,
                Fate::Reset(at) if at == written => {
                    let answer = self.publisher.archived.remove(&request).unwrap();
                    if !said && self.rng.one_in(2) {
                        self.say(None, C, Command::AcceptFetch(request, answer.ok));
                    } else if !said && self.rng.one_in(2) {
                        let error = RequestError::new(RequestErrorReason::InternalError, "broken");
                        self.say(None, C, Command::Reject(request, error));
                    }
                    if let Some(stream) = answer.stream {
                        self.reset_upstream(stream, ResetCode::InternalError);
                    }
                    self.say(None, C, Command::FetchDone(request));
                    return;
                }
                Fate::Refused(at, reason) if at == written => {
                    let answer = self.publisher.archived.remove(&request).unwrap();
                    if !said {
                        let error = RequestError::new(reason, "not from here");
                        self.say(None, C, Command::Reject(request, error));
                    }
                    if let Some(stream) = answer.stream {
                        self.reset_upstream(stream, ResetCode::InternalError);
                    }
                    self.say(None, C, Command::FetchDone(request));
                    return;
                }
                _ => {}
            }
            if !said && written >= answer.ok_after {
                answer.said = true;
                let ok = answer.ok.clone();
                self.say(None, C, Command::AcceptFetch(request, ok));
                self.archive_later(request);
                return;
            }
            // Some objects at a time.
            for _ in 0..=self.rng.below(4) {
                let Some(answer) = self.publisher.archived.get_mut(&request) else {
                    return;
                };
                let stops = match answer.fate {
                    Fate::Silence(at) | Fate::Reset(at) | Fate::Refused(at, _) => at == answer.written,
                    Fate::Whole => false,
                };
                let late = !answer.said && answer.written >= answer.ok_after;
                if stops || late {
                    break;
                }
                let Some(at) = answer.objects.pop_front() else {
                    break;
                };
                answer.written += 1;
                let header = self.as_fetched(at).unwrap();
                let answer = self.publisher.archived.get_mut(&request).unwrap();
                if answer.stream.is_none() {
                    answer.stream = self.uplink.open();
                    Codec::Draft14
                        .encode_fetch_header(request, &mut answer.rest)
                        .unwrap();
                }
                Codec::Draft14
                    .encode_fetch_object_header(&header, &mut answer.rest)
                    .unwrap();
                answer.rest.extend_from_slice(&self.plan.objects[&at].payload);
            }
        }
        let Some(answer) = self.publisher.archived.get_mut(&request) else {
            return;
        };
        if answer.rest.is_empty() && answer.objects.is_empty() && answer.fate == Fate::Whole {
            let answer = self.publisher.archived.remove(&request).unwrap();
            if let Some(stream) = answer.stream {
                self.uplink.finish(now, stream);
            }
            if !answer.said {
                self.say(None, C, Command::AcceptFetch(request, answer.ok));
            }
            self.say(None, C, Command::FetchDone(request));
            return;
        }
        if let Some(stream) = answer.stream
            && !answer.rest.is_empty()
        {
            let size = if self.rng.one_in(3) {
                usize(1 + self.rng.below(200))
            } else {
                usize::MAX
            };
            let piece = answer.rest.split_to(size.min(answer.rest.len())).freeze();
            self.uplink.write(now, stream, piece);
        }
        self.archive_later(request);
    }
}

//! Where the response to a FETCH ends, and which ranges are refused at once.

use crate::moqt::location::{GroupId, Location};
use crate::moqt::message::RequestErrorReason;
use crate::relay::track_log::{PastRange, TrackLog};

/// What is known of a track's Largest Object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The log follows the track: its largest place is the track's.
    Live,
    /// Nothing is subscribed: the track may have gone on.
    Idle,
}

/// What FETCH_OK says of the end. MOQT-14 §9.17 [D14-FETCH-9]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// End Location, as it stands on the wire.
    pub end: Location,
    /// The track is over, and `end` is its end.
    pub end_of_track: bool,
}

/// A range as far as it can be told before anybody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What is read.
    pub range: PastRange,
    /// What FETCH_OK says; none while only the upstream knows. MOQT-14 §9.17 [D14-FETCH-2], [D14-FETCH-10]
    pub settled: Option<Settled>,
}

/// Resolves a requested range.
///
/// # Errors
/// What the subscriber is told. MOQT-14 §9.16.3 [D14-FETCH-7]
pub fn resolve(log: &TrackLog, standing: Standing, range: PastRange) -> Result<Resolved, RequestErrorReason> {
    let largest = log.largest();
    let beyond = largest.is_none_or(|largest| range.start > largest);
    if standing == Standing::Live && beyond {
        return Err(RequestErrorReason::InvalidRange);
    }
    let Some(largest) = largest.filter(|_| !beyond) else {
        return Ok(Resolved { range, settled: None });
    };
    let after = Location::new(largest.group, largest.object.saturating_add(1));
    let asks_beyond = match range.end.object {
        0 if range.end.group == largest.group => !ends_at(log, after),
        0 => range.end.group > largest.group,
        _ => range.end > after,
    };
    if asks_beyond && standing == Standing::Idle && log.end_of_track().is_none() {
        return Ok(Resolved { range, settled: None });
    }
    let end = if asks_beyond { after } else { range.end };
    let settled = Settled {
        end,
        end_of_track: log
            .end_of_track()
            .is_some_and(|last| last < after && covers(end, last)),
    };
    let range = PastRange::new(range.start, end).unwrap_or(range);
    Ok(Resolved {
        range,
        settled: Some(settled),
    })
}

/// Where a response ends when all of `range` turned out to be known: with the last object that is published, if that
/// lies before the end that was asked for. MOQT-14 §9.17 [D14-FETCH-9]
pub(super) fn settled_by(log: &TrackLog, range: PastRange) -> Settled {
    let end = log
        .last_published()
        .filter(|last| *last >= range.start)
        .map(|last| Location::new(last.group, last.object.saturating_add(1)))
        .filter(|after| range.contains(*after) && !is_rest_of(range.end, after.group))
        .unwrap_or(range.end);
    Settled {
        end,
        end_of_track: log.track_end().is_some_and(|last| range.contains(last)),
    }
}

/// Whether an end on the wire means all of `group`.
const fn is_rest_of(end: Location, group: GroupId) -> bool {
    end.object == 0 && end.group == group
}

/// Whether a group is known to end right before `after`.
fn ends_at(log: &TrackLog, after: Location) -> bool {
    log.group_end(after.group).is_some_and(|end| end <= after.object)
}

/// Whether an end on the wire lies behind `last`. MOQT-14 §9.16.1 [D14-FETCH-3]
const fn covers(end: Location, last: Location) -> bool {
    end.group > last.group || (end.group == last.group && (end.object == 0 || end.object > last.object))
}

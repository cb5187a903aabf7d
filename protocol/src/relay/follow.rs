//! How a subscription follows its track: what becomes a stream, what a datagram, what is passed over.

use super::expiry::Age;
use super::lane::LaneReader;
use super::track_log::{Cursor, LogDatagram, Next, Position, SubgroupSeq, TrackLog};
use crate::moqt::filter::ResolvedFilter;
use crate::moqt::location::GroupId;
use crate::moqt::object::{SubgroupHeader, SubgroupIdMode, TrackAlias};
use std::time::Instant;

/// What one look at the log found.
#[derive(Debug, Default)]
pub struct Look {
    /// Subgroups that began, each to go on streams of its own. MOQT-14 §2.2 [D14-DATA-21].
    pub lanes: Vec<LaneReader>,
    /// Datagrams to send.
    pub datagrams: Vec<LogDatagram>,
    /// Times that the log had dropped what came next, which may have been wanted.
    pub lagged: u64,
    /// Datagrams that came too late to be sent.
    pub expired: u64,
    /// Something came that lies after the last wanted group. Streams of wanted groups go on to their own end, so a
    /// range ends on the boundary of a group. MOQT-14 §10.4.3 [D14-CLOSE-9]
    pub past_end: bool,
}

/// What a subscription named `alias` downstream begins with: the subgroups that are open, `open` being those of the
/// live edge. Their next objects belong to it.
#[must_use]
pub fn continue_open(
    log: &TrackLog,
    open: Vec<(SubgroupSeq, Position)>,
    filter: &ResolvedFilter,
    alias: TrackAlias,
) -> Vec<LaneReader> {
    open.into_iter()
        .filter_map(|(seq, position)| Some(LaneReader::new(seq, position, header(log, seq, alias)?)))
        .filter(|lane| filter.admits_group(lane.header().group))
        .collect()
}

/// The first group of these subgroups; none without any that is kept.
#[must_use]
pub fn first_group(log: &TrackLog, subgroups: impl IntoIterator<Item = SubgroupSeq>) -> Option<GroupId> {
    let groups = subgroups.into_iter();
    groups.filter_map(|seq| Some(header(log, seq, 0)?.group)).min()
}

/// Takes what is new at `cursor`, at most `room` subgroups; the others stay where they are, and the log bounds how
/// far behind that is.
#[must_use]
pub fn look(
    log: &TrackLog,
    cursor: &mut Cursor,
    filter: &ResolvedFilter,
    alias: TrackAlias,
    room: usize,
) -> Look {
    look_fresh(None, log, cursor, filter, alias, room)
}

/// As [`look`]. At the time `now`, a datagram that is older than [`TrackLog::max_cache`] is passed over; without such
/// a limit no time is needed. MOQT-14 §9.2.1.3 [D14-CACHE-4].
#[must_use]
pub fn look_fresh(
    now: Option<Instant>,
    log: &TrackLog,
    cursor: &mut Cursor,
    filter: &ResolvedFilter,
    alias: TrackAlias,
    room: usize,
) -> Look {
    let age = Age {
        now,
        ..Age::default()
    };
    look_in_time(&age, log, cursor, filter, alias, room)
}

/// As [`look_fresh`], for a subscription with a DELIVERY_TIMEOUT.
#[must_use]
pub fn look_in_time(
    age: &Age,
    log: &TrackLog,
    cursor: &mut Cursor,
    filter: &ResolvedFilter,
    alias: TrackAlias,
    mut room: usize,
) -> Look {
    let mut found = Look::default();
    while room > 0 {
        match log.next_subgroup(cursor) {
            Next::Ready(seq) => {
                let Some(header) = header(log, seq, alias) else {
                    continue;
                };
                if filter.admits_group(header.group) {
                    found
                        .lanes
                        .push(LaneReader::new(seq, Position::default(), header));
                    room -= 1;
                } else if filter.end_group.is_some_and(|end| header.group > end) {
                    found.past_end = true;
                }
            }
            // Nothing that ever came lies behind the largest, so nobody who waits for what does lacks any of it.
            Next::Lagged(_) if log.largest().is_some_and(|largest| largest < filter.start) => {}
            Next::Lagged(_) => found.lagged += 1,
            Next::Pending => break,
        }
    }
    loop {
        let at = log.datagram_at(cursor);
        match log.next_fresh_datagram(age.now, cursor) {
            Next::Ready(datagram) => {
                if filter.admits(datagram.location) && at.is_some_and(|at| age.is_over(at)) {
                    // MOQT-14 §9.2.1.2 [D14-TO-1]: whatever the forwarding preference.
                    found.expired += 1;
                } else if filter.admits(datagram.location) {
                    found.datagrams.push(datagram.clone());
                } else if filter.end_group.is_some_and(|end| datagram.location.group > end) {
                    found.past_end = true;
                }
            }
            Next::Lagged(_) => {}
            Next::Pending => break,
        }
    }
    found
}

fn header(log: &TrackLog, seq: SubgroupSeq, alias: TrackAlias) -> Option<SubgroupHeader> {
    let info = log.subgroup(seq)?;
    Some(SubgroupHeader {
        alias,
        group: info.group,
        // MOQT-14 §10.4.2 [D14-DATA-5]: never "the first object's id", which a stream that starts in the middle of a
        // subgroup would change.
        subgroup: match info.subgroup {
            0 => SubgroupIdMode::Zero,
            id => SubgroupIdMode::Explicit(id),
        },
        priority: info.priority,
        has_extensions: info.has_extensions,
        // MOQT-14 §10.4.2 [D14-DATA-6]: it counts when the stream ends in FIN, which only a whole subgroup does.
        end_of_group: info.end_of_group,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a base of virtual time")]

    use super::*;
    use crate::moqt::location::Location;
    use crate::moqt::object::{ObjectHeader, ObjectStatus};
    use crate::relay::track_log::{Append, Limits, StreamEnd};
    use bytes::Bytes;

    /// Object 0 of a group.
    fn group(log: &mut TrackLog, now: Instant, group: u64) {
        let chunks = [
            Append::SubgroupOpened {
                stream: group,
                group,
                subgroup: 0,
                priority: 0,
                has_extensions: false,
                end_of_group: false,
            },
            Append::ObjectStarted {
                stream: group,
                header: ObjectHeader {
                    id: 0,
                    status: ObjectStatus::Normal,
                    extensions: Bytes::new(),
                    payload_len: 0,
                },
            },
            Append::SubgroupClosed {
                stream: group,
                end: StreamEnd::Fin,
            },
        ];
        for chunk in chunks {
            log.append(now, chunk);
        }
    }

    /// D14-SUB-30: who waits for what has not come lacks nothing of what the log drops meanwhile.
    #[test]
    fn what_is_dropped_ahead_of_the_range_is_not_missed() {
        let (mut log, now) = (TrackLog::new(Limits::default()), Instant::now());
        let (start, later) = (Location::new(0, 0), Location::new(9, 0));
        let from = |start| ResolvedFilter {
            start,
            end_group: None,
        };
        let (mut wanting, mut waiting) = (Cursor::default(), Cursor::default());
        for number in 0..9 {
            group(&mut log, now, number);
        }
        log.give_up(usize::MAX);
        let look = |log: &TrackLog, cursor: &mut Cursor, start| look(log, cursor, &from(start), 0, 9);
        assert_eq!(look(&log, &mut wanting, start).lagged, 1);
        assert_eq!(look(&log, &mut waiting, later).lagged, 0);
        // What it waits for comes, and is missed like any other.
        group(&mut log, now, 9);
        assert_eq!(look(&log, &mut waiting, later).lanes.len(), 1);
        group(&mut log, now, 10);
        group(&mut log, now, 11);
        log.give_up(usize::MAX);
        assert_eq!(look(&log, &mut waiting, later).lagged, 1);
    }
}

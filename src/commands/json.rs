//! An object as a line of JSON.

use crate::stamp::{millis, unix_nanos};
use bytes::Bytes;
use laps_actors::client::ReceivedObject;
use laps_protocol::moqt::object::ObjectStatus;
use serde::Serialize;

/// How an object came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// By a subscription; with the nanoseconds since it was made, when it tells.
    Live(Option<u64>),
    /// By a fetch, which is no matter of latency, and where what was a datagram once looks like any other object.
    Fetch,
}

/// One line. `received` is Unix time in seconds; `source` stands only in the lines of fetched objects.
#[derive(Debug, Serialize)]
struct Line {
    group: u64,
    subgroup: Option<u64>,
    object: u64,
    priority: u8,
    status: &'static str,
    len: usize,
    datagram: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    received: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
}

/// The object as text with its newline.
pub(super) fn line(object: &ReceivedObject, source: Source) -> Bytes {
    let (age, source) = match source {
        Source::Live(age) => (age, None),
        Source::Fetch => (None, Some("fetch")),
    };
    let since = u64::try_from(object.at.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let line = Line {
        group: object.location.group,
        subgroup: object.subgroup,
        object: object.location.object,
        priority: object.priority,
        status: status(object.status),
        len: object.len(),
        datagram: object.subgroup.is_none(),
        latency_ms: age.map(millis),
        received: millis(unix_nanos().saturating_sub(since)) / 1e3,
        source,
    };
    // Numbers and fixed words always have a JSON form.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    Bytes::from(text)
}

const fn status(status: ObjectStatus) -> &'static str {
    match status {
        ObjectStatus::Normal => "normal",
        ObjectStatus::DoesNotExist => "does_not_exist",
        ObjectStatus::EndOfGroup => "end_of_group",
        ObjectStatus::EndOfTrack => "end_of_track",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::moqt::location::Location;
    use std::time::Instant;

    #[test]
    fn a_line_has_every_field() {
        let mut object = ReceivedObject {
            location: Location::new(3, 4),
            subgroup: Some(5),
            priority: 6,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload: vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")],
            at: Instant::now(),
        };
        let value = |line: Bytes| serde_json::from_slice::<serde_json::Value>(&line).unwrap();
        let mut got = value(line(&object, Source::Live(Some(1_500_000))));
        let received = got.as_object_mut().unwrap().remove("received").unwrap();
        assert!(received.as_f64().unwrap() > 1.7e9);
        assert_eq!(
            got,
            serde_json::json!({
                "group": 3, "subgroup": 5, "object": 4, "priority": 6, "status": "normal", "len": 3,
                "datagram": false, "latency_ms": 1.5,
            })
        );
        object.subgroup = None;
        let got = value(line(&object, Source::Live(None)));
        assert_eq!(got["datagram"], true);
        assert!(got.get("latency_ms").is_none());
        object.subgroup = Some(4);
        let got = value(line(&object, Source::Fetch));
        assert_eq!(
            (&got["source"], &got["datagram"]),
            (&"fetch".into(), &false.into())
        );
        assert!(got.get("latency_ms").is_none());
    }
}

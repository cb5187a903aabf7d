//! What was sent and what was got, and the table of it.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What the publisher has sent.
#[derive(Debug, Default)]
pub(super) struct Sent(Vec<(Bytes, Instant)>);

impl Sent {
    /// One more, now.
    pub(super) fn add(&mut self, payload: Bytes) {
        self.0.push((payload, Instant::now()));
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    fn get(&self, number: u64) -> Option<&(Bytes, Instant)> {
        self.0.get(usize::try_from(number).ok()?)
    }

    /// The payload of the last one, as text.
    fn shows(&self) -> String {
        let last = self.0.last();
        last.map(|(payload, _)| clock(payload)).unwrap_or_default()
    }

    /// The publisher's row of the table.
    pub(super) fn row(&self) -> Row {
        Row {
            who: "publisher".to_owned(),
            way: "edge-1".to_owned(),
            objects: self.count(),
            behind: None,
            late: None,
            shows: self.shows(),
        }
    }
}

/// What one viewer has got.
#[derive(Debug, Default)]
pub(super) struct Got {
    numbers: BTreeSet<u64>,
    /// Payloads by arrival, with the number of the object and when it was there.
    arrived: Vec<(Option<u64>, Vec<u8>, Instant)>,
    failed: Option<String>,
}

impl Got {
    /// The object of this number was there at `at`.
    pub(super) fn object(&mut self, number: Option<u64>, payload: Vec<u8>, at: Instant) {
        self.numbers.extend(number);
        self.arrived.push((number, payload, at));
    }

    /// There will be no more, because of this.
    pub(super) fn failed(&mut self, why: String) {
        self.failed = Some(why);
    }

    /// How many different ones.
    fn count(&self) -> u64 {
        u64::try_from(self.numbers.len()).unwrap_or(u64::MAX)
    }

    /// How old the last one was when it came.
    fn late(&self, sent: &Sent) -> Option<Duration> {
        let (number, _, at) = self.arrived.last()?;
        let (_, made) = sent.get((*number)?)?;
        Some(at.saturating_duration_since(*made))
    }

    /// Its row of the table, at this relay, which is reached by this way.
    pub(super) fn row(&self, (name, way): (&str, &str), sent: &Sent) -> Row {
        let last = self.arrived.last();
        Row {
            who: format!("viewer at {name}"),
            way: way.to_owned(),
            objects: self.count(),
            behind: Some(sent.count().saturating_sub(self.count())),
            late: self.late(sent),
            shows: last.map(|(_, payload, _)| clock(payload)).unwrap_or_default(),
        }
    }

    /// What is not as it should be, if anything: each of the objects that were sent, once, with its payload, and none
    /// besides.
    pub(super) fn fault(&self, sent: &Sent) -> Option<String> {
        let missing = (0..sent.count())
            .filter(|number| !self.numbers.contains(number))
            .count();
        let is_wrong = |(number, payload, _): &&(Option<u64>, Vec<u8>, Instant)| {
            let made = number.and_then(|number| sent.get(number));
            made.is_none_or(|(made, _)| made != payload)
        };
        let wrong = self.arrived.iter().filter(is_wrong).count();
        let twice = self.arrived.len().saturating_sub(self.numbers.len());
        if missing + wrong + twice == 0 {
            return None;
        }
        let why = self
            .failed
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        Some(format!(
            "{missing} objects missing, {wrong} wrong, {twice} twice{why}"
        ))
    }
}

/// The time of day out of a payload such as `2026-01-31T23:59:58.4Z`.
fn clock(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    let time = text.split('T').nth(1).unwrap_or(&text);
    time.trim_end_matches('Z').to_owned()
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Whose it is.
    pub(super) who: String,
    /// Through which relays objects came.
    pub(super) way: String,
    /// Objects.
    pub(super) objects: u64,
    /// Objects that were sent and are not there yet.
    pub(super) behind: Option<u64>,
    /// How old the last object was when it came.
    pub(super) late: Option<Duration>,
    /// What the clock shows.
    pub(super) shows: String,
}

/// The table, a line each; with colours where somebody may want them.
pub(super) fn table(rows: &[Row], colours: bool) -> Vec<String> {
    let paint = |code: &str, text: String| {
        if colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text
        }
    };
    let head = format!(
        "{:<17}  {:<21}  {:>7}  {:>6}  {:>9}  {}",
        "who", "way", "objects", "behind", "latency", "shows"
    );
    let line = |row: &Row| {
        let behind = row
            .behind
            .map_or_else(|| "-".to_owned(), |count| count.to_string());
        // What was sent in the last second may well be on its way.
        let code = if row.behind.is_some_and(|count| count > 10) {
            "31"
        } else {
            "32"
        };
        let late = row.late.map_or_else(
            || "-".to_owned(),
            |late| format!("{:.1} ms", late.as_secs_f64() * 1e3),
        );
        let behind = paint(code, format!("{behind:>6}"));
        format!(
            "{:<17}  {:<21}  {:>7}  {behind}  {late:>9}  {}",
            row.who, row.way, row.objects, row.shows
        )
    };
    std::iter::once(paint("1", head))
        .chain(rows.iter().map(line))
        .collect()
}

/// The same as one line, for whoever reads it later.
pub(super) fn line(rows: &[Row]) -> String {
    let parts: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row.who, row.objects))
        .collect();
    let shows = rows.first().map(|row| row.shows.as_str()).unwrap_or_default();
    format!("{shows}: {} objects", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(texts: &[&str]) -> Sent {
        let mut sent = Sent::default();
        for text in texts {
            sent.add(Bytes::from((*text).to_owned()));
        }
        sent
    }

    const DAY: [&str; 3] = [
        "2026-01-31T23:59:58.9Z",
        "2026-01-31T23:59:59.0Z",
        "2026-01-31T23:59:59.1Z",
    ];

    fn got(objects: &[(u64, &str)]) -> Got {
        let mut got = Got::default();
        for (number, text) in objects {
            got.object(Some(*number), text.as_bytes().to_vec(), Instant::now());
        }
        got
    }

    #[test]
    fn each_object_once_as_it_was_sent_is_no_fault() {
        let sent = sent(&DAY);
        let all: Vec<(u64, &str)> = (0..).zip(DAY).collect();
        assert_eq!(got(&all).fault(&sent), None);
        for (objects, fault) in [
            (&all[..2], "1 objects missing, 0 wrong, 0 twice"),
            (&[], "3 objects missing, 0 wrong, 0 twice"),
            (
                &[all[0], all[1], all[1], all[2]],
                "0 objects missing, 0 wrong, 1 twice",
            ),
            (
                &[all[0], all[1], (2, "else")],
                "0 objects missing, 1 wrong, 0 twice",
            ),
            (
                &[all[0], all[1], all[2], (3, "more")],
                "0 objects missing, 1 wrong, 0 twice",
            ),
        ] {
            assert_eq!(got(objects).fault(&sent).as_deref(), Some(fault));
        }
        let mut failed = got(&all[..2]);
        failed.failed("gone".to_owned());
        assert!(failed.fault(&sent).unwrap().ends_with(" (gone)"));
        let mut nowhere = got(&all);
        nowhere.object(None, Vec::new(), Instant::now());
        assert!(nowhere.fault(&sent).is_some(), "a place that nothing was sent to");
    }

    #[test]
    fn a_table_has_a_row_for_each_and_colours_only_on_request() {
        let sent = sent(&DAY);
        let row = got(&[(0, DAY[0])]).row(("edge-2", "edge-1 > via > edge-2"), &sent);
        assert_eq!(
            (row.objects, row.behind, row.shows.as_str()),
            (1, Some(2), "23:59:58.9")
        );
        assert!(row.late.is_some());
        let rows = [
            sent.row(),
            Row {
                late: Some(Duration::from_micros(1_250)),
                ..row
            },
        ];
        let plain = table(&rows, false);
        assert_eq!(
            plain,
            [
                "who                way                    objects  behind    latency  shows",
                "publisher          edge-1                       3       -          -  23:59:59.1",
                "viewer at edge-2   edge-1 > via > edge-2        1       2     1.2 ms  23:59:58.9",
            ]
        );
        let painted = table(&rows, true);
        assert!(painted.iter().all(|line| line.contains("\u{1b}[")));
        let mut bare = painted.join("\n");
        for code in ["1", "31", "32", "0"] {
            bare = bare.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(bare, plain.join("\n"), "and the columns are the same");
        assert_eq!(line(&rows), "23:59:59.1: publisher 3, viewer at edge-2 1 objects");
    }
}

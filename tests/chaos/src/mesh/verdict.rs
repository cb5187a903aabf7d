//! What came of it: what each subscriber of a mesh has of all that was made.

use super::relay::text;
use super::world::{GO_ON, User, World};
use crate::Failure;
use crate::judge::{Losses, judge, missing};
use crate::record::{self, Record};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

impl World {
    /// Waits until everybody receives again, and a little longer; gives the last object to judge by.
    pub(crate) fn settle(&self) -> Result<u64, Failure> {
        let everybody = |newest: u64, what: &str| -> Result<(), Failure> {
            for user in &self.subscribers {
                let what = format!("{} {what}", user.name);
                user.tape
                    .wait(GO_ON, &what, |record| record.newest() >= Some(newest))?;
            }
            Ok(())
        };
        everybody(self.pace.due(record::now()) + self.pace.gop, "receives again")?;
        // What is late is let come, and only what is whole is judged.
        let last = self.pace.due(record::now());
        everybody(last + 2 * self.pace.gop, "goes on")?;
        Ok(last)
    }

    /// All that publishers made.
    pub(super) fn made(&self) -> BTreeSet<u64> {
        let logs = self.publishers.iter().map(|user| text(&user.log));
        logs.flat_map(|log| record::made(&log, self.pace)).collect()
    }

    /// What each subscriber lost up to that object.
    pub(crate) fn losses(&self, last: u64, begun: u64, over: u64) -> Vec<Losses> {
        let made = self.made();
        let judged = self
            .subscribers
            .iter()
            .map(|user| judge(&user.tape.read(), &made, last, begun, over));
        judged.collect()
    }

    /// What each subscriber lacks up to that object, as group/object, for whoever looks for the cause.
    pub(crate) fn missing(&self, last: u64) -> String {
        let made = self.made();
        let lacks = |user: &User| {
            let record = user.tape.read();
            let lacks = missing(&record, &made, last, self.pace.gop);
            format!("{} lacks [{lacks}]", user.name)
        };
        let all: Vec<_> = self.subscribers.iter().map(lacks).collect();
        all.join(", ")
    }

    /// The same, once what is fetched after a failure has had its time.
    pub(crate) fn repaired(&self, last: u64, begun: u64, over: u64) -> Vec<Losses> {
        let (made, until) = (self.made(), Instant::now() + GO_ON);
        for user in &self.subscribers {
            let all = |record: &Record| {
                let mut wanted = made.range(record.oldest().unwrap_or(0)..=last);
                wanted.all(|sequence| record.came.contains_key(sequence))
            };
            // What has not come by then is counted.
            let left = until.saturating_duration_since(Instant::now());
            user.tape.wait(left, "what was lost on the way", all).ok();
        }
        self.losses(last, begun, over)
    }

    /// Every subscriber has every one of these objects, once.
    pub(crate) fn whole_once(&self, objects: Range<u64>) -> Result<(), Failure> {
        let made = self.made();
        let made: Vec<_> = made.range(objects).collect();
        for user in &self.subscribers {
            let what = format!("{} has all of {} objects once", user.name, made.len());
            user.tape.wait(GO_ON, &what, |record| {
                let times = |sequence: &u64| record.came.get(sequence).map_or(0, Vec::len);
                record.wrong.is_empty() && made.iter().all(|sequence| times(sequence) == 1)
            })?;
        }
        Ok(())
    }

    /// Every subscriber has every object from its first one on, once.
    pub(crate) fn everything_once(&self) -> Result<(), Failure> {
        let last = self.settle()?;
        let now = record::now();
        for (user, losses) in self.subscribers.iter().zip(self.repaired(last, now, now)) {
            if (losses.lost, losses.duplicated, losses.wrong) != (0, 0, 0) {
                let missing = self.missing(last);
                return Err(format!("{}: {losses:?}; {missing}", user.name).into());
            }
        }
        Ok(())
    }
}

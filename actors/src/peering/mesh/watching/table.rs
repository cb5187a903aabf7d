//! Which prefixes a stub watches, so that it hears of all that its clients look for, and of little else.

use laps_protocol::moqt::name::{MAX_NAMESPACE_FIELDS as DEEPEST, TrackNamespace};
use laps_protocol::peering::info_base::Command;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Prefixes that are watched at most: half of what an edge takes of a stub, since new ones are watched before the old ones
/// are let go of. (`info_base::Limits::max_watches`)
const MAX_WATCHED: usize = 512;
/// Namespaces that are sought at most.
const MAX_SOUGHT: usize = 16_384;
/// How long something is watched that nobody seeks any more: twice the time for which the mesh is not told that the last
/// subscriber has left (`info_base::Settings::unsubscribe_hold`), so that one who returns causes no ripple.
const HOLD: Duration = Duration::from_secs(10);

/// What is sought, and what is watched for it.
#[derive(Debug)]
pub(super) struct Table {
    /// And since when nobody has sought it.
    sought: BTreeMap<TrackNamespace, Option<Instant>>,
    watched: BTreeSet<TrackNamespace>,
    /// Prefixes have at most so many fields; fewer when there would be too many of them.
    depth: usize,
    refused: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            sought: BTreeMap::new(),
            watched: BTreeSet::new(),
            depth: DEEPEST,
            refused: 0,
        }
    }
}

impl Table {
    /// This is sought; false when there is no room for it.
    pub(super) fn seek(&mut self, namespace: TrackNamespace) -> bool {
        if self.sought.len() >= MAX_SOUGHT && !self.sought.contains_key(&namespace) {
            self.refused = self.refused.saturating_add(1);
            return false;
        }
        self.sought.insert(namespace, None);
        true
    }

    /// Of all that is sought only these are not, as far as the registry knows.
    pub(super) fn idle(&mut self, now: Instant, idle: &[TrackNamespace]) {
        let idle: BTreeSet<_> = idle.iter().collect();
        self.sought.retain(|namespace, since| {
            *since = idle.contains(namespace).then(|| since.unwrap_or(now));
            since.is_none_or(|since| now.saturating_duration_since(since) < HOLD)
        });
    }

    /// All that is sought.
    pub(super) fn known(&self) -> Vec<TrackNamespace> {
        self.sought.keys().cloned().collect()
    }

    /// What was refused so far.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Bases that begin know of nothing that is watched.
    pub(super) fn forget_told(&mut self) {
        self.watched.clear();
    }

    /// What the bases are to be told. What is new comes first, so that nothing is let go of in between.
    pub(super) fn flush(&mut self) -> Vec<Command> {
        let wanted = self.cover();
        let new = wanted.difference(&self.watched).cloned().map(Command::Watch);
        let old = self.watched.difference(&wanted).cloned().map(Command::Unwatch);
        let commands = new.chain(old).collect();
        self.watched = wanted;
        commands
    }

    /// Prefixes that have all that is sought below them. The fewer there may be the shorter they are.
    fn cover(&mut self) -> BTreeSet<TrackNamespace> {
        // Half of it, so that one more or less does not change all of them each time.
        if self.depth < DEEPEST && self.prefixes(DEEPEST).len() <= MAX_WATCHED / 2 {
            self.depth = DEEPEST;
        }
        let mut prefixes = self.prefixes(self.depth);
        while prefixes.len() > MAX_WATCHED && self.depth > 1 {
            let longest = prefixes.iter().map(|name| name.fields().len()).max();
            self.depth = longest.unwrap_or(self.depth).min(self.depth) - 1;
            prefixes = self.prefixes(self.depth);
        }
        while prefixes.len() > MAX_WATCHED {
            prefixes.pop_last();
            self.refused = self.refused.saturating_add(1);
        }
        prefixes
    }

    fn prefixes(&self, depth: usize) -> BTreeSet<TrackNamespace> {
        let mut prefixes: Vec<TrackNamespace> = Vec::new();
        for namespace in self.sought.keys() {
            // In order, what lies below a prefix follows it without a gap.
            if prefixes.last().is_none_or(|last| !last.is_prefix_of(namespace)) {
                let cut = TrackNamespace::new(namespace.fields().iter().take(depth).cloned());
                prefixes.push(cut.unwrap_or_else(|_| namespace.clone()));
            }
        }
        prefixes.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn name(text: &str) -> TrackNamespace {
        TrackNamespace::new(text.split('/').map(|field| Bytes::from(field.to_owned()))).unwrap()
    }

    fn seeks(table: &mut Table, texts: &[&str]) {
        for text in texts {
            assert!(table.seek(name(text)));
        }
    }

    /// What lies below a prefix that is watched needs no watch of its own.
    #[test]
    fn prefixes_stand_for_what_is_below_them() {
        let mut table = Table::default();
        seeks(&mut table, &["a/b", "a/b/c", "ab"]);
        let watch = |text| Command::Watch(name(text));
        assert_eq!(table.flush(), [watch("a/b"), watch("ab")]);
        assert_eq!(table.flush(), []);
        seeks(&mut table, &["a"]);
        // Watched before the narrower one is let go of: nothing is withdrawn in between.
        assert_eq!(table.flush(), [watch("a"), Command::Unwatch(name("a/b"))]);
        table.forget_told();
        assert_eq!(table.flush(), [watch("a"), watch("ab")]);
    }

    /// Issue 6: a client that leaves and returns causes no ripple.
    #[test]
    fn what_nobody_seeks_is_watched_a_while_longer() {
        let mut table = Table::default();
        let begin = Instant::now();
        seeks(&mut table, &["a", "b"]);
        table.flush();
        table.idle(begin, &[name("a")]);
        table.idle(begin + HOLD / 2, &[name("a")]);
        // It returns, and leaves again.
        table.idle(begin + HOLD, &[]);
        table.idle(begin + HOLD, &[name("a")]);
        table.idle(begin + HOLD * 2 - Duration::from_millis(1), &[name("a")]);
        assert_eq!(table.flush(), []);
        table.idle(begin + HOLD * 2, &[name("a")]);
        assert_eq!(table.flush(), [Command::Unwatch(name("a"))]);
        assert_eq!(table.known(), [name("b")]);
    }

    /// Many prefixes become few shorter ones, and again many when there is room.
    #[test]
    fn what_is_watched_is_bounded() {
        let mut table = Table::default();
        let text = |n: usize| format!("city/house-{}/room-{n}/cam", n / 10);
        for n in 0..MAX_WATCHED {
            assert!(table.seek(name(&text(n))));
        }
        assert_eq!(table.flush().len(), MAX_WATCHED);
        assert!(table.seek(name(&text(MAX_WATCHED))));
        // laps peering has no word for more than one prefix at once, so each is said.
        let said = table.flush();
        assert_eq!((table.watched(), said.len()), (52, 52 + MAX_WATCHED));
        let Some(Command::Watch(first)) = said.first() else {
            panic!("{said:?}");
        };
        assert_eq!(*first, name("city/house-0"));
        let most: Vec<_> = (MAX_WATCHED / 2..=MAX_WATCHED).map(|n| name(&text(n))).collect();
        let begin = Instant::now();
        table.idle(begin, &most);
        table.idle(begin + HOLD, &most);
        table.flush();
        assert_eq!(table.watched(), MAX_WATCHED / 2);
    }

    #[test]
    fn what_is_sought_is_bounded() {
        let mut table = Table::default();
        for n in 0..MAX_SOUGHT {
            assert!(table.seek(name(&n.to_string())));
        }
        assert!(!table.seek(name("more")));
        assert!(table.seek(name("7")), "it is known");
        // With one field each there is nothing that they share.
        table.flush();
        assert_eq!(table.watched(), MAX_WATCHED);
        assert!(table.refused() > 0);
    }
}

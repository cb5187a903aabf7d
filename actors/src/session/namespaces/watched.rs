//! What the peer of a session is told of what others publish, and what it showed for that.

use crate::registry::Changes;
use crate::track::TrackRef;
use laps_protocol::auth::Grant;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::relay::told::{Life, Told};
use std::collections::BTreeMap;

/// Namespaces do not begin anew: it is their announcers that do.
const ONE_LIFE: Life = 0;
/// Scopes of tokens that are kept for all watches of a session, beside those of SETUP: some for each of a few hundred.
const MAX_SCOPES: usize = 4096;

/// What the peer of a session is told of what others publish.
#[derive(Debug, Default)]
pub(in crate::session) struct Watched {
    pub(super) namespaces: Told<TrackNamespace>,
    pub(super) tracks: Told<FullTrackName>,
    /// Where the tracks live that there are.
    pub(super) places: BTreeMap<FullTrackName, TrackRef>,
    pub(super) describing: usize,
    /// What the tokens of the requests that watch allow, by prefix; of them no two overlap.
    grants: BTreeMap<TrackNamespace, Vec<Grant>>,
    /// How much that is.
    scopes: usize,
}

impl Watched {
    pub(super) fn hear(&mut self, changes: Changes) {
        for (namespace, there) in changes.namespaces {
            self.namespaces.now(namespace, there.then_some(ONE_LIFE));
        }
        for (name, track) in changes.tracks {
            self.tracks
                .now(name.clone(), track.as_ref().map(|track| track.epoch));
            match track {
                Some(track) => drop(self.places.insert(name, track)),
                None => drop(self.places.remove(&name)),
            }
        }
    }

    /// Everything that is there below the prefix was heard of.
    pub(super) fn complete(&mut self, prefix: &TrackNamespace) {
        self.namespaces.complete(prefix, |name| prefix.is_prefix_of(name));
        let first = FullTrackName::first_below(prefix.clone());
        self.tracks
            .complete(&first, |name| prefix.is_prefix_of(name.namespace()));
    }

    /// Nobody looks below the prefix any more.
    pub(super) fn mute(&mut self, prefix: &TrackNamespace) {
        self.namespaces.mute(prefix, |name| prefix.is_prefix_of(name));
        let first = FullTrackName::first_below(prefix.clone());
        self.tracks
            .mute(&first, |name| prefix.is_prefix_of(name.namespace()));
        self.lose_places(prefix);
    }

    /// What there is below the prefix is about to be told, for the first time or again.
    pub(super) fn begin(&mut self, prefix: &TrackNamespace) {
        self.namespaces.anew(prefix, |name| prefix.is_prefix_of(name));
        let first = FullTrackName::first_below(prefix.clone());
        self.tracks
            .anew(&first, |name| prefix.is_prefix_of(name.namespace()));
        self.lose_places(prefix);
    }

    fn lose_places(&mut self, prefix: &TrackNamespace) {
        let first = FullTrackName::first_below(prefix.clone());
        let gone = self.places.range(first..).map(|(name, _)| name);
        let gone: Vec<_> = gone
            .take_while(|name| prefix.is_prefix_of(name.namespace()))
            .cloned()
            .collect();
        for name in gone {
            self.places.remove(&name);
        }
    }

    /// Keeps what a request showed that watches; false when there is no room for that.
    pub(super) fn grant(&mut self, prefix: &TrackNamespace, shown: Vec<Grant>) -> bool {
        let weight: usize = shown.iter().map(Grant::weight).sum();
        if self.scopes.saturating_add(weight) > MAX_SCOPES {
            return false;
        }
        if !shown.is_empty() {
            self.scopes += weight;
            self.grants.insert(prefix.clone(), shown);
        }
        true
    }

    /// The request that watched here is over.
    pub(super) fn revoke(&mut self, prefix: &TrackNamespace) {
        let shown = self.grants.remove(prefix).unwrap_or_default();
        let weight = shown.iter().map(Grant::weight).sum();
        self.scopes = self.scopes.saturating_sub(weight);
    }

    /// What the request showed that watches above this namespace. Prefixes do not overlap, so only the last one before
    /// it can be its own.
    pub(in crate::session) fn grants_above(&self, namespace: &TrackNamespace) -> &[Grant] {
        let before = self.grants.range(..=namespace).next_back();
        let above = before.filter(|(prefix, _)| prefix.is_prefix_of(namespace));
        above.map_or(&[], |(_, shown)| shown)
    }

    /// The peer wants to hear no more of what this request said.
    pub(in crate::session) fn refused(&mut self, request: RequestId) {
        if self.namespaces.refused(request).is_none() {
            self.tracks.refused(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::auth::{UnixSeconds, scopes};
    use laps_protocol::moqt::name_text::parse_namespace;

    /// D14-LIM-3 D14-AUTH-11: what is kept of the tokens of watches is bounded, and given back with each of them.
    #[test]
    fn what_watches_showed_is_bounded() {
        let mut watched = Watched::default();
        let many = scopes(&"fetch ".repeat(64)).unwrap();
        let shown = vec![Grant::until(UnixSeconds(1), many, UnixSeconds(0)).unwrap(); 2];
        let prefix = |n: usize| parse_namespace(&format!("live/{n}")).unwrap();
        let room = MAX_SCOPES / 128;
        for n in 0..room {
            assert!(watched.grant(&prefix(n), shown.clone()), "{n}");
        }
        assert!(!watched.grant(&prefix(room), shown.clone()));
        assert!(
            watched.grant(&prefix(room), Vec::new()),
            "who shows nothing needs no room"
        );
        assert_eq!(
            watched
                .grants_above(&parse_namespace("live/0/left").unwrap())
                .len(),
            2
        );
        assert!(watched.grants_above(&parse_namespace("live").unwrap()).is_empty());
        watched.revoke(&prefix(0));
        assert!(watched.grants_above(&prefix(0)).is_empty());
        assert!(watched.grant(&prefix(room), shown));
    }
}

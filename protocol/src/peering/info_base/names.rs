//! The names behind the hashes, and which of them begin alike.

use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::peering::hash::{FullNameHash, TrackHash};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A name in one piece of memory. Names whose namespace begins with the same fields follow one another.
///
/// Each field is its length in two bytes and itself, so that no field is a prefix of another and the bytes of a namespace
/// are a prefix of those of a longer one exactly when its fields are. [D14-NS-5]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(Arc<[u8]>);

impl Name {
    /// No field is as long as this, so what follows it is the name of a track.
    const TRACK: [u8; 2] = u16::MAX.to_be_bytes();

    pub(super) fn of_namespace(namespace: &TrackNamespace) -> Self {
        Self(fields(namespace).into())
    }

    pub(super) fn of(track: &FullTrackName) -> Self {
        let mut bytes = fields(track.namespace());
        bytes.extend_from_slice(&Self::TRACK);
        bytes.extend_from_slice(track.name());
        Self(bytes.into())
    }

    pub(super) fn is_below(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The namespaces that this name lies in, the shortest first, its own included.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let len = self.0.get(at..)?.first_chunk::<2>()?;
            if *len == Self::TRACK {
                return None;
            }
            at += 2 + usize::from(u16::from_be_bytes(*len));
            self.0.get(..at)
        })
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

fn fields(namespace: &TrackNamespace) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(namespace.byte_len() + 2 * namespace.fields().len() + 2);
    for field in namespace.fields() {
        // A namespace has at most 4096 bytes.
        let len = u16::try_from(field.len()).unwrap_or_default();
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// What stands behind one hash.
#[derive(Debug)]
struct Entry {
    namespace: u64,
    name_hash: u64,
    /// None where nobody could read it.
    name: Option<Name>,
    users: u32,
    reported: bool,
}

/// The names of tracks, or of namespaces, that somebody publishes or subscribes to; each kept once.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_hash: BTreeMap<FullNameHash, Entry>,
    by_name: BTreeMap<Name, FullNameHash>,
}

/// Another name has this hash already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Collision {
    /// It was not noticed before.
    pub(super) first: bool,
}

impl Names {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// One more user of a name. Two names with one hash are never mixed: the first one stays as long as it is used.
    pub(super) fn take(&mut self, hash: &TrackHash, name: Option<Name>) -> Result<(), Collision> {
        let entry = self.by_hash.entry(hash.full).or_insert_with(|| Entry {
            namespace: hash.namespace,
            name_hash: hash.name,
            name: None,
            users: 0,
            reported: false,
        });
        let other_name = matches!((&entry.name, &name), (Some(known), Some(name)) if known != name);
        if other_name || (entry.namespace, entry.name_hash) != (hash.namespace, hash.name) {
            let first = !std::mem::replace(&mut entry.reported, true);
            return Err(Collision { first });
        }
        if let Some(name) = name.filter(|_| entry.name.is_none()) {
            self.by_name.insert(name.clone(), hash.full);
            entry.name = Some(name);
        }
        entry.users += 1;
        Ok(())
    }

    /// Somebody wants another name with the hash of this one; whether that is reported for the first time.
    pub(super) fn is_news(&mut self, hash: FullNameHash) -> bool {
        let entry = self.by_hash.get_mut(&hash);
        entry.is_some_and(|entry| !std::mem::replace(&mut entry.reported, true))
    }

    /// One user less.
    pub(super) fn give_back(&mut self, hash: FullNameHash) {
        let Some(entry) = self.by_hash.get_mut(&hash) else {
            return;
        };
        entry.users -= 1;
        if entry.users == 0 {
            if let Some(name) = &entry.name {
                self.by_name.remove(name);
            }
            self.by_hash.remove(&hash);
        }
    }

    pub(super) fn name(&self, hash: FullNameHash) -> Option<&Name> {
        self.by_hash.get(&hash)?.name.as_ref()
    }

    pub(super) fn hash_of(&self, name: &[u8]) -> Option<FullNameHash> {
        self.by_name.get(name).copied()
    }

    pub(super) fn track_hash(&self, hash: FullNameHash) -> Option<TrackHash> {
        let entry = self.by_hash.get(&hash)?;
        Some(TrackHash {
            namespace: entry.namespace,
            name: entry.name_hash,
            full: hash,
        })
    }

    /// Everything in this namespace and below it, with what is wanted of each.
    pub(super) fn below<'a>(&'a self, prefix: &'a Name) -> impl Iterator<Item = FullNameHash> + 'a {
        let start = (Bound::Included(prefix), Bound::Unbounded);
        let all = self.by_name.range::<Name, _>(start);
        all.take_while(move |(name, _)| name.is_below(prefix))
            .map(|(_, hash)| *hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn namespace(text: &str) -> TrackNamespace {
        TrackNamespace::new(
            text.split('/')
                .map(|field| Bytes::copy_from_slice(field.as_bytes())),
        )
        .unwrap()
    }

    fn track(text: &str, name: &'static str) -> FullTrackName {
        FullTrackName::new(namespace(text), Bytes::from_static(name.as_bytes())).unwrap()
    }

    /// laps hashes namespaces without separators, so `a/bc` and `ab/c` collide.
    #[test]
    fn two_names_with_one_hash_are_never_mixed() {
        let mut names = Names::default();
        let (first, second) = (track("a/bc", "v"), track("ab/c", "v"));
        let hash = TrackHash::of(&first);
        assert_eq!(hash, TrackHash::of(&second));
        assert_eq!(names.take(&hash, Some(Name::of(&first))), Ok(()));
        assert_eq!(
            names.take(&hash, Some(Name::of(&second))),
            Err(Collision { first: true })
        );
        assert_eq!(
            names.take(&hash, Some(Name::of(&second))),
            Err(Collision { first: false })
        );
        assert_eq!(names.take(&hash, None), Ok(()));
        names.give_back(hash.full);
        names.give_back(hash.full);
        assert_eq!((names.len(), names.by_name.len()), (0, 0));
        assert_eq!(names.take(&hash, Some(Name::of(&second))), Ok(()));
    }

    /// D14-NS-5
    #[test]
    fn below_a_prefix_are_whole_fields() {
        let mut names = Names::default();
        let mut hashes = Vec::new();
        for track in [
            track("a", "x"),
            track("a/b", "x"),
            track("ax", "x"),
            track("a/b/c", ""),
            track("b", "a"),
        ] {
            names
                .take(&TrackHash::of(&track), Some(Name::of(&track)))
                .unwrap();
            hashes.push(TrackHash::of(&track).full);
        }
        let below = |text| {
            let mut found: Vec<_> = names.below(&Name::of_namespace(&namespace(text))).collect();
            found.sort();
            found
        };
        let sorted = |mut hashes: Vec<FullNameHash>| {
            hashes.sort();
            hashes
        };
        assert_eq!(below("a"), sorted(vec![hashes[0], hashes[1], hashes[3]]));
        assert_eq!(below("a/b"), sorted(vec![hashes[1], hashes[3]]));
        assert_eq!(below("c"), []);
        let name = Name::of(&track("a/b", "x"));
        let prefixes: Vec<_> = name.prefixes().map(<[u8]>::to_vec).collect();
        assert_eq!(prefixes, [fields(&namespace("a")), fields(&namespace("a/b"))]);
    }
}

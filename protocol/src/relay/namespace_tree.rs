//! Who announced what, and who watches what: entries at namespaces, found by prefix.
//!
//! One level per field, so that finding a name costs one step per field (at most 32) whatever else is announced
//! [D14-LIM-5]. Levels are ordered maps: nothing is hashed, and results have one order.
//!
//! The same tree serves both directions of MOQT-14 §6: announced namespaces, asked with a track's namespace
//! ([`NamespaceTree::matches`]) or a watched prefix ([`NamespaceTree::below`]); and watched prefixes, asked with the
//! namespace that was just announced (`matches` again).

use crate::moqt::name::TrackNamespace;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Entries of `owner` and `value` at namespaces; at each namespace an owner has one entry.
#[derive(Debug)]
pub struct NamespaceTree<O, V> {
    root: Node<O, V>,
    /// Where each owner has entries.
    owned: BTreeMap<O, BTreeSet<TrackNamespace>>,
    len: usize,
}

/// One entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a, O, V> {
    /// How many fields its namespace has.
    pub fields: usize,
    /// Whose it is.
    pub owner: &'a O,
    /// What it says.
    pub value: &'a V,
}

#[derive(Debug)]
struct Node<O, V> {
    children: BTreeMap<Bytes, Self>,
    entries: BTreeMap<O, V>,
}

impl<O, V> Default for Node<O, V> {
    fn default() -> Self {
        Self {
            children: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }
}

impl<O, V> Default for NamespaceTree<O, V> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            owned: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<O: Ord + Clone, V> NamespaceTree<O, V> {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many entries `owner` has. MOQT-14 §12.3.1 [D14-LIM-2].
    #[must_use]
    pub fn count(&self, owner: &O) -> usize {
        self.owned.get(owner).map_or(0, BTreeSet::len)
    }

    /// Puts an entry at `namespace` and returns the one that `owner` had there.
    ///
    /// [D14-NS-14]: the same owner's second entry replaces its first; another owner's stands beside it.
    pub fn insert(&mut self, namespace: &TrackNamespace, owner: O, value: V) -> Option<V> {
        let mut node = &mut self.root;
        for field in namespace.fields() {
            node = node.children.entry(field.clone()).or_default();
        }
        let old = node.entries.insert(owner.clone(), value);
        if old.is_none() {
            self.owned.entry(owner).or_default().insert(namespace.clone());
            self.len += 1;
        }
        old
    }

    /// Takes the entry of `owner` at `namespace` out.
    pub fn remove(&mut self, namespace: &TrackNamespace, owner: &O) -> Option<V> {
        let value = self.root.remove(namespace.fields(), owner)?;
        self.len -= 1;
        if let Some(owned) = self.owned.get_mut(owner) {
            owned.remove(namespace);
            if owned.is_empty() {
                self.owned.remove(owner);
            }
        }
        Some(value)
    }

    /// Takes all entries of `owner` out, as when its session is lost. [D14-NS-13]
    pub fn remove_owner(&mut self, owner: &O) -> Vec<(TrackNamespace, V)> {
        let owned = self.owned.remove(owner).unwrap_or_default();
        let mut removed = Vec::with_capacity(owned.len());
        for namespace in owned {
            if let Some(value) = self.root.remove(namespace.fields(), owner) {
                self.len -= 1;
                removed.push((namespace, value));
            }
        }
        removed
    }

    /// The entry of `owner` at `namespace`.
    #[must_use]
    pub fn get(&self, namespace: &TrackNamespace, owner: &O) -> Option<&V> {
        self.node(namespace)?.entries.get(owner)
    }

    /// All entries at namespaces that are equal to `namespace` or a prefix of it, the longest first.
    ///
    /// MOQT-14 §8.4 [D14-NS-5] [D14-NS-6]: whole fields are compared, and all matches count, not only the longest.
    #[must_use]
    pub fn matches(&self, namespace: &TrackNamespace) -> Vec<Entry<'_, O, V>> {
        let path = self.path(namespace);
        let nodes = path.iter().enumerate().rev();
        nodes.flat_map(|(fields, node)| node.entries(fields)).collect()
    }

    /// The nodes from the root towards `namespace`, as far as there are any. [D14-LIM-5]: one for each field, whatever
    /// else there is.
    fn path(&self, namespace: &TrackNamespace) -> Vec<&Node<O, V>> {
        let mut path = vec![&self.root];
        let mut node = &self.root;
        for field in namespace.fields() {
            let Some(child) = node.children.get(field) else {
                break;
            };
            path.push(child);
            node = child;
        }
        path
    }

    /// All entries at namespaces that are equal to `prefix` or extend it, in the order of their namespaces.
    /// MOQT-14 §6.1 [D14-NS-2].
    #[must_use]
    pub fn below(&self, prefix: &TrackNamespace) -> Vec<Entry<'_, O, V>> {
        let mut found = Vec::new();
        if let Some(node) = self.node(prefix) {
            node.collect(prefix.fields().len(), &mut found);
        }
        found
    }

    /// All entries, in the order of their namespaces.
    #[must_use]
    pub fn all(&self) -> Vec<Entry<'_, O, V>> {
        let mut found = Vec::with_capacity(self.len);
        self.root.collect(0, &mut found);
        found
    }

    /// True when `owner` has an entry at `prefix`, at a prefix of it, or below it. MOQT-14 §9.28 [D14-NS-4].
    #[must_use]
    pub fn overlaps(&self, prefix: &TrackNamespace, owner: &O) -> bool {
        let Some(owned) = self.owned.get(owner) else {
            return false;
        };
        // What extends a namespace follows it in order without a gap.
        let below = owned
            .range(prefix..)
            .next()
            .is_some_and(|first| prefix.is_prefix_of(first));
        below || self.matches(prefix).iter().any(|entry| entry.owner == owner)
    }

    fn node(&self, namespace: &TrackNamespace) -> Option<&Node<O, V>> {
        let mut fields = namespace.fields().iter();
        fields.try_fold(&self.root, |node, field| node.children.get(field))
    }
}

impl<O: Ord, V> Node<O, V> {
    fn entries(&self, fields: usize) -> impl Iterator<Item = Entry<'_, O, V>> {
        let entry = move |(owner, value)| Entry { fields, owner, value };
        self.entries.iter().map(entry)
    }

    /// Recursion is as deep as a namespace has fields: 32 at most.
    fn collect<'a>(&'a self, fields: usize, found: &mut Vec<Entry<'a, O, V>>) {
        found.extend(self.entries(fields));
        for child in self.children.values() {
            child.collect(fields + 1, found);
        }
    }

    /// Removes and prunes what is empty then. Recursion as in `collect`.
    fn remove(&mut self, fields: &[Bytes], owner: &O) -> Option<V> {
        let Some((field, rest)) = fields.split_first() else {
            return self.entries.remove(owner);
        };
        let child = self.children.get_mut(field)?;
        let value = child.remove(rest, owner)?;
        if child.children.is_empty() && child.entries.is_empty() {
            self.children.remove(field);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ns(text: &str) -> TrackNamespace {
        let fields = text
            .split('/')
            .map(|field| Bytes::copy_from_slice(field.as_bytes()));
        TrackNamespace::new(fields).unwrap()
    }

    fn values<O, V: Copy>(found: &[Entry<'_, O, V>]) -> Vec<V> {
        found.iter().map(|entry| *entry.value).collect()
    }

    /// D14-NS-5 D14-NS-6
    #[test]
    fn all_prefixes_match_and_the_longest_comes_first() {
        // MOQT-14 §8.4 [D14-NS-5] [D14-NS-6]
        let mut tree = NamespaceTree::new();
        for (owner, namespace) in [
            (1, "a"),
            (2, "a/b"),
            (3, "a/b"),
            (4, "a/b/c"),
            (5, "a/bc"),
            (6, "b"),
        ] {
            assert_eq!(tree.insert(&ns(namespace), owner, owner * 10), None);
        }
        for (asked, found) in [
            ("a/b/c/d", vec![40, 20, 30, 10]),
            ("a/b", vec![20, 30, 10]),
            ("a/bcd", vec![10]),
            ("ab", vec![]),
            ("b/a", vec![60]),
        ] {
            assert_eq!(values(&tree.matches(&ns(asked))), found, "{asked}");
        }
        assert_eq!(tree.matches(&ns("a/b"))[0].fields, 2);
    }

    proptest! {
        /// D14-LIM-5: a name costs a node for each of its fields, 32 at most, in a tree that is made to have as many
        /// names as can be that agree with it for long.
        #[test]
        fn matching_costs_one_step_for_each_field(
            depth in 1usize..=32,
            bushes in proptest::collection::vec((0usize..32, 0u16..50), 0..400),
        ) {
            let field = |text: &str| Bytes::copy_from_slice(text.as_bytes());
            let long: Vec<_> = (0..32).map(|_| field("a")).collect();
            let mut tree = NamespaceTree::new();
            tree.insert(&TrackNamespace::new(long.clone()).unwrap(), 0, ());
            for (owner, (fields, leaf)) in bushes.iter().enumerate() {
                let mut name = long[..*fields].to_vec();
                name.push(field(&format!("b{leaf}")));
                tree.insert(&TrackNamespace::new(name).unwrap(), owner + 1, ());
            }
            let asked = TrackNamespace::new(long[..depth].to_vec()).unwrap();
            prop_assert_eq!(tree.path(&asked).len(), depth + 1);
            let mut beside = long[..depth - 1].to_vec();
            beside.push(field("c"));
            let beside = TrackNamespace::new(beside).unwrap();
            prop_assert_eq!(tree.path(&beside).len(), depth);
        }
    }

    /// D14-NS-2
    #[test]
    fn what_lies_below_a_prefix() {
        // MOQT-14 §6.1 [D14-NS-2]
        let mut tree = NamespaceTree::new();
        for (owner, namespace) in [(1, "a/x/y"), (2, "a"), (3, "a/b"), (4, "ab")] {
            tree.insert(&ns(namespace), owner, owner);
        }
        assert_eq!(values(&tree.below(&ns("a"))), [2, 3, 1]);
        assert_eq!(values(&tree.below(&ns("a/x"))), [1]);
        assert_eq!(values(&tree.below(&ns("z"))), [0; 0]);
    }

    /// D14-NS-14
    #[test]
    fn one_entry_per_owner_and_namespace() {
        // [D14-NS-14]
        let mut tree = NamespaceTree::new();
        assert_eq!(tree.insert(&ns("a"), 1, 'x'), None);
        assert_eq!(tree.insert(&ns("a"), 1, 'y'), Some('x'));
        assert_eq!(tree.insert(&ns("a"), 2, 'z'), None);
        assert_eq!(
            (tree.len(), tree.count(&1), tree.get(&ns("a"), &1)),
            (2, 1, Some(&'y'))
        );
        assert_eq!(tree.remove(&ns("a"), &1), Some('y'));
        assert_eq!(tree.remove(&ns("a"), &1), None);
        assert_eq!(values(&tree.matches(&ns("a"))), ['z']);
    }

    /// D14-NS-13
    #[test]
    fn a_lost_owner_leaves_nothing_behind() {
        // [D14-NS-13]
        let mut tree = NamespaceTree::new();
        for namespace in ["a", "a/b", "c/d/e"] {
            tree.insert(&ns(namespace), 1, ());
        }
        tree.insert(&ns("a/b"), 2, ());
        assert_eq!(
            tree.remove_owner(&1),
            [(ns("a"), ()), (ns("a/b"), ()), (ns("c/d/e"), ())]
        );
        assert_eq!((tree.len(), tree.count(&1)), (1, 0));
        assert_eq!(tree.remove(&ns("a/b"), &2), Some(()));
        assert!(tree.is_empty() && tree.root.children.is_empty() && tree.owned.is_empty());
    }

    /// D14-NS-4
    #[test]
    fn overlap_is_equal_above_or_below() {
        // MOQT-14 §9.28 [D14-NS-4]
        let mut tree = NamespaceTree::new();
        tree.insert(&ns("a/b"), 1, ());
        for (prefix, overlaps) in [
            ("a", true),
            ("a/b", true),
            ("a/b/c", true),
            ("a/c", false),
            ("a/bb", false),
        ] {
            assert_eq!(tree.overlaps(&ns(prefix), &1), overlaps, "{prefix}");
            assert!(!tree.overlaps(&ns(prefix), &2));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_comparing_every_entry(
            steps in prop::collection::vec((any::<bool>(), 0u8..3, prop::collection::vec(0u8..3, 1..5)), 0..60),
            asked in prop::collection::vec(0u8..3, 1..6),
        ) {
            let name = |fields: &[u8]| {
                TrackNamespace::new(fields.iter().map(|&field| Bytes::copy_from_slice(&[field]))).unwrap()
            };
            let (mut tree, mut model) = (NamespaceTree::new(), BTreeMap::new());
            for (step, (insert, owner, fields)) in steps.iter().enumerate() {
                let namespace = name(fields);
                if *insert {
                    prop_assert_eq!(tree.insert(&namespace, *owner, step), model.insert((namespace, *owner), step));
                } else {
                    prop_assert_eq!(tree.remove(&namespace, owner), model.remove(&(namespace, *owner)));
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            let asked = name(&asked);
            let sorted = |mut values: Vec<usize>| { values.sort_unstable(); values };
            let model = |pass: &dyn Fn(&TrackNamespace) -> bool| {
                sorted(model.iter().filter(|((namespace, _), _)| pass(namespace)).map(|(_, &step)| step).collect())
            };
            prop_assert_eq!(sorted(values(&tree.matches(&asked))), model(&|namespace| namespace.is_prefix_of(&asked)));
            prop_assert_eq!(sorted(values(&tree.below(&asked))), model(&|namespace| asked.is_prefix_of(namespace)));
        }
    }
}

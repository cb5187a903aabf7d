//! Lists of nodes in ascending order, as routes have them: compared in one walk, and not each with each. A set may name
//! thousands, and this thread answers for the links too.

use std::collections::{BTreeMap, BTreeSet};

/// Whether it is among those of the list.
pub(super) fn has<T: Ord>(list: &[T], one: &T) -> bool {
    list.binary_search(one).is_ok()
}

/// Those of a list that are not in another one.
pub(super) fn without<'a, T: Ord + Copy>(list: &'a [T], others: &'a [T]) -> impl Iterator<Item = T> + 'a {
    let mut others = others.iter().peekable();
    list.iter().copied().filter(move |one| {
        while others.next_if(|other| *other < one).is_some() {}
        others.peek().is_none_or(|other| *other != one)
    })
}

/// The keys of a table that are in a set: as quick as the smaller of both is small.
pub(super) fn of_both<K: Ord + Copy, V>(table: &BTreeMap<K, V>, set: &BTreeSet<K>) -> Vec<K> {
    if table.len() < set.len() {
        let keys = table.keys().copied();
        keys.filter(|key| set.contains(key)).collect()
    } else {
        let keys = set.iter().copied();
        keys.filter(|key| table.contains_key(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::cmp::Ordering;

    thread_local! {
        static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// A number that counts how often it is compared.
    #[derive(Clone, Copy, Debug)]
    struct Number(u64);

    impl Ord for Number {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Number {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Number {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Number {}

    /// How often numbers are compared for that.
    fn compared(work: impl FnOnce()) -> u64 {
        let before = COMPARED.get();
        work();
        COMPARED.get() - before
    }

    #[test]
    fn what_is_left_is_what_the_other_list_lacks() {
        let lists: [&[u64]; 7] = [
            &[],
            &[1],
            &[2],
            &[1, 2],
            &[2, 3, 7],
            &[1, 4, 7, 9],
            &[1, 2, 3, 4, 9],
        ];
        for (list, others) in lists.iter().flat_map(|list| lists.map(|others| (*list, others))) {
            let left: Vec<_> = list.iter().copied().filter(|one| !others.contains(one)).collect();
            assert_eq!(
                without(list, others).collect::<Vec<_>>(),
                left,
                "{list:?} {others:?}"
            );
            let both: Vec<_> = list.iter().copied().filter(|one| others.contains(one)).collect();
            let table = list.iter().map(|one| (*one, ())).collect();
            assert_eq!(of_both(&table, &others.iter().copied().collect()), both);
            assert!(list.iter().all(|one| has(others, one) == others.contains(one)));
        }
    }

    /// As many comparisons as there are nodes, a few times.
    #[test]
    fn ten_thousand_nodes_are_compared_in_one_walk() {
        let all: Vec<_> = (0..10_000).map(Number).collect();
        let most = all.len() as u64 * 5;
        for others in [&all[..], &all[1..], &all[..9_999], &all[5_000..], &[]] {
            let count = compared(|| drop(without(&all, others).collect::<Vec<_>>()));
            assert!(count <= most, "{count} for {}", others.len());
            let count = compared(|| drop(without(others, &all).collect::<Vec<_>>()));
            assert!(count <= most, "{count} for {}", others.len());
        }
        assert!(compared(|| assert!(has(&all, &Number(77)))) < 40);
    }

    /// Whoever names many nodes makes nobody look for all of them in each table.
    #[test]
    fn many_names_cost_nothing_where_few_are_known() {
        let names: BTreeSet<_> = (0..16_384).map(Number).collect();
        let table: BTreeMap<_, _> = [(Number(3), ()), (Number(20_000), ())].into();
        assert!(compared(|| assert_eq!(of_both(&table, &names).len(), 1)) < 200);
        let (names, table) = ([Number(3)].into(), names.iter().map(|name| (*name, ())).collect());
        assert!(compared(|| assert_eq!(of_both(&table, &names).len(), 1)) < 200);
    }
}

use super::*;
use proptest::prelude::*;
const R: fn(u64) -> RequestId = RequestId;

fn told(names: &[&'static str]) -> Told<&'static str> {
    let mut told = Told::new();
    for (n, name) in (0..).zip(names) {
        told.now(*name, Some(0));
        assert_eq!(told.next(true), Some(Due::Tell(*name, 0)));
        told.said(name, 0, R(n));
    }
    told
}

/// D14-NS-2 D14-NS-14
#[test]
fn a_name_is_told_once_and_its_end_once() {
    let mut told = told(&["a"]);
    told.now("a", Some(0));
    assert_eq!(told.next(true), None, "a second announcer is no news");
    told.now("a", None);
    assert_eq!(told.next(true), Some(Due::Withdraw("a", R(0))));
    assert_eq!(told.next(true), None);
    assert!(told.is_empty());
}

/// D14-LIM-3
#[test]
fn changes_while_nothing_can_be_said_collapse() {
    let mut told = told(&["a"]);
    for _ in 0..1000 {
        for (name, life) in [("a", None), ("b", Some(0)), ("a", Some(0)), ("b", None)] {
            told.now(name, life);
        }
    }
    assert_eq!(told.len(), (2, 2));
    assert_eq!(told.next(true), None);
    assert_eq!(told.len(), (1, 0));
}

/// D14-NS-9
#[test]
fn what_is_refused_is_not_repeated_and_not_ended() {
    let mut told = told(&["a"]);
    assert_eq!(told.refused(R(0)), Some("a"));
    assert_eq!(told.refused(R(0)), None);
    told.now("a", Some(0));
    told.now("a", None);
    assert_eq!(told.next(true), None);
    // Gone and there again, it is news again.
    told.now("a", Some(0));
    assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
}

#[test]
fn a_next_life_ends_the_one_before() {
    let mut told = told(&["t"]);
    told.now("t", Some(7));
    assert_eq!(told.next(true), Some(Due::Withdraw("t", R(0))));
    assert_eq!(told.next(true), Some(Due::Tell("t", 7)));
    // It ends while it is being asked for what to say.
    told.now("t", Some(8));
    assert!(!told.is_wanted(&"t", 7));
    assert_eq!(told.next(true), Some(Due::Tell("t", 8)));
    assert!(told.is_wanted(&"t", 8));
    told.declined(&"t", 8);
    told.now("t", Some(8));
    assert_eq!(told.next(true), None);
}

/// D14-NS-2 D14-NS-10
#[test]
fn what_was_said_before_is_known_when_it_is_watched_again() {
    let mut told = told(&["a", "b"]);
    told.mute(&"", |_| true);
    assert_eq!(told.next(true), None, "nothing is said while nobody looks");
    told.now("a", Some(0));
    told.now("c", Some(0));
    told.complete(&"", |_| true);
    assert_eq!(told.next(true), Some(Due::Withdraw("b", R(1))));
    assert_eq!(told.next(true), Some(Due::Tell("c", 0)));
    assert_eq!(told.next(true), None);
}

/// D14-NS-9
#[test]
fn what_was_refused_stays_so_when_all_is_given_anew() {
    let mut told = told(&["a", "b", "c"]);
    assert_eq!(told.refused(R(0)), Some("a"));
    told.anew(&"", |_| true);
    // Its refusal crosses what is given.
    assert_eq!(told.refused(R(1)), Some("b"));
    for name in ["a", "b", "d"] {
        told.now(name, Some(0));
    }
    // Another prefix is not watched any more meanwhile.
    told.trim(0);
    assert_eq!(told.next(true), Some(Due::Tell("d", 0)), "nothing else is known");
    told.complete(&"", |_| true);
    assert_eq!(told.next(true), Some(Due::Withdraw("c", R(2))));
    assert_eq!(told.next(true), None);
    // What was refused and is not there any more is forgotten.
    told.anew(&"", |_| true);
    told.complete(&"", |_| true);
    told.now("a", Some(0));
    assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
    assert_eq!(told.len(), (2, 0));
}

#[test]
fn what_nobody_looks_at_is_bounded() {
    let mut told = told(&["a", "b", "c"]);
    told.mute(&"", |_| true);
    told.trim(2);
    assert_eq!(told.next(true), Some(Due::Withdraw("c", R(2))));
    assert_eq!((told.next(true), told.len()), (None, (2, 0)));
}

/// D14-REQ-5
#[test]
fn an_end_does_not_wait_for_leave_to_tell() {
    let mut told = told(&["a"]);
    for (name, life) in [("b", Some(0)), ("a", None)] {
        told.now(name, life);
    }
    assert_eq!(told.next(false), Some(Due::Withdraw("a", R(0))));
    assert_eq!(told.next(false), None);
    assert_eq!(told.next(true), Some(Due::Tell("b", 0)));
}

#[test]
fn what_could_not_be_said_is_next() {
    let mut told = Told::new();
    for name in ["a", "b"] {
        told.now(name, Some(0));
    }
    assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
    told.put_back(&"a");
    assert_eq!(told.next(true), Some(Due::Tell("a", 0)));
}

proptest! {
    /// D14-NS-2 D14-LIM-3: whatever happens in between, the peer knows in the end what there is, by messages that
    /// make sense to it, and no more is kept than there are names.
    #[test]
    fn the_peer_ends_up_knowing_what_there_is(steps in proptest::collection::vec((0u8..7, 0u8..4, any::<bool>()), 0..200), tracks: bool) {
        let mut told: Told<u8> = Told::new();
        let (mut there, mut peer) = (BTreeMap::new(), BTreeMap::new());
        let (mut refused, mut saying) = (BTreeMap::new(), Vec::new());
        let mut request = 0;
        let hear = |due: Due<u8>, peer: &mut BTreeMap<u8, (u64, u64)>| match due {
            Due::Tell(name, life) => Some((name, life)),
            Due::Withdraw(name, id) => {
                assert_eq!(peer.remove(&name).map(|(_, known)| R(known)), Some(id));
                None
            }
        };
        for (n, (what, name, yes)) in (1..).zip(steps) {
            match what {
                0 | 1 => {
                    // Lives of tracks do not come back; a namespace has one.
                    let life = yes.then_some(if tracks { n } else { 0 });
                    told.now(name, life);
                    match life {
                        Some(life) => there.insert(name, life),
                        None => there.remove(&name),
                    };
                    if refused.get(&name) != there.get(&name) {
                        refused.remove(&name);
                    }
                }
                2 => saying.extend(told.next(yes).and_then(|due| hear(due, &mut peer))),
                3 => if let Some((name, life)) = saying.pop() && told.is_wanted(&name, life) {
                    request += 1;
                    told.said(&name, life, R(request));
                    prop_assert_eq!(peer.insert(name, (life, request)), None);
                }
                4 => if let Some((life, id)) = peer.get(&name).copied().filter(|_| tracks) {
                    told.refused(R(id));
                    peer.remove(&name);
                    if there.get(&name) == Some(&life) {
                        refused.insert(name, life);
                    }
                }
                5 => if let Some((name, life)) = saying.pop() && told.is_wanted(&name, life) {
                    told.put_back(&name);
                }
                _ => {
                    told.anew(&0, |_| true);
                    for (name, life) in &there {
                        told.now(*name, Some(*life));
                        if yes {
                            saying.extend(told.next(true).and_then(|due| hear(due, &mut peer)));
                        }
                    }
                    told.complete(&0, |_| true);
                }
            }
            prop_assert!(told.len().0 <= 4 && told.len().1 <= 4);
        }
        loop {
            saying.extend(told.next(true).and_then(|due| hear(due, &mut peer)));
            let Some((name, life)) = saying.pop() else {
                if told.len().1 == 0 { break; }
                continue;
            };
            if told.is_wanted(&name, life) {
                request += 1;
                told.said(&name, life, R(request));
                prop_assert_eq!(peer.insert(name, (life, request)), None);
            }
        }
        there.retain(|name, life| refused.get(name) != Some(life));
        let known: BTreeMap<u8, u64> = peer.into_iter().map(|(name, (life, _))| (name, life)).collect();
        prop_assert_eq!(known, there);
    }
}

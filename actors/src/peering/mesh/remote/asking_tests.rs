//! The merged wish, told step by step.

use super::*;
use laps_protocol::moqt::message::{GroupOrderRequest, SubscribeFilter};
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::peering::message::parse_subscribe_data;

const EPOCH: u64 = 1_000;
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn track(name: &'static str) -> FullTrackName {
    let namespace = TrackNamespace::new([Bytes::from_static(b"live")]).unwrap();
    FullTrackName::new(namespace, Bytes::from_static(name.as_bytes())).unwrap()
}

fn hash(name: &'static str) -> FullNameHash {
    TrackHash::of(&track(name)).full
}

const fn wish(forward: bool, priority: u8) -> Wish {
    Wish {
        forward,
        priority,
        group_order: GroupOrderRequest::Publisher,
        filter: SubscribeFilter::LargestObject,
    }
}

/// The one SUBSCRIBE that is said.
fn said(asking: &mut Asking) -> (RequestId, Subscribe) {
    match asking.flush().as_slice() {
        [
            Said::Command {
                command: Command::Subscribe { data, .. },
                ..
            },
        ] => parse_subscribe_data(Dialect::Laps14, data).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Decision 0029: a SUBSCRIBE_INFO is one for each relay and track, not for each publisher.
#[test]
fn two_nodes_are_asked_by_one_subscribe() {
    let mut asking = Asking::new(EPOCH);
    assert!(asking.wish(&track("video"), A, wish(false, 200), true, None));
    assert!(asking.wish(&track("video"), B, wish(true, 100), true, None));
    let (number, subscribe) = said(&mut asking);
    assert!(number.0 > EPOCH);
    assert_eq!((subscribe.priority, subscribe.forward), (100, true));
    assert!(asking.is_answer(hash("video"), A, number) && asking.is_answer(hash("video"), B, number));
    // The same for each of them is nothing new.
    assert!(asking.wish(&track("video"), A, wish(false, 200), false, None));
    assert_eq!(asking.flush(), []);
    // What one of them does not want any more is a change under the same number.
    asking.drop_part(hash("video"), B);
    let (same, subscribe) = said(&mut asking);
    assert_eq!(
        (same, subscribe.priority, subscribe.forward),
        (number, 200, false)
    );
    assert!(!asking.is_answer(hash("video"), B, number));
    asking.drop_part(hash("video"), A);
    let over = Said::Command {
        track: hash("video"),
        command: Command::Unsubscribe(track("video")),
    };
    assert_eq!((asking.flush(), asking.len()), (vec![over], 0));
}

/// Decision 0029: who is asked again answers again, and what it said before is no answer to that.
#[test]
fn an_answer_is_to_what_was_asked_last() {
    let mut asking = Asking::new(EPOCH);
    asking.wish(&track("video"), A, wish(true, 1), true, None);
    let (first, _) = said(&mut asking);
    asking.wish(&track("video"), B, wish(true, 1), true, None);
    let (second, _) = said(&mut asking);
    assert!(second > first);
    // A was not asked again: both are answers of it.
    assert!(asking.is_answer(hash("video"), A, first) && asking.is_answer(hash("video"), A, second));
    assert!(!asking.is_answer(hash("video"), B, first) && asking.is_answer(hash("video"), B, second));
    asking.drop_part(hash("video"), A);
    asking.wish(&track("video"), A, wish(true, 1), true, None);
    let (third, _) = said(&mut asking);
    assert!(!asking.is_answer(hash("video"), A, second) && asking.is_answer(hash("video"), A, third));
    assert!(!asking.is_answer(hash("audio"), A, third));
}

/// D14-SUB-29: each wish for a new group is told, once.
#[test]
fn a_new_group_is_asked_for_once() {
    let mut asking = Asking::new(EPOCH);
    asking.wish(&track("video"), A, wish(true, 1), true, Some(0));
    let (first, subscribe) = said(&mut asking);
    assert_eq!(subscribe.params.new_group_request, Some(0));
    asking.wish(&track("video"), A, wish(true, 1), false, Some(0));
    let (second, subscribe) = said(&mut asking);
    assert!(second > first, "the same value is asked for again");
    assert_eq!(subscribe.params.new_group_request, Some(0));
    asking.wish(&track("video"), A, wish(false, 1), false, None);
    let (same, subscribe) = said(&mut asking);
    assert_eq!((same, subscribe.params.new_group_request), (second, None));
}

/// A mesh that begins anew is told everything again, and what changed before it was told is told as it is now.
#[test]
fn new_bases_are_told_everything() {
    let mut asking = Asking::new(EPOCH);
    asking.wish(&track("video"), A, wish(true, 1), true, None);
    asking.wish(&track("audio"), A, wish(true, 1), true, None);
    assert_eq!(asking.flush().len(), 2);
    asking.forget_told();
    asking.drop_node(A);
    assert_eq!(asking.flush(), [], "nobody knows of them");
    asking.wish(&track("video"), B, wish(true, 1), true, None);
    let (number, _) = said(&mut asking);
    asking.forget_told();
    assert_eq!(said(&mut asking).0, number);
}

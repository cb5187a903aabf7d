//! Links for data one way. Decision 0042.

use super::fake::{DEADLINE, FakeConn, Made, Net, Plan, id, keep_alive, plan, start};
use super::quic::Lines;
use super::{run, secs};
use crate::peering::link::{LinkConn, Reached};
use bytes::BytesMut;
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::message::{ConnectResponse, Dialect, HEADER_BYTES, Message, Sequence, Stamp};
use laps_protocol::peering::node::{NodeInfo, NodeType};
use slog::{Logger, o};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;

fn one_way() -> Plan {
    Plan {
        targets: vec![("b".parse().unwrap(), 3)],
        one_way: true,
        ..plan(1, &[])
    }
}

/// Decision 0042: data of who dials takes all of them, that of its peer the one for everything. What comes the wrong way ends
/// the link that it came by.
#[test]
fn links_one_way_carry_data_of_who_dials() {
    run(async {
        let net = Rc::new(Net::default());
        let mut a = start(&net, "a", one_way());
        let mut b = start(&net, "b", plan(2, &[]));
        let all = a.fib.wait_for(|fib| fib.links(id(2)).len() == 3);
        tokio::time::timeout(DEADLINE, all).await.unwrap().unwrap();
        b.reaches(1, Some(1)).await;
        sleep(secs(30)).await;
        assert_eq!((b.fib.borrow().links(id(1)).len(), net.up().len()), (1, 3));
        let both: Vec<_> = a.fib.borrow().links(id(2)).to_vec();
        for made in net.up() {
            made.wire.data[0].notify_one();
        }
        sleep(secs(1)).await;
        assert_eq!(net.up().len(), 3, "that is their way");
        // Which of them is the one for everything is not seen from outside: the peer may send by that one.
        for made in net.up() {
            made.wire.data[1].notify_one();
        }
        let gone = a.fib.wait_for(|fib| fib.links(id(2)).len() == 1);
        tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap();
        assert!(
            both.contains(&a.fib.borrow().links(id(2))[0]),
            "it stands as before"
        );
        let over = |made: &Rc<Made>| *made.wire.over.borrow();
        let ends: Vec<_> = net.made.borrow().iter().take(3).filter_map(over).collect();
        let codes: Vec<_> = ends.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [ErrorCode::InvalidStartOfStream.number(); 2]);
    });
}

/// laps peering, "(2) Data Peering", as its drawing has it: two links from the first to the second, one back, and both ways with
/// the third. Beside each pair's link for everything.
#[test]
fn each_dials_as_it_likes() {
    run(async {
        let net = Rc::new(Net::default());
        let dials = |low, target: &str, links, one_way| Plan {
            targets: vec![(target.parse().unwrap(), links)],
            one_way,
            ..plan(low, &[])
        };
        let first = start(&net, "a", dials(1, "b", 3, true));
        let second = start(&net, "b", dials(2, "a", 2, true));
        let third = start(&net, "c", dials(3, "a", 2, false));
        for (relay, node, links) in [(&first, 2, 3), (&second, 1, 2), (&first, 3, 2), (&third, 1, 2)] {
            let mut fib = relay.fib.clone();
            let all = fib.wait_for(|fib| fib.links(id(node)).len() == links);
            tokio::time::timeout(DEADLINE, all).await.unwrap().unwrap();
        }
        sleep(secs(30)).await;
        assert_eq!(net.up().len(), 3 + 1 + 2);
        assert_eq!(second.fib.borrow().links(id(1)).len(), 2);
    });
}

/// Takes what is dialled, and as a relay from before decision 0042 does if it is `old`: that cannot read a CONNECT for one way.
async fn plays_a_relay(mut reached: Reached<FakeConn>, old: bool) {
    // Before it there are the header and the stamp.
    const MODE_AT: usize = HEADER_BYTES + 12;
    let (mut pen, mut ear) = reached.door.accept().await.unwrap();
    let connect = ear.read().await.unwrap().unwrap();
    if old && connect[MODE_AT] > 2 {
        let code = ErrorCode::InvalidEncoding;
        reached.conn.close(code.number(), code.name());
        return;
    }
    actix_rt::spawn(keep_alive(Arc::clone(&reached.conn.wire)));
    // When that one stands, what is told of the peer is news again.
    sleep(secs(2)).await;
    let node = NodeInfo::new(id(2), NodeType::Edge, Default::default());
    let stamp = Stamp {
        epoch: 5,
        sequence: Sequence::default(),
    };
    let mut answer = BytesMut::new();
    let accepted = Message::ConnectResponse(ConnectResponse::Accepted(node)).stamped(stamp);
    accepted.encode(Dialect::Own, &mut answer).unwrap();
    assert!(pen.write(answer.freeze(), false).await);
    while let Ok(Some(_)) = ear.read().await {}
}

/// It goes without them: that is told once, and they are dialled no more often than a peer that is not there.
#[test]
fn an_older_relay_takes_none_of_them() {
    for insecure in [false, true] {
        goes_without(insecure);
    }
}

fn goes_without(insecure: bool) {
    run(async move {
        let net = Rc::new(Net::default());
        net.insecure.set(insecure);
        let old = plays(&net);
        let _b = start(&net, "b", plan(2, &[]));
        let (told, mut lines) = telling();
        let mut a = start(&net, "a", told);
        a.reaches(2, Some(2)).await;
        sleep(secs(600)).await;
        assert_eq!((a.fib.borrow().links(id(2)).len(), net.up().len()), (1, 1));
        // 1 s, 2 s, 4 s and so on until each minute, half of it left to chance, for each of the two.
        let dials = net.dials.get();
        assert!((20..=60).contains(&dials), "{dials}");
        assert_eq!(news(&mut lines), [1, 0]);
        // It is replaced by a newer one, and that by the older one again, which is told as it was the first time.
        old.set(false);
        let all = a.fib.wait_for(|fib| fib.links(id(2)).len() == 3);
        tokio::time::timeout(DEADLINE, all).await.unwrap().unwrap();
        old.set(true);
        for made in net.up() {
            made.wire.over.send_replace(Some((0, "bye")));
        }
        sleep(secs(600)).await;
        assert_eq!(a.fib.borrow().links(id(2)).len(), 1);
        assert_eq!(news(&mut lines)[0], 1);
    });
}

/// How often it was told that the peer knows no links one way, and that a connection is over.
fn news(lines: &mut mpsc::UnboundedReceiver<String>) -> [usize; 2] {
    let mut counts = [0; 2];
    while let Ok(line) = lines.try_recv() {
        let words = [
            "the peer knows no links for data one way",
            "the connection of the link is over",
        ];
        for (count, words) in counts.iter_mut().zip(words) {
            *count += usize::from(line.contains(words));
        }
    }
    counts
}

/// A relay with links one way, and what it logs.
fn telling() -> (Plan, mpsc::UnboundedReceiver<String>) {
    let (tells, lines) = mpsc::unbounded_channel();
    let log = Logger::root(Lines(tells), o!());
    (Plan { log, ..one_way() }, lines)
}

/// Plays all that is dialled: an old relay, for as long as that is true.
fn plays(net: &Net) -> Rc<Cell<bool>> {
    let (plays, mut dialled) = mpsc::unbounded_channel();
    net.played.replace(Some(plays));
    let old = Rc::new(Cell::new(true));
    let is_old = Rc::clone(&old);
    actix_rt::spawn(async move {
        while let Some(reached) = dialled.recv().await {
            actix_rt::spawn(plays_a_relay(reached, is_old.get()));
        }
    });
    old
}

//! A relay that is about to end.

use super::fake::{DEADLINE, Net, Relay, id, plan, start};
use super::{run, secs};
use crate::peering::{EndPeering, LeavePeering, LinksFree, TakeCounters};
use crate::supervise::mailbox::{ask, signal};
use actix::{Actor, Context, Handler};
use laps_protocol::peering::error::ErrorCode;
use std::rc::Rc;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Who waits for the links.
struct Waits(mpsc::UnboundedSender<()>);

impl Actor for Waits {
    type Context = Context<Self>;
}

impl Handler<LinksFree> for Waits {
    type Result = ();
    fn handle(&mut self, _: LinksFree, _: &mut Self::Context) {
        self.0.send(()).ok();
    }
}

/// Asks a relay to leave; gives who hears that its links are free.
fn leave(relay: &Relay) -> mpsc::UnboundedReceiver<()> {
    let (tell, told) = mpsc::unbounded_channel();
    signal(&relay.peering, LeavePeering(Waits(tell).start().recipient()));
    told
}

/// Issue 6, "Failover": ways lead around it while its links stand, and nobody gets a new one.
#[test]
fn ways_lead_around_who_leaves() {
    run(async {
        let net = Rc::new(Net::default());
        let mut a = start(&net, "a", plan(1, &["v", "w"]));
        let v = start(&net, "v", plan(2, &["d"]));
        let mut w = start(&net, "w", plan(3, &["d"]));
        let mut d = start(&net, "d", plan(4, &[]));
        w.reaches(4, Some(4)).await;
        w.reaches(1, Some(1)).await;
        a.reaches(4, Some(2)).await;
        d.reaches(1, Some(2)).await;
        let mut free = leave(&v);
        a.reaches(4, Some(3)).await;
        d.reaches(1, Some(3)).await;
        assert_eq!(net.up().len(), 4, "what is open goes on");
        // It is reached itself, and asked again it answers again.
        assert_eq!(a.fib.borrow().next_node(id(2)), Some(id(2)));
        for _ in 0..2 {
            let told = tokio::time::timeout(DEADLINE, free.recv()).await;
            told.unwrap().unwrap();
            assert!(free.try_recv().is_err());
            free = leave(&v);
        }
        let _late = start(&net, "late", plan(5, &["v"]));
        net.until_made(5).await;
        assert_eq!(net.last_end().await.0, ErrorCode::Close.number());
        let counters = ask(&v.peering, TakeCounters, DEADLINE).await.unwrap();
        assert_eq!(counters.turned_away, 1);
    });
}

/// A way that no other can replace stays until the links end.
#[test]
fn the_only_way_stays() {
    run(async {
        let net = Rc::new(Net::default());
        let mut a = start(&net, "a", plan(1, &["v"]));
        let v = start(&net, "v", plan(2, &["d"]));
        let _d = start(&net, "d", plan(4, &[]));
        a.reaches(4, Some(2)).await;
        let mut free = leave(&v);
        free.recv().await.unwrap();
        sleep(secs(5)).await;
        a.reaches(4, Some(2)).await;
        // Nobody dials on its behalf any more either.
        for made in net.up() {
            made.wire.over.send_replace(Some((0, "cut")));
        }
        a.reaches(4, None).await;
        net.until_made(3).await;
        sleep(secs(5)).await;
        let made = net.made.borrow();
        assert!(made[2..].iter().all(|made| made.dialler == id(1)));
    });
}

/// A relay that says that it ends, and does, is no link that flaps, however often it is started anew. Decision 0037
#[test]
fn who_leaves_is_not_kept_away() {
    run(async {
        let net = Rc::new(Net::default());
        let mut a = start(&net, "a", plan(1, &[]));
        for life in 0..8 {
            let mut v = start(&net, "v", plan(2, &["a"]));
            a.reaches(2, Some(2)).await;
            v.reaches(1, Some(1)).await;
            leave(&v).recv().await.unwrap();
            signal(&v.peering, EndPeering);
            a.reaches(2, None).await;
            let counters = ask(&a.peering, TakeCounters, DEADLINE).await.unwrap();
            assert_eq!((counters.lost, counters.refused), (0, 0), "life {life}");
        }
        // One that goes without a word is lost each time, and the fourth is turned away.
        for life in 1..=3 {
            let v = start(&net, "v", plan(2, &["a"]));
            a.reaches(2, Some(2)).await;
            signal(&v.peering, EndPeering);
            a.reaches(2, None).await;
            let counters = ask(&a.peering, TakeCounters, DEADLINE).await.unwrap();
            assert_eq!(counters.lost, life);
        }
        let _v = start(&net, "v", plan(2, &["a"]));
        net.until_made(12).await;
        net.last_end().await;
        let counters = ask(&a.peering, TakeCounters, DEADLINE).await.unwrap();
        assert_eq!((counters.lost, counters.refused), (3, 1));
    });
}

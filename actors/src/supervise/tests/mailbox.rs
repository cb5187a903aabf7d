//! The four verbs: what they deliver, what they refuse, what they count.

use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::counters::snapshot;
use super::super::mailbox::{AskError, Credit, Notify, OfferError, Wake, Woken, ask, offer};

const SECOND: Duration = Duration::from_secs(1);

/// Holds its mailbox shut until the gate opens, then reports what it handles.
struct Gated {
    gate: Option<oneshot::Receiver<()>>,
    seen: mpsc::UnboundedSender<u32>,
    credit: Option<Credit>,
}

impl Actor for Gated {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(gate) = self.gate.take() {
            ctx.wait(actix::fut::wrap_future(async move {
                assert!(gate.await.is_ok(), "the test opens the gate");
            }));
        }
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Double(u32);

#[derive(Message)]
#[rtype(result = "()")]
struct Look(u32);

impl Handler<Double> for Gated {
    type Result = u32;

    fn handle(&mut self, Double(n): Double, _: &mut Self::Context) -> u32 {
        self.seen.send(n).unwrap();
        n * 2
    }
}

impl Handler<Look> for Gated {
    type Result = ();

    fn handle(&mut self, Look(n): Look, _: &mut Self::Context) {
        if let Some(credit) = &self.credit {
            credit.consumed();
        }
        self.seen.send(n).unwrap();
    }
}

struct Rig {
    addr: Addr<Gated>,
    gate: oneshot::Sender<()>,
    seen: mpsc::UnboundedReceiver<u32>,
}

fn gated(capacity: usize) -> (Rig, Wake<Look>) {
    let (gate, closed) = oneshot::channel();
    let (tx, seen) = mpsc::unbounded_channel();
    let mut wake = None;
    let addr = Gated::create(|ctx| {
        ctx.set_mailbox_capacity(capacity);
        let (waker, credit) = Wake::new(ctx.address().recipient());
        wake = Some(waker);
        Gated {
            gate: Some(closed),
            seen: tx,
            credit: Some(credit),
        }
    });
    (Rig { addr, gate, seen }, wake.unwrap())
}

/// Everything that was handled by the time nothing else can run.
async fn handled(seen: &mut mpsc::UnboundedReceiver<u32>) -> Vec<u32> {
    let mut all = Vec::new();
    while let Ok(Some(n)) = tokio::time::timeout(Duration::from_millis(1), seen.recv()).await {
        all.push(n);
    }
    all
}

#[actix_rt::test]
async fn ask_answers() {
    let (rig, _) = gated(4);
    rig.gate.send(()).unwrap();
    assert_eq!(ask(&rig.addr, Double(21), SECOND).await, Ok(42));
    assert_eq!(
        ask(&rig.addr.recipient::<Double>(), Double(4), SECOND).await,
        Ok(8)
    );
}

#[actix_rt::test]
async fn ask_gives_up_at_the_deadline_and_withdraws_the_message() {
    tokio::time::pause();
    let before = snapshot();
    let (mut rig, _) = gated(4);
    let start = tokio::time::Instant::now();
    assert_eq!(ask(&rig.addr, Double(1), SECOND).await, Err(AskError::Deadline));
    assert_eq!(start.elapsed().as_secs(), 1);
    rig.gate.send(()).unwrap();
    assert_eq!(handled(&mut rig.seen).await, Vec::<u32>::new());
    assert!(snapshot().ask_expired > before.ask_expired);
    assert!(snapshot().asked > before.asked);
}

#[actix_rt::test]
async fn ask_counts_its_deadline_from_the_call() {
    tokio::time::pause();
    let (rig, _) = gated(4);
    let start = tokio::time::Instant::now();
    let pending = ask(&rig.addr, Double(1), SECOND);
    tokio::time::advance(Duration::from_millis(600)).await;
    assert_eq!(pending.await, Err(AskError::Deadline));
    assert!(
        start.elapsed() < Duration::from_millis(1100),
        "took {:?}",
        start.elapsed()
    );
    // The longest deadline there is must not overflow the clock.
    drop(ask(&rig.addr, Double(1), Duration::MAX));
}

#[actix_rt::test]
async fn ask_is_answered_although_the_mailbox_was_full() {
    tokio::time::pause();
    let (mut rig, _) = gated(2);
    for n in 0..2 {
        offer(&rig.addr, Look(n)).unwrap();
    }
    assert!(offer(&rig.addr, Look(2)).is_err());
    // Placed in the order of the calls, although the last one is the first to be awaited.
    let first = ask(&rig.addr, Double(10), SECOND);
    let second = ask(&rig.addr, Double(11), SECOND);
    rig.gate.send(()).unwrap();
    assert_eq!(second.await, Ok(22));
    assert_eq!(first.await, Ok(20));
    assert_eq!(handled(&mut rig.seen).await, vec![0, 1, 10, 11]);
}

#[actix_rt::test]
async fn ask_says_when_the_receiver_is_gone() {
    struct Silent;
    impl Actor for Silent {
        type Context = Context<Self>;
    }
    impl Handler<Double> for Silent {
        type Result = ResponseActFuture<Self, u32>;
        fn handle(&mut self, _: Double, ctx: &mut Self::Context) -> Self::Result {
            actix::ActorContext::stop(ctx);
            Box::pin(std::future::pending().into_actor(self))
        }
    }
    let before = snapshot();
    let addr = Silent.start();
    // Ended without answering, then not there at all.
    assert_eq!(ask(&addr, Double(1), SECOND).await, Err(AskError::MailboxClosed));
    assert_eq!(ask(&addr, Double(1), SECOND).await, Err(AskError::MailboxClosed));
    assert!(snapshot().ask_closed >= before.ask_closed + 2);
}

#[actix_rt::test]
async fn offer_refuses_beyond_the_capacity_and_hands_the_message_back() {
    tokio::time::pause();
    let before = snapshot();
    let (mut rig, _) = gated(3);
    for n in 0..3 {
        offer(&rig.addr, Look(n)).unwrap();
    }
    match offer(&rig.addr, Look(3)) {
        Err(refused @ OfferError::Full(_)) => {
            assert!(refused.is_full());
            assert_eq!(refused.into_inner().0, 3);
        }
        other => panic!("{other:?}"),
    }
    rig.gate.send(()).unwrap();
    assert_eq!(handled(&mut rig.seen).await, vec![0, 1, 2]);
    offer(&rig.addr, Look(4)).unwrap();
    assert_eq!(handled(&mut rig.seen).await, vec![4]);
    assert!(snapshot().offer_full > before.offer_full);
    assert!(snapshot().offered >= before.offered + 4);
}

#[actix_rt::test]
async fn offer_says_when_the_receiver_is_gone() {
    let before = snapshot();
    let addr = stopped_actor().await;
    assert!(matches!(offer(&addr, Look(1)), Err(OfferError::Closed(Look(1)))));
    assert!(snapshot().offer_closed > before.offer_closed);
}

#[actix_rt::test]
async fn wake_sends_one_message_until_it_is_consumed() {
    tokio::time::pause();
    let before = snapshot();
    let (mut rig, wake) = gated(1);
    assert_eq!(wake.wake(Look(1)), Woken::Sent);
    for n in 2..100 {
        assert_eq!(wake.wake(Look(n)), Woken::Coalesced);
        assert_eq!(wake.clone().wake(Look(n)), Woken::Coalesced);
    }
    rig.gate.send(()).unwrap();
    assert_eq!(handled(&mut rig.seen).await, vec![1]);
    assert_eq!(wake.wake(Look(100)), Woken::Sent);
    assert_eq!(handled(&mut rig.seen).await, vec![100]);
    assert!(snapshot().woken >= before.woken + 2);
    assert!(snapshot().wake_coalesced >= before.wake_coalesced + 98);
}

#[actix_rt::test]
async fn wake_gets_through_a_full_mailbox() {
    tokio::time::pause();
    let (mut rig, wake) = gated(1);
    offer(&rig.addr, Look(0)).unwrap();
    assert!(offer(&rig.addr, Look(1)).is_err());
    assert_eq!(wake.wake(Look(7)), Woken::Sent);
    rig.gate.send(()).unwrap();
    assert_eq!(handled(&mut rig.seen).await, vec![0, 7]);
}

#[actix_rt::test]
async fn wake_and_notify_say_when_the_receiver_is_gone() {
    let before = snapshot();
    let addr = stopped_actor().await;
    let (wake, credit) = Wake::new(addr.clone().recipient());
    assert!(!wake.connected());
    assert_eq!(wake.wake(Look(1)), Woken::Closed);
    assert_eq!(
        Wake::sharing(addr.clone().recipient(), &credit).wake(Look(1)),
        Woken::Closed
    );
    assert!(!Notify::new(addr.recipient()).send(Look(1)));
    assert!(snapshot().wake_closed >= before.wake_closed + 2);
    assert!(snapshot().notify_closed > before.notify_closed);
}

#[actix_rt::test]
async fn notify_gets_through_a_full_mailbox() {
    tokio::time::pause();
    let before = snapshot();
    let (mut rig, _) = gated(1);
    offer(&rig.addr, Look(0)).unwrap();
    assert!(offer(&rig.addr, Look(1)).is_err());
    assert!(Notify::new(rig.addr.clone().recipient()).send(Look(9)));
    rig.gate.send(()).unwrap();
    assert_eq!(handled(&mut rig.seen).await, vec![0, 9]);
    assert!(snapshot().notified > before.notified);
}

/// No change is missed: whatever is written before a wake is seen by a look that starts after it.
#[test]
fn a_change_made_between_two_looks_is_seen() {
    struct Reader {
        log: watch::Receiver<u64>,
        credit: Credit,
        done: Option<oneshot::Sender<u64>>,
    }
    impl Actor for Reader {
        type Context = Context<Self>;
    }
    impl Handler<Look> for Reader {
        type Result = ();
        fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
            self.credit.consumed();
            if *self.log.borrow() == LAST {
                if let Some(done) = self.done.take() {
                    done.send(LAST).unwrap();
                }
                actix::ActorContext::stop(ctx);
            }
        }
    }
    const LAST: u64 = 20_000;

    actix_rt::System::new().block_on(async {
        let (writer, log) = watch::channel(0);
        let (done, seen) = oneshot::channel();
        let mut wake = None;
        let _reader = Reader::create(|ctx| {
            let (waker, credit) = Wake::new(ctx.address().recipient());
            wake = Some(waker);
            Reader {
                log,
                credit,
                done: Some(done),
            }
        });
        let wake = wake.unwrap();
        // Another thread writes and wakes; the reader hangs here if one wake is lost at the end.
        let thread = std::thread::spawn(move || {
            for n in 1..=LAST {
                writer.send_replace(n);
                wake.wake(Look(0));
            }
        });
        assert_eq!(seen.await, Ok(LAST));
        thread.join().unwrap();
    });
}

async fn stopped_actor() -> Addr<Gated> {
    struct Halt;
    impl Message for Halt {
        type Result = ();
    }
    impl Handler<Halt> for Gated {
        type Result = ();
        fn handle(&mut self, _: Halt, ctx: &mut Self::Context) {
            actix::ActorContext::stop(ctx);
        }
    }
    let (rig, _) = gated(1);
    rig.gate.send(()).unwrap();
    ask(&rig.addr, Halt, SECOND).await.unwrap();
    // The mailbox closes when the task is dropped, which drops the reporting channel with it.
    let mut seen = rig.seen;
    assert_eq!(seen.recv().await, None);
    while rig.addr.connected() {
        tokio::task::yield_now().await;
    }
    rig.addr
}

//! The thread on which multicast DNS is spoken, and what it reports.

use super::address::Address;
use super::back_end::{Advert, BackEnd, Heard, Trouble};
use laps_protocol::discovery::{Neighbours, News, Offer};
use std::io;
use std::sync::mpsc::{Receiver as Orders, RecvTimeoutError, Sender as Giver, TryRecvError, channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel as reports};

/// Reports that may wait for who reads them; what is new after that waits in the list of relays, which is bounded.
pub const MAX_REPORTS: usize = 64;
/// How long the thread listens before it looks for orders.
const LISTEN: Duration = Duration::from_millis(100);
/// How long it waits before it opens a back end anew, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// What the thread has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A relay came, changed or went.
    News(News<Address>),
    /// This back end works, as at first or again.
    Works(&'static str),
    /// None works; said once, until one does. They are tried again and again.
    Troubled(String),
    /// We are advertised under another name.
    Renamed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// Advertise no more, and go on browsing.
    Withdraw,
    /// Advertise this in place of what was offered before, unless nothing is advertised any more.
    Offer(Box<Offer>),
}

/// A thread that browses. Dropped, it takes back what it advertises and ends soon after; the last of its reports is
/// followed by the end of them.
#[derive(Debug)]
pub struct Watch {
    orders: Giver<Order>,
}

impl Watch {
    /// Starts the thread. The first of the back ends that opens is used; when it fails, they are tried from the first
    /// again.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        back_ends: Vec<Box<dyn BackEnd>>,
        advert: Option<Advert>,
    ) -> io::Result<(Self, Receiver<Report>)> {
        Self::with_pauses(back_ends, advert, (FIRST_PAUSE, LAST_PAUSE))
    }

    /// As [`Self::start`], with other pauses.
    pub(super) fn with_pauses(
        back_ends: Vec<Box<dyn BackEnd>>,
        advert: Option<Advert>,
        pauses: (Duration, Duration),
    ) -> io::Result<(Self, Receiver<Report>)> {
        let (orders, taken) = channel();
        let (told, heard) = reports(MAX_REPORTS);
        let listener = Listener {
            back_ends,
            neighbours: Neighbours::new(advert.as_ref().map(Advert::ourselves)),
            advert,
            orders: taken,
            told,
            waiting: None,
            pauses,
        };
        std::thread::Builder::new()
            .name("laps-discovery".to_owned())
            .spawn(move || listener.run())?;
        Ok((Self { orders }, heard))
    }

    /// Advertise no more, as when the relay is about to end: nobody new is to find it.
    pub fn withdraw(&self) {
        // A thread that has ended advertises nothing.
        let _ended: bool = self.orders.send(Order::Withdraw).is_err();
    }

    /// Advertise this from now on.
    pub fn offer(&self, offer: Offer) {
        let _ended: bool = self.orders.send(Order::Offer(Box::new(offer))).is_err();
    }
}

/// The thread's part.
struct Listener {
    back_ends: Vec<Box<dyn BackEnd>>,
    advert: Option<Advert>,
    neighbours: Neighbours<Address>,
    orders: Orders<Order>,
    told: Sender<Report>,
    /// What the state of the back ends is, when that could not be told yet. The latest counts.
    waiting: Option<Report>,
    pauses: (Duration, Duration),
}

/// Nobody listens to this thread any more.
struct Over;

impl Listener {
    fn run(mut self) {
        let (mut pause, mut troubled) = (self.pauses.0, false);
        loop {
            let began = Instant::now();
            match self.open() {
                Ok(index) => {
                    troubled = false;
                    let ended = self.listen(index);
                    if let Some(back_end) = self.back_ends.get_mut(index) {
                        back_end.close();
                    }
                    match ended {
                        Ok(trouble) => self.report_trouble(&trouble, &mut troubled),
                        Err(Over) => return,
                    }
                    if began.elapsed() > self.pauses.1 {
                        pause = self.pauses.0;
                    }
                }
                Err(trouble) => self.report_trouble(&trouble, &mut troubled),
            }
            if self.rest(pause).is_err() {
                return;
            }
            pause = pause.saturating_mul(2).min(self.pauses.1);
        }
    }

    /// The first back end that opens.
    fn open(&mut self) -> Result<usize, Trouble> {
        let mut why = Vec::new();
        for (index, back_end) in self.back_ends.iter_mut().enumerate() {
            match back_end.open(self.advert.as_ref()) {
                Ok(()) => {
                    self.waiting = Some(Report::Works(back_end.name()));
                    return Ok(index);
                }
                Err(Trouble(text)) => why.push(format!("{}: {text}", back_end.name())),
            }
        }
        Err(Trouble(why.join("; ")))
    }

    /// Listens until the back end fails. Ends too when there is nobody to tell.
    fn listen(&mut self, index: usize) -> Result<Trouble, Over> {
        // What was known before it failed is asked for again: who is still there answers.
        self.neighbours.doubt_all(Instant::now());
        loop {
            match self.orders.try_recv() {
                Ok(order) => {
                    self.obey(order);
                    let Some(back_end) = self.back_ends.get_mut(index) else {
                        return Err(Over);
                    };
                    // Opened anew it advertises what is left to; it is closed, which says goodbye, before.
                    back_end.close();
                    if let Err(trouble) = back_end.open(self.advert.as_ref()) {
                        return Ok(trouble);
                    }
                }
                Err(TryRecvError::Disconnected) => return Err(Over),
                Err(TryRecvError::Empty) => {}
            }
            let Some(back_end) = self.back_ends.get_mut(index) else {
                return Err(Over);
            };
            let (neighbours, waiting) = (&mut self.neighbours, &mut self.waiting);
            let heard = back_end.listen(LISTEN, &mut |heard| match heard {
                Heard::Seen(sighting) => neighbours.seen(sighting),
                Heard::Gone(name) => neighbours.gone(&name),
                Heard::Doubtful(name) => neighbours.doubt(&name, Instant::now()),
                Heard::Renamed(name) => {
                    *waiting = Some(Report::Renamed(name.to_string()));
                    neighbours.renamed(name);
                }
            });
            self.neighbours.handle_timeout(Instant::now());
            self.tell()?;
            if let Err(trouble) = heard {
                return Ok(trouble);
            }
        }
    }

    /// Reports what is new, as far as there is room.
    fn tell(&mut self) -> Result<(), Over> {
        if self.told.is_closed() {
            return Err(Over);
        }
        while let Ok(place) = self.told.try_reserve() {
            let Some(report) = self
                .waiting
                .take()
                .or_else(|| self.neighbours.poll().map(Report::News))
            else {
                break;
            };
            place.send(report);
        }
        Ok(())
    }

    fn report_trouble(&mut self, trouble: &Trouble, troubled: &mut bool) {
        if !std::mem::replace(troubled, true) {
            self.waiting = Some(Report::Troubled(trouble.0.clone()));
        }
    }

    /// The next back end that is opened advertises as this says.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Withdraw => self.advert = None,
            Order::Offer(offer) => {
                if let Some(advert) = &mut self.advert {
                    advert.offer = (*offer).clone();
                    self.neighbours.offers(*offer);
                }
            }
        }
    }

    /// Waits until it is worth another try.
    fn rest(&mut self, pause: Duration) -> Result<(), Over> {
        self.tell()?;
        let until = Instant::now() + pause;
        loop {
            match self
                .orders
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Over),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::testing::{Fake, Script, advert, relay};
    use laps_protocol::discovery::{Instance, Sighting};

    const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(4));

    async fn next(reports: &mut Receiver<Report>) -> Report {
        let report = tokio::time::timeout(Duration::from_secs(20), reports.recv()).await;
        report.expect("a report in time").expect("the thread runs")
    }

    fn start(script: &Script, advert: Option<Advert>) -> (Watch, Receiver<Report>) {
        let fakes: Vec<Box<dyn BackEnd>> = vec![Box::new(Fake::new("first", script.clone()))];
        Watch::with_pauses(fakes, advert, PAUSES).unwrap()
    }

    #[actix_rt::test]
    async fn trouble_is_told_once_and_mended() {
        let script = Script::default();
        script.refuse(3);
        let (_watch, mut reports) = start(&script, None);
        assert_eq!(
            next(&mut reports).await,
            Report::Troubled("first: refused".to_owned())
        );
        assert_eq!(next(&mut reports).await, Report::Works("first"));
        script.say(Heard::Seen(relay("x", 1)));
        assert!(matches!(next(&mut reports).await, Report::News(News::Found(_))));
        // Its daemon ends and comes back: the relay is still there, and is not told of again.
        script.fail();
        assert_eq!(next(&mut reports).await, Report::Troubled("failed".to_owned()));
        assert_eq!(next(&mut reports).await, Report::Works("first"));
        script.say(Heard::Seen(relay("x", 1)));
        script.say(Heard::Seen(relay("y", 1)));
        let Report::News(News::Found(found)) = next(&mut reports).await else {
            panic!("not found")
        };
        assert_eq!(found.instance.as_str(), "y");
    }

    #[actix_rt::test]
    async fn what_was_advertised_is_taken_back() {
        let script = Script::default();
        let (watch, mut reports) = start(&script, Some(advert()));
        assert_eq!(next(&mut reports).await, Report::Works("first"));
        assert_eq!(script.advertised(), Some(advert()));
        script.say(Heard::Renamed(Instance::new("us (2)").unwrap()));
        assert_eq!(next(&mut reports).await, Report::Renamed("us (2)".to_owned()));
        watch.withdraw();
        script.say(Heard::Seen(relay("x", 1)));
        assert!(matches!(next(&mut reports).await, Report::News(News::Found(_))));
        script.withdrawn();
        assert_eq!(script.advertised(), None);
        drop(watch);
        assert_eq!(reports.recv().await, None, "the thread ends");
        assert!(script.is_closed());
    }

    #[actix_rt::test]
    async fn what_is_advertised_changes() {
        let script = Script::default();
        let (watch, mut reports) = start(&script, Some(advert()));
        assert_eq!(next(&mut reports).await, Report::Works("first"));
        let renewed = Offer {
            certificate: Some([8; 32]),
            ..advert().offer
        };
        watch.offer(renewed.clone());
        script.withdrawn();
        let now = Advert {
            offer: renewed.clone(),
            ..advert()
        };
        assert_eq!(script.advertised(), Some(now));
        // What somebody still has of us from before is no other relay, and neither is what we say now.
        let ours = |offer| Sighting {
            port: advert().port,
            offer: Ok(offer),
            ..relay("us", 3)
        };
        script.say(Heard::Seen(ours(advert().offer)));
        script.say(Heard::Seen(ours(renewed.clone())));
        script.say(Heard::Seen(relay("x", 1)));
        let Report::News(News::Found(found)) = next(&mut reports).await else {
            panic!("we are not told of ourselves")
        };
        assert_eq!(found.instance.as_str(), "x");
        watch.withdraw();
        watch.offer(renewed);
        script.heard_all();
        assert_eq!(script.advertised(), None, "nothing is advertised any more");
    }

    #[actix_rt::test]
    async fn the_next_one_serves_where_the_first_does_not() {
        let (broken, works) = (Script::default(), Script::default());
        broken.refuse(usize::MAX);
        let fakes: Vec<Box<dyn BackEnd>> = vec![
            Box::new(Fake::new("first", broken)),
            Box::new(Fake::new("second", works)),
        ];
        let (_watch, mut reports) = Watch::with_pauses(fakes, None, PAUSES).unwrap();
        assert_eq!(next(&mut reports).await, Report::Works("second"));
    }

    #[actix_rt::test]
    async fn who_does_not_read_holds_nobody_up_and_loses_nothing() {
        let script = Script::default();
        let (_watch, mut reports) = start(&script, None);
        let names: Vec<String> = (0..2 * MAX_REPORTS)
            .map(|index| format!("relay {index:03}"))
            .collect();
        for name in &names {
            script.say(Heard::Seen(relay(name, 1)));
        }
        script.heard_all();
        assert_eq!(reports.len(), MAX_REPORTS);
        assert_eq!(next(&mut reports).await, Report::Works("first"));
        let mut found = Vec::new();
        while found.len() < names.len() {
            if let Report::News(News::Found(relay)) = next(&mut reports).await {
                found.push(relay.instance.as_str().to_owned());
            }
        }
        assert_eq!(found, names);
    }
}

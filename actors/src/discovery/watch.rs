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
    /// This back end does all that it is to, as at first or again.
    Works {
        /// Its name.
        by: &'static str,
        /// Why those that are preferred to it do not.
        because: Option<String>,
    },
    /// This back end hears relays, and none advertises us; said once, until one does. They are tried again and again.
    Hidden {
        /// Its name.
        by: &'static str,
        /// Why we are not advertised.
        why: String,
    },
    /// None works; said once, until one does. They are tried again and again.
    Troubled(String),
    /// We are advertised under another name.
    Renamed(String),
}

impl Report {
    /// How things stand is as in the other: that is told once, however its reasons are worded.
    fn is_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Works { by, .. }, Self::Works { by: other, .. })
            | (Self::Hidden { by, .. }, Self::Hidden { by: other, .. }) => by == other,
            (Self::Troubled(_), Self::Troubled(_)) => true,
            _ => false,
        }
    }
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
    /// Starts the thread. The first of the back ends that opens and listens is used; where none takes what is to be
    /// advertised, the first that browses. When it fails, they are tried from the first again, one that failed soon as
    /// the last.
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
            stands: None,
            waiting: None,
            renamed: None,
            frail: None,
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
    /// How things stood when that was last news.
    stands: Option<Report>,
    /// The same, when it could not be told yet. The latest counts.
    waiting: Option<Report>,
    /// What we are advertised as, when that could not be told yet.
    renamed: Option<String>,
    /// The back end that failed soon after it was opened: the others come before it.
    frail: Option<usize>,
    pauses: (Duration, Duration),
}

/// A back end that was opened, and has listened once.
struct Opened {
    index: usize,
    /// It browses, and does not advertise what there is to.
    hidden: bool,
    /// What is told once it counts.
    report: Report,
}

/// Nobody listens to this thread any more.
struct Over;

impl Listener {
    fn run(mut self) {
        let mut pause = self.pauses.0;
        // How long a back end must work before it counts. After a failure as long as was waited for it: one that opens
        // and fails, again and again, is one piece of news.
        let mut proof = Duration::ZERO;
        loop {
            let began = Instant::now();
            let (index, ended) = match self.open() {
                Ok(opened) => {
                    let index = opened.index;
                    let ended = self.listen(opened, proof, pause);
                    if let Some(back_end) = self.back_ends.get_mut(index) {
                        back_end.close();
                    }
                    (Some(index), ended)
                }
                Err(trouble) => (None, Ok(Some(trouble))),
            };
            let Ok(trouble) = ended else { return };
            if let Some(Trouble(why)) = trouble {
                let lasted = began.elapsed() > self.pauses.1;
                if lasted {
                    pause = self.pauses.0;
                }
                self.frail = index.filter(|_| !lasted);
                self.stand(Report::Troubled(why));
                if self.rest(pause).is_err() {
                    return;
                }
                proof = pause;
            }
            pause = pause.saturating_mul(2).min(self.pauses.1);
        }
    }

    /// The first back end that advertises and listens. Where there is none, the first that listens: who cannot be found
    /// finds others all the same.
    fn open(&mut self) -> Result<Opened, Trouble> {
        let all = 0..self.back_ends.len();
        let frail = self.frail.filter(|index| all.contains(index));
        let order: Vec<usize> = all.filter(|index| Some(*index) != frail).chain(frail).collect();
        let mut refusals = Vec::new();
        for index in &order {
            match self.try_one(*index, false) {
                Ok(by) => {
                    let because = (!refusals.is_empty()).then(|| refusals.join("; "));
                    let report = Report::Works { by, because };
                    return Ok(Opened {
                        index: *index,
                        hidden: false,
                        report,
                    });
                }
                Err(Trouble(why)) => refusals.push(why),
            }
        }
        let why = refusals.join("; ");
        for index in order {
            if self.advert.is_some()
                && let Ok(by) = self.try_one(index, true)
            {
                let report = Report::Hidden { by, why };
                return Ok(Opened {
                    index,
                    hidden: true,
                    report,
                });
            }
        }
        Err(Trouble(why))
    }

    /// Opens that back end and has it listen: some are refused what they ask for only then. It is left closed when it
    /// fails.
    fn try_one(&mut self, index: usize, hidden: bool) -> Result<&'static str, Trouble> {
        let back_end = self.back_ends.get_mut(index).ok_or_else(no_such)?;
        let by = back_end.name();
        let opened = back_end.open(self.advert.as_ref().filter(|_| !hidden));
        let heard = opened.and_then(|()| {
            // What was known before is asked for again: who is still there answers.
            self.neighbours.doubt_all(Instant::now());
            self.hear(index)
        });
        match heard {
            Ok(()) => Ok(by),
            Err(Trouble(why)) => {
                if let Some(back_end) = self.back_ends.get_mut(index) {
                    back_end.close();
                }
                Err(Trouble(format!("{by}: {why}")))
            }
        }
    }

    /// Has that back end listen once, and takes in what it hears.
    fn hear(&mut self, index: usize) -> Result<(), Trouble> {
        let back_end = self.back_ends.get_mut(index).ok_or_else(no_such)?;
        let (neighbours, renamed) = (&mut self.neighbours, &mut self.renamed);
        back_end.listen(LISTEN, &mut |heard| match heard {
            Heard::Seen(sighting) => neighbours.seen(sighting),
            Heard::Gone(name) => neighbours.gone(&name),
            Heard::Doubtful(name) => neighbours.doubt(&name, Instant::now()),
            Heard::Renamed(name) => {
                *renamed = Some(name.to_string());
                neighbours.renamed(name);
            }
        })
    }

    /// Listens until the back end fails, or, where we are not advertised, until that is tried again. It counts when it has
    /// worked for as long as `proof`. Ends too when there is nobody to tell.
    fn listen(&mut self, opened: Opened, proof: Duration, pause: Duration) -> Result<Option<Trouble>, Over> {
        let Opened {
            index,
            hidden,
            report,
        } = opened;
        let (mut report, began) = (Some(report), Instant::now());
        loop {
            let worked = began.elapsed();
            if worked >= proof
                && let Some(report) = report.take()
            {
                self.stand(report);
            }
            self.neighbours.handle_timeout(Instant::now());
            self.tell()?;
            if hidden && worked >= pause {
                return Ok(None);
            }
            match self.orders.try_recv() {
                Ok(order) => {
                    self.obey(order);
                    let Some(back_end) = self.back_ends.get_mut(index) else {
                        return Err(Over);
                    };
                    // Opened anew it advertises what is left to; it is closed, which says goodbye, before.
                    back_end.close();
                    if let Err(trouble) = back_end.open(self.advert.as_ref().filter(|_| !hidden)) {
                        return Ok(Some(trouble));
                    }
                }
                Err(TryRecvError::Disconnected) => return Err(Over),
                Err(TryRecvError::Empty) => {}
            }
            if let Err(trouble) = self.hear(index) {
                return Ok(Some(trouble));
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
                .or_else(|| self.renamed.take().map(Report::Renamed))
                .or_else(|| self.neighbours.poll().map(Report::News))
            else {
                break;
            };
            place.send(report);
        }
        Ok(())
    }

    /// Things stand so; where they did not before, that is told.
    fn stand(&mut self, report: Report) {
        if !self.stands.as_ref().is_some_and(|before| before.is_as(&report)) {
            self.waiting = Some(report.clone());
            self.stands = Some(report);
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

fn no_such() -> Trouble {
    Trouble("there is no such back end".to_owned())
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

    fn works(by: &'static str) -> Report {
        Report::Works { by, because: None }
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
        assert_eq!(next(&mut reports).await, works("first"));
        script.say(Heard::Seen(relay("x", 1)));
        assert!(matches!(next(&mut reports).await, Report::News(News::Found(_))));
        // Its daemon ends and comes back: the relay is still there, and is not told of again.
        script.fail();
        assert_eq!(next(&mut reports).await, Report::Troubled("failed".to_owned()));
        assert_eq!(next(&mut reports).await, works("first"));
        script.say(Heard::Seen(relay("x", 1)));
        script.say(Heard::Seen(relay("y", 1)));
        let Report::News(News::Found(found)) = next(&mut reports).await else {
            panic!("not found")
        };
        assert_eq!(found.instance.as_str(), "y");
    }

    /// Avahi that takes no advertisement says so only when it is asked what became of it. Issue 7: "logged once, repaired".
    #[actix_rt::test]
    async fn one_that_opens_and_hears_nothing_is_one_trouble() {
        let script = Script::default();
        script.fails_after(Some(0));
        let (_watch, mut reports) = start(&script, Some(advert()));
        let trouble = Report::Troubled("first: not permitted".to_owned());
        assert_eq!(next(&mut reports).await, trouble);
        script.tried(6);
        script.fails_after(None);
        assert_eq!(next(&mut reports).await, works("first"));
        assert_eq!(script.advertised(), Some(advert()));
    }

    /// What works for a moment, again and again, is one piece of news too.
    #[actix_rt::test]
    async fn one_that_fails_soon_again_and_again_is_one_trouble() {
        let script = Script::default();
        let fakes: Vec<Box<dyn BackEnd>> = vec![Box::new(Fake::new("first", script.clone()))];
        let pauses = (Duration::from_millis(200), Duration::from_hours(1));
        let (_watch, mut reports) = Watch::with_pauses(fakes, None, pauses).unwrap();
        assert_eq!(next(&mut reports).await, works("first"));
        script.fails_after(Some(1));
        assert_eq!(
            next(&mut reports).await,
            Report::Troubled("not permitted".to_owned())
        );
        script.tried(2);
        script.fails_after(None);
        assert_eq!(next(&mut reports).await, works("first"));
        script.say(Heard::Seen(relay("x", 1)));
        assert!(matches!(next(&mut reports).await, Report::News(News::Found(_))));
    }

    /// A relay that nobody advertises finds others all the same, and is advertised as soon as somebody does.
    #[actix_rt::test]
    async fn who_is_not_advertised_goes_on_looking() {
        let script = Script::default();
        script.is_shy(true);
        let (_watch, mut reports) = start(&script, Some(advert()));
        let hidden = Report::Hidden {
            by: "first",
            why: "first: not permitted".to_owned(),
        };
        assert_eq!(next(&mut reports).await, hidden);
        script.say(Heard::Seen(relay("x", 1)));
        assert!(matches!(next(&mut reports).await, Report::News(News::Found(_))));
        script.tried(6);
        script.is_shy(false);
        assert_eq!(next(&mut reports).await, works("first"));
        assert_eq!(script.advertised(), Some(advert()));
    }

    #[actix_rt::test]
    async fn a_name_that_is_heard_at_once_is_told_after_whose_it_is() {
        let script = Script::default();
        script.say(Heard::Renamed(Instance::new("us (2)").unwrap()));
        let (_watch, mut reports) = start(&script, Some(advert()));
        assert_eq!(next(&mut reports).await, works("first"));
        assert_eq!(next(&mut reports).await, Report::Renamed("us (2)".to_owned()));
    }

    #[actix_rt::test]
    async fn what_was_advertised_is_taken_back() {
        let script = Script::default();
        let (watch, mut reports) = start(&script, Some(advert()));
        assert_eq!(next(&mut reports).await, works("first"));
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
        assert_eq!(next(&mut reports).await, works("first"));
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
        type Breaks = fn(&Script);
        let breaks: [(Breaks, &str); 3] = [
            (|script| script.refuse(usize::MAX), "first: refused"),
            (|script| script.fails_after(Some(0)), "first: not permitted"),
            // It browses, which the second does too, and that one advertises.
            (|script| script.is_shy(true), "first: not permitted"),
        ];
        for (breaks, why) in breaks {
            let (broken, good) = (Script::default(), Script::default());
            breaks(&broken);
            let (_watch, mut reports) = start_two(&broken, &good);
            let by_second = Report::Works {
                by: "second",
                because: Some(why.to_owned()),
            };
            assert_eq!(next(&mut reports).await, by_second);
            assert_eq!(good.advertised(), Some(advert()));
            assert!(broken.is_closed());
        }
    }

    /// What opens, and fails soon after, is not taken again while there is another.
    #[actix_rt::test]
    async fn the_next_one_serves_where_the_first_fails_soon() {
        let (broken, good) = (Script::default(), Script::default());
        let (_watch, mut reports) = start_two(&broken, &good);
        assert_eq!(next(&mut reports).await, works("first"));
        broken.fail();
        assert_eq!(next(&mut reports).await, Report::Troubled("failed".to_owned()));
        assert_eq!(next(&mut reports).await, works("second"));
        assert!(broken.is_closed());
    }

    /// What works for less than half a minute does not last.
    fn start_two(first: &Script, second: &Script) -> (Watch, Receiver<Report>) {
        let fakes: Vec<Box<dyn BackEnd>> = vec![
            Box::new(Fake::new("first", first.clone())),
            Box::new(Fake::new("second", second.clone())),
        ];
        let pauses = (Duration::from_millis(1), LAST_PAUSE);
        Watch::with_pauses(fakes, Some(advert()), pauses).unwrap()
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
        assert_eq!(next(&mut reports).await, works("first"));
        let mut found = Vec::new();
        while found.len() < names.len() {
            if let Report::News(News::Found(relay)) = next(&mut reports).await {
                found.push(relay.instance.as_str().to_owned());
            }
        }
        assert_eq!(found, names);
    }
}

//! From the session to the output, until there is enough.

use super::cut::Cut;
use super::order::{Order, Patience};
use super::stats::Stats;
use crate::cli::{SubOptions, ends_behind};
use crate::commands::json::Source;
use crate::commands::meter::{Meter, say};
use crate::commands::output::{Output, Pieces, Written, pieces};
use crate::commands::past::{Past, PastEnd, PastItem};
use crate::commands::{client, json};
use crate::exit::{Exit, Failure, one_line};
use crate::signals::Shutdown;
use laps_actors::client::{ClientError, Item, ReceivedObject, Subscriber};
use laps_actors::track::TrackGone;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::moqt::object::ObjectStatus;
use std::time::Instant;

/// Why the receiving ended.
enum End {
    Count,
    Duration,
    Signal,
    Track(TrackGone),
    Session(ClientError),
    Output(Written),
}

/// One run of `laps sub`.
pub(super) struct Receive<'a> {
    options: &'a SubOptions,
    /// What came before the subscription, until all of it is written. Live objects wait in the track's log meanwhile.
    past: Option<Past>,
    /// End Location of what was fetched.
    fetched: Option<Location>,
    /// Why not all was fetched.
    unfetched: Option<String>,
    order: Order<Option<Pieces>>,
    output: Output,
    /// Objects given to the output so far.
    given: u64,
    stats: Stats,
    meter: Meter,
    /// Streams that were cut short.
    cut: Cut,
    /// Times that objects were not read in time.
    lost: u64,
}

impl<'a> Receive<'a> {
    /// Nothing received yet; `largest` is the largest place before the subscription.
    pub(super) fn new(
        options: &'a SubOptions,
        largest: Option<Location>,
        output: Output,
        meter: Meter,
    ) -> Self {
        Self {
            options,
            past: None,
            fetched: None,
            unfetched: None,
            order: Order::new(Patience::default(), largest),
            output,
            given: 0,
            stats: Stats::new(),
            meter,
            cut: Cut::default(),
            lost: 0,
        }
    }

    /// This is written before all that is live.
    pub(super) fn after(mut self, past: Option<Past>) -> Self {
        self.past = past;
        self
    }

    /// Receives until the end, closes everything, and says whether what was asked for came.
    pub(super) async fn run(
        mut self,
        mut subscriber: Subscriber,
        mut shutdown: Shutdown,
    ) -> Result<(), Failure> {
        let end = self.receive(&mut subscriber, &mut shutdown).await;
        if !matches!(end, End::Count | End::Output(_)) {
            while let Some(pieces) = self.order.take() {
                self.give(pieces);
            }
        }
        let end = self.write_rest(end, &mut shutdown).await;
        self.past = None;
        client::goodbye(subscriber, &mut shutdown).await;
        self.meter.finish(&self.figures());
        let latency = self.stats.text("");
        if !latency.is_empty() {
            say(&latency);
        }
        self.verdict(end)
    }

    async fn receive(&mut self, subscriber: &mut Subscriber, shutdown: &mut Shutdown) -> End {
        let last = self.options.duration.map(|duration| Instant::now() + duration.0);
        loop {
            if self.is_enough() {
                return End::Count;
            }
            let free = self.output.is_free();
            let live = self.past.is_none();
            if let Some(past) = self.past.as_mut().filter(|_| !free) {
                past.held_up();
            }
            let patience = self.order.deadline();
            tokio::select! {
                biased;
                _ = shutdown.recv() => return End::Signal,
                () = until(last) => return End::Duration,
                ended = self.output.pump() => if let Some(written) = ended {
                    return End::Output(written);
                },
                () = self.meter.due() => self.meter.show(&self.figures()),
                // Nothing is read from the session while the output has no room: the track's log bounds what waits.
                () = until(patience), if free => self.turn(),
                item = next(&mut self.past), if free => match item {
                    PastItem::Object(object) => self.past_object(&object),
                    PastItem::End(end) => self.past_end(&end),
                },
                item = subscriber.next(), if free && live => match item {
                    Ok(Item::Done(gone)) => return End::Track(gone),
                    Ok(item) => self.take_in(item),
                    Err(error) => return End::Session(error),
                },
            }
        }
    }

    fn take_in(&mut self, item: Item) {
        match item {
            Item::Opened { group, .. } => self.order.opened(group),
            Item::Object(object) => self.object(&object),
            Item::Closed { group, subgroup, end } => {
                self.order.closed(group);
                self.cut.closed((group, subgroup), end);
            }
            Item::Lost => self.lost += 1,
            // The caller has ended.
            Item::Done(_) => {}
        }
        self.turn();
    }

    fn past_object(&mut self, object: &ReceivedObject) {
        self.stats.follow(object);
        let normal = object.status == ObjectStatus::Normal;
        if normal {
            self.meter.add(object.len() as u64);
        }
        if self.options.output.json {
            self.line(object, Source::Fetch);
        } else {
            // They come in order. MOQT-14 §9.16.3 [D14-FETCH-4]
            self.give(normal.then(|| pieces(object, self.options.output.format)));
        }
    }

    fn past_end(&mut self, end: &PastEnd) {
        self.past = None;
        if let PastEnd::Whole(ok) = end {
            self.fetched = Some(ok.end);
        }
        // Nothing came before: so all there is comes live.
        if let Some((reason, _)) = end.shortfall().filter(|_| !end.is_nothing()) {
            let reason = one_line(&format!("the fetch of what came before: {reason}"));
            say(&format!("laps: track {}: {reason}; going on live", self.track()));
            self.unfetched = Some(reason);
        }
    }

    fn object(&mut self, object: &ReceivedObject) {
        // MOQT-14 §9.16.2 [D14-FETCH-12]: the fetch ends where the subscription begins; whoever sends an object both
        // ways does not make us write it twice.
        if self.fetched.is_some_and(|end| ends_behind(end, object.location)) {
            return;
        }
        let age = self.stats.observe(object);
        let normal = object.status == ObjectStatus::Normal;
        if normal {
            self.meter.add(object.len() as u64);
        }
        if self.options.output.json {
            // Objects are shown as they come: order is what one looks for here.
            self.line(object, Source::Live(age));
            return;
        }
        // The end of a group or track takes a place too, but there is nothing to write.
        let pieces = normal.then(|| pieces(object, self.options.output.format));
        let (datagram, bytes) = (object.subgroup.is_none(), object.len());
        self.order
            .insert(object.at, object.location, datagram, bytes, pieces);
    }

    fn line(&mut self, object: &ReceivedObject, source: Source) {
        self.output.give(vec![json::line(object, source)]);
        self.given += u64::from(object.status == ObjectStatus::Normal);
    }

    /// Takes from the order what is let through.
    fn turn(&mut self) {
        let now = Instant::now();
        while !self.is_enough()
            && let Some(pieces) = self.order.pop(now)
        {
            self.give(pieces);
        }
    }

    fn give(&mut self, pieces: Option<Pieces>) {
        if let Some(pieces) = pieces
            && !self.is_enough()
        {
            self.given += 1;
            self.output.give(pieces);
        }
    }

    fn is_enough(&self) -> bool {
        self.options.count.is_some_and(|count| self.given >= count)
    }

    async fn write_rest(&mut self, end: End, shutdown: &mut Shutdown) -> End {
        if let End::Output(written) = end {
            return End::Output(written);
        }
        let hurried = matches!(end, End::Signal);
        match client::write_rest(&mut self.output, shutdown, hurried).await {
            Some(Written::All) => end,
            Some(written @ (Written::PipeClosed | Written::Failed(_))) => End::Output(written),
            None => End::Signal,
        }
    }

    fn track(&self) -> String {
        format!("{}/{}", self.options.namespace, self.options.track)
    }

    fn figures(&self) -> String {
        let mut text = String::new();
        for (number, what) in [
            (self.cut.count(), "streams cut short"),
            (self.lost, "times not read in time"),
            (self.order.late(), "late"),
            (self.stats.missing(), "missing"),
        ] {
            if number > 0 {
                text.push_str(&format!("; {number} {what}"));
            }
        }
        text + &self.stats.text("; ")
    }

    /// What is wrong with what came, if anything.
    fn shortfall(&self) -> Option<String> {
        let missing = self.stats.missing();
        if self.unfetched.is_some() {
            self.unfetched.clone()
        } else if self.cut.count() > 0 {
            Some(format!("{} streams were cut short", self.cut.count()))
        } else if self.lost > 0 {
            Some("objects were dropped because they were not read in time".to_owned())
        } else if self.order.late() > 0 {
            Some(format!(
                "{} objects came too late for their place",
                self.order.late()
            ))
        } else if missing > 0 {
            Some(format!("{missing} objects did not come"))
        } else {
            None
        }
    }

    fn verdict(&self, end: End) -> Result<(), Failure> {
        let incomplete = |reason: String| {
            let track = format!("track {}", self.track());
            Err(Failure::new(Exit::Incomplete, track, reason, ""))
        };
        let short_of_count = self
            .options
            .count
            .filter(|_| !self.is_enough())
            .map(|count| format!("{} of {count} objects came", self.given));
        match end {
            // What was held back when the track ended may have made up the count.
            End::Count | End::Track(_) | End::Duration if self.is_enough() => match &self.unfetched {
                Some(reason) => incomplete(reason.clone()),
                None => Ok(()),
            },
            End::Count | End::Signal | End::Output(Written::All | Written::PipeClosed) => Ok(()),
            End::Output(Written::Failed(failure)) => Err(failure),
            End::Session(error) => Err(client::failure(&self.options.url, &error)),
            // MOQT-14 §9.12 [D14-SUB-30]
            End::Track(gone) if gone.status == PublishDoneStatus::TooFarBehind => Err(Failure::new(
                Exit::Incomplete,
                format!("track {}", self.track()),
                format!(
                    "too far behind: objects came faster than they were read, and the relay gave up on the rest{}",
                    short_of_count.map(|text| format!("; {text}")).unwrap_or_default(),
                ),
                "read faster, or have the relay skip to the newest group (subscribe.newest_group) or keep more \
                 (subscribe.max_behind_mb)",
            )),
            // MOQT-14 §9.12: only these two say that all was sent.
            End::Track(gone) if !is_whole(gone.status) => incomplete(format!(
                "the publisher ended it with {:?}: {}{}",
                gone.status,
                String::from_utf8_lossy(&gone.phrase),
                short_of_count.map(|text| format!("; {text}")).unwrap_or_default(),
            )),
            End::Track(_) => match short_of_count.or_else(|| self.shortfall()) {
                Some(reason) => incomplete(reason),
                None => Ok(()),
            },
            End::Duration if self.given == 0 => incomplete("no object came".to_owned()),
            End::Duration => match short_of_count.or_else(|| self.shortfall()) {
                Some(reason) => incomplete(reason),
                None => Ok(()),
            },
        }
    }
}

const fn is_whole(status: PublishDoneStatus) -> bool {
    matches!(
        status,
        PublishDoneStatus::TrackEnded | PublishDoneStatus::SubscriptionEnded
    )
}

/// What comes next of the past; never anything without one.
async fn next(past: &mut Option<Past>) -> PastItem {
    match past {
        Some(past) => past.next().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

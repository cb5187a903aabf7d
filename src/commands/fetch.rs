//! `laps fetch`: fetches past objects of a track and writes them.

use super::meter::{Meter, say};
use super::output::{Output, Written, pieces};
use super::past::{Past, PastEnd, PastItem};
use super::{client, json};
use crate::cli::{FetchOptions, last_of};
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::signals::{self, Shutdown};
use laps_actors::client::{Options, ReceivedObject, Subscriber};
use laps_protocol::moqt::message::{GroupOrder, GroupOrderRequest};
use laps_protocol::moqt::object::ObjectStatus;
use std::time::Duration;

/// Why the receiving ended.
enum End {
    Past(PastEnd),
    Signal,
    Output(Written),
}

/// Runs `laps fetch`.
///
/// # Errors
/// When the relay cannot be reached or refuses, the output cannot be written, or less came than was asked for.
pub fn run(options: &FetchOptions) -> Result<(), Failure> {
    options.check()?;
    let (config, logging) = client::setup(&options.log)?;
    let settings = client::options(
        &config,
        (&options.trust, &options.access),
        (options.timeout.0, Duration::ZERO),
        logging.logger.clone(),
    )?;
    actix::System::new().block_on(fetch(options, settings, &logging))
}

async fn fetch(options: &FetchOptions, settings: Options, logging: &Logging) -> Result<(), Failure> {
    let mut shutdown = signals::install(logging)?;
    let mut output = Output::open(options.output.output.as_deref())?;
    let order = if options.descending {
        GroupOrder::Descending
    } else {
        GroupOrder::Ascending
    };
    let asked = async {
        let connected = client::connect(&options.url, |target| {
            let settings = settings.clone();
            async move { Subscriber::connect(&target, settings).await }
        });
        let (track, range) = (options.track_name()?, options.range.on_the_wire());
        let subscriber = connected.await?;
        let fetcher = subscriber
            .fetch(track, range, GroupOrderRequest::Fixed(order))
            .await;
        match fetcher {
            Ok(fetcher) => Ok((subscriber, Past::new(fetcher, options.timeout.0))),
            Err(error) => {
                let failure = client::failure(&options.url, &error);
                Err(client::leave(failure, subscriber.close()).await)
            }
        }
    };
    let (subscriber, mut past) = tokio::select! {
        asked = asked => asked?,
        _ = shutdown.recv() => return Ok(()),
    };
    let meter = client::meter("fetched", &options.output);
    let mut end = receive(options, &mut past, &mut output, &mut shutdown, &meter).await;
    if !matches!(end, End::Output(_)) {
        let hurried = matches!(end, End::Signal);
        end = match client::write_rest(&mut output, &mut shutdown, hurried).await {
            Some(Written::All) => end,
            Some(written) => End::Output(written),
            None => End::Signal,
        };
    }
    let tally = past.tally();
    drop(past);
    client::goodbye(subscriber, &mut shutdown).await;
    meter.finish("");
    say(&tally.text(match &end {
        End::Past(PastEnd::Whole(ok)) => Some(ok),
        End::Past(_) | End::Signal | End::Output(_) => None,
    }));
    verdict(options, end, tally.objects)
}

async fn receive(
    options: &FetchOptions,
    past: &mut Past,
    output: &mut Output,
    shutdown: &mut Shutdown,
    meter: &Meter,
) -> End {
    loop {
        let free = output.is_free();
        if !free {
            past.held_up();
        }
        tokio::select! {
            biased;
            _ = shutdown.recv() => return End::Signal,
            ended = output.pump() => if let Some(written) = ended {
                return End::Output(written);
            },
            () = meter.due() => meter.show(""),
            // Nothing is read while the output has no room, so the relay waits.
            item = past.next(), if free => match item {
                PastItem::Object(object) => write(options, &object, output, meter),
                PastItem::End(end) => return End::Past(end),
            },
        }
    }
}

fn write(options: &FetchOptions, object: &ReceivedObject, output: &mut Output, meter: &Meter) {
    let normal = object.status == ObjectStatus::Normal;
    if normal {
        meter.add(object.len() as u64);
    }
    if options.output.json {
        output.give(vec![json::line(object, json::Source::Fetch)]);
    } else if normal {
        // The end of a group or track has a place, but there is nothing to write.
        output.give(pieces(object, options.output.format));
    }
}

fn verdict(options: &FetchOptions, end: End, objects: u64) -> Result<(), Failure> {
    let track = format!("track {}", options.track_name()?);
    match end {
        End::Signal | End::Output(Written::All | Written::PipeClosed) => Ok(()),
        End::Output(Written::Failed(failure)) => Err(failure),
        // MOQT-14 §9.17 [D14-FETCH-9]: the end says how far the track goes, where that is less than was asked for.
        End::Past(PastEnd::Whole(ok)) if !ok.end_of_track && !options.range.is_reached_by(ok.end) => {
            let reason = format!(
                "{} was asked for, it reaches up to {} so far",
                options.range,
                last_of(ok.end)
            );
            let remedy = format!(
                "ask again later; `{}-` takes what there is",
                options.range.start()
            );
            Err(Failure::new(Exit::Incomplete, track, reason, remedy))
        }
        End::Past(end) => match end.shortfall() {
            None => Ok(()),
            Some((reason, remedy)) => Err(Failure::new(end.exit(objects), track, reason, remedy)),
        },
    }
}

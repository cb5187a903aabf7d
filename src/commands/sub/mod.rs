//! `laps sub`: subscribes to a track and writes its objects.
//!
//! `receive` is the loop, `order` puts objects into the order of their places, `stats` makes something of them, `cut` knows
//! which streams did not come to their end.

mod cut;
mod order;
mod receive;
mod stats;

use super::output::Output;
use super::past::Past;
use super::{client, discover};
use crate::cli::{Join, SubOptions};
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::signals;
use laps_actors::client::{ClientError, Options, Start, Subscriber, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::RequestErrorReason;
use receive::Receive;
use slog::debug;
use std::time::Duration;
use tokio::time::Instant;

/// Pause before a missing track is asked for again; the relay itself waits before it refuses.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long the relay may take to answer when it is asked only once, with `--timeout 0`.
const ONE_ANSWER: Duration = Duration::from_secs(5);
/// The middle. MOQT-14 §7.3.
const PRIORITY: u8 = 128;

/// Runs `laps sub`.
///
/// # Errors
/// When the relay cannot be reached, the output cannot be written, or less came than was asked for.
pub fn run(options: &SubOptions) -> Result<(), Failure> {
    options.check()?;
    let (config, logging) = client::setup(&options.log)?;
    let settings = client::options(
        &config,
        (&options.trust, &options.access),
        (answer_time(options), options.retry.retry.0),
        logging.logger.clone(),
    )?;
    actix::System::new().block_on(async {
        let options = SubOptions {
            url: discover::url(&options.find, &options.trust, &options.url).await?,
            ..options.clone()
        };
        subscribe(&options, settings, &logging).await
    })
}

/// How long the relay may take to answer.
///
/// A relay that holds the SUBSCRIBE until a publisher comes must not be asked twice: the second request would leave the
/// queue for a moment, and miss the first object.
const fn answer_time(options: &SubOptions) -> Duration {
    match options.timeout.0 {
        Duration::ZERO => ONE_ANSWER,
        timeout => timeout,
    }
}

async fn subscribe(options: &SubOptions, settings: Options, logging: &Logging) -> Result<(), Failure> {
    let mut shutdown = signals::install(logging)?;
    let output = Output::open(options.output.output.as_deref())?;
    let asked = async {
        let connected = client::connect(&options.url, |target| {
            let settings = settings.clone();
            async move { Subscriber::connect(&target, settings).await }
        });
        let mut subscriber = connected.await?;
        let found = async {
            let largest = find(options, &mut subscriber).await?;
            let place = largest.map_or_else(|| "none".to_owned(), |largest| largest.to_string());
            debug!(logging.logger, "subscribed"; "largest" => place);
            Ok((largest, join(options, &subscriber, largest).await?))
        };
        match found.await {
            Ok((largest, past)) => Ok((subscriber, largest, past)),
            Err(failure) => Err(client::leave(failure, subscriber.close()).await),
        }
    };
    let (subscriber, largest, past) = tokio::select! {
        asked = asked => asked?,
        _ = shutdown.recv() => return Ok(()),
    };
    let meter = client::meter("received", &options.output);
    Receive::new(options, largest, output, meter)
        .after(past)
        .run(subscriber, shutdown)
        .await
}

/// Fetches what came before the subscription, where that is wanted and there is something.
async fn join(
    options: &SubOptions,
    subscriber: &Subscriber,
    largest: Option<Location>,
) -> Result<Option<Past>, Failure> {
    let (Some(join), Some(largest)) = (options.joins(), largest) else {
        return Ok(None);
    };
    let start = match join {
        // MOQT-14 §9.16.2.1 [D14-FETCH-13]: before group 0 there is none, and not every relay sees that by itself.
        Join::Back(groups) => Start::GroupsBack(groups.min(largest.group)),
        Join::From(group) => Start::Group(group),
    };
    let fetcher = subscriber.join(start).await;
    let fetcher = fetcher.map_err(|error| client::failure(&options.url, &error))?;
    Ok(Some(Past::new(fetcher, answer_time(options))))
}

/// Subscribes, again and again while the track is missing, until `--timeout`.
async fn find(options: &SubOptions, subscriber: &mut Subscriber) -> Result<Option<Location>, Failure> {
    let wanted = Wanted {
        track: options.track_name()?,
        filter: options.filter.0,
        priority: PRIORITY,
        new_group: options.new_group,
    };
    let deadline = Instant::now() + options.timeout.0;
    loop {
        let error = match subscriber.subscribe(wanted.clone()).await {
            Ok((largest, _)) => return Ok(largest),
            Err(error) => error,
        };
        if !is_missing(&error) {
            return Err(client::failure(&options.url, &error));
        }
        if Instant::now() + RETRY_PAUSE >= deadline {
            let what = if is(&error, RequestErrorReason::TrackDoesNotExist) {
                "does not exist"
            } else if client::remedy(&error).is_some() {
                "the relay is overloaded"
            } else {
                "no answer"
            };
            let reason = format!("{what}, tried for {} s", options.timeout.0.as_secs_f64());
            let remedy = client::remedy(&error)
                .unwrap_or("check the names, start a publisher, or wait longer with --timeout");
            let track = format!("track {}", wanted.track);
            return Err(Failure::new(Exit::Incomplete, track, reason, remedy));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Whether a publisher that comes later would mend it.
fn is_missing(error: &ClientError) -> bool {
    matches!(error, ClientError::Timeout)
        || is(error, RequestErrorReason::TrackDoesNotExist)
        || is(error, RequestErrorReason::Timeout)
}

fn is(error: &ClientError, reason: RequestErrorReason) -> bool {
    matches!(error, ClientError::Rejected(error) if error.reason == reason)
}

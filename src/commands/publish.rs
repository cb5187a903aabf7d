//! `laps pub`: publishes tracks from a file, standard input, the time, or made up.

use super::meter::Meter;
use super::open_source::open_source;
use super::{client, discover};
use crate::cli::{Flow, MAX_DATAGRAM_PAYLOAD, PubOptions, SourceKind};
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::signals::{self, Shutdown};
use crate::source::{Feed, Source, SourceError, SourceObject, Step};
use crate::stamp::unix_nanos;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use laps_actors::client::{self as actors, Options, Publisher, TrackWriter};
use laps_protocol::moqt::name::FullTrackName;
use slog::{Logger, trace};
use std::time::Duration;
use tokio::sync::watch;

/// How long the relay may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// What the last objects, and then the goodbye, may take after a signal: together they stay under two seconds.
const HURRY: Duration = Duration::from_millis(800);

/// Why publishing stops before the source is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Duration,
    Signal,
}

/// Runs `laps pub`.
///
/// # Errors
/// When a source cannot be read, the relay cannot be reached or refuses, or not everything could be sent.
pub fn run(options: &PubOptions) -> Result<(), Failure> {
    options.check()?;
    let (config, logging) = client::setup(&options.log)?;
    let settings = client::options(
        &config,
        (&options.trust, &options.access),
        (ANSWER, options.retry.retry.0),
        logging.logger.clone(),
    )?;
    actix::System::new().block_on(async {
        let options = PubOptions {
            url: discover::url(&options.find, &options.trust, &options.url).await?,
            ..options.clone()
        };
        publish(&options, settings, &logging).await
    })
}

async fn publish(options: &PubOptions, settings: Options, logging: &Logging) -> Result<(), Failure> {
    let mut shutdown = signals::install(logging)?;
    let first_group = first_group(&options.source, unix_nanos());
    let mut sources = Vec::new();
    for name in options.track_names()? {
        sources.push((name, open_source(options, first_group)?));
    }
    let meter = Meter::new("sent", options.interval.map(|every| every.0), true);
    let begun = async {
        let connected = client::connect(&options.url, |target| {
            let settings = settings.clone();
            async move { Publisher::connect(&target, settings).await }
        });
        let mut publisher = connected.await?;
        let mut tracks = Vec::new();
        for (name, source) in sources {
            match Track::begin(options, (&meter, &logging.logger), &mut publisher, name, source).await {
                Ok(track) => tracks.push(track),
                Err(failure) => {
                    drop(tracks);
                    return Err(client::leave(failure, publisher.close()).await);
                }
            }
        }
        Ok((publisher, tracks))
    };
    let (mut publisher, tracks) = tokio::select! {
        begun = begun => begun?,
        _ = shutdown.recv() => return Ok(()),
    };
    let result = send(options, &meter, &mut publisher, tracks, &mut shutdown).await;
    tokio::select! {
        // The relay finds out by itself when it does not hear the goodbye.
        _ = tokio::time::timeout(HURRY, publisher.close()) => {}
        _ = shutdown.recv() => {}
    }
    meter.finish("");
    result
}

/// Sends all tracks to their end, or until something ends it earlier.
async fn send(
    options: &PubOptions,
    meter: &Meter,
    publisher: &mut Publisher,
    tracks: Vec<Track<'_>>,
    shutdown: &mut Shutdown,
) -> Result<(), Failure> {
    let (stop, stopped) = watch::channel(None);
    let mut running: FuturesUnordered<_> = tracks
        .into_iter()
        .map(|track| track.run(stopped.clone()))
        .collect();
    let mut last = std::pin::pin!(async {
        match options.duration {
            Some(duration) => tokio::time::sleep(duration.0).await,
            None => std::future::pending().await,
        }
    });
    let mut hurry = std::pin::pin!(tokio::time::sleep(Duration::MAX));
    let mut result = Ok(());
    loop {
        tokio::select! {
            biased;
            _ = shutdown.recv() => {
                if stop.send_replace(Some(Stop::Signal)) == Some(Stop::Signal) {
                    return Ok(());
                }
                hurry.as_mut().reset(tokio::time::Instant::now() + HURRY);
            }
            () = &mut hurry => return Ok(()),
            () = &mut last, if stop.borrow().is_none() => {
                stop.send_replace(Some(Stop::Duration));
            }
            () = meter.due() => meter.show(""),
            ended = running.next() => match ended {
                // A signal asks for the end, whatever was still to be sent.
                None if *stop.borrow() == Some(Stop::Signal) => return Ok(()),
                None => return result,
                Some(ended) => result = result.and(ended),
            },
            why = publisher.closed() => return Err(client::failure(&options.url, &why)),
        }
    }
}

/// One track on its way.
struct Track<'a> {
    options: &'a PubOptions,
    meter: &'a Meter,
    log: &'a Logger,
    name: FullTrackName,
    writer: TrackWriter,
    feed: Feed,
    sent: u64,
}

impl<'a> Track<'a> {
    async fn begin(
        options: &'a PubOptions,
        (meter, log): (&'a Meter, &'a Logger),
        publisher: &mut Publisher,
        name: FullTrackName,
        source: impl Source + Send + 'static,
    ) -> Result<Self, Failure> {
        let flow = match options.flow {
            Flow::Announce => actors::Flow::Announce,
            Flow::Publish => actors::Flow::Publish,
        };
        let mut writer = publisher
            .publish(name.clone(), flow)
            .await
            .map_err(|error| client::failure(&options.url, &error))?;
        // MOQT-14 §10.4.2 [D14-DATA-6]: of a file it is known that all of a group comes. Others may be cut off within
        // a group, and another publisher may go on with it.
        writer.set_whole_groups(matches!(options.source, SourceKind::File(_)));
        let feed = Feed::start(source)
            .map_err(|error| Failure::run("a thread for the source", error.to_string(), ""))?;
        Ok(Self {
            options,
            meter,
            log,
            name,
            writer,
            feed,
            sent: 0,
        })
    }

    /// Sends until the end of the source, `--count`, or a stop; then ends the track.
    async fn run(mut self, mut stopped: watch::Receiver<Option<Stop>>) -> Result<(), Failure> {
        let stop = tokio::select! {
            biased;
            stop = stopped.wait_for(Option::is_some) => stop.ok().and_then(|stop| *stop),
            sent = self.send() => {
                sent?;
                None
            }
        };
        let cut_short = stop == Some(Stop::Signal) && matches!(self.options.source, SourceKind::File(_));
        if cut_short || self.options.sync {
            // Others go on with the group where this one leaves it, and after a FIN they may not. MOQT-14 §2.5
            // [D14-MAL-2]
            //
            // MOQT-14 §10.4.3 [D14-CLOSE-1]: the group is not whole, so its stream is not finished.
            self.writer.cut().await.map_err(|error| self.fault(&error))?;
        }
        let (sent, name) = (self.sent, self.name.clone());
        self.writer.finish().await.map_err(|error| fault(&name, &error))?;
        match self.options.count {
            Some(count) if sent < count => {
                let reason = format!("{sent} of {count} objects were sent");
                Err(Failure::new(
                    Exit::Incomplete,
                    format!("track {name}"),
                    reason,
                    "",
                ))
            }
            _ => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        // Live sources go on while nobody wants them; what is in a file waits.
        let waits = matches!(self.options.source, SourceKind::File(_) | SourceKind::Stdin);
        // The last object of the group so far was not sent.
        let mut left_out = false;
        while self.options.count.is_none_or(|count| self.sent < count) {
            match self.step().await? {
                Some(Ok(Step::Object(object))) => {
                    let at = object.location;
                    trace!(self.log, "object made"; "group" => at.group, "object" => at.object);
                    if waits {
                        self.writer.wanted().await.map_err(|error| self.fault(&error))?;
                    }
                    left_out = !self.writer.is_wanted();
                    if !left_out {
                        self.object(object).await?;
                    }
                }
                Some(Ok(Step::Gap)) => left_out = true,
                Some(Ok(Step::GroupStart(_))) => {
                    // MOQT-14 §10.4.3 [D14-CLOSE-1]: a FIN says that nothing is missing at the end of the group, and
                    // another publisher of the track may have sent it. [D14-MAL-2]
                    let ended = if std::mem::take(&mut left_out) {
                        self.writer.cut().await
                    } else {
                        self.writer.end_group().await
                    };
                    ended.map_err(|error| self.fault(&error))?;
                }
                // A feed keeps its waits to itself.
                Some(Ok(Step::WaitUntil(_))) => {}
                Some(Ok(Step::End)) => return Ok(()),
                Some(Err(error)) => return Err(self.source_fault(&error.to_string())),
                None => return Err(self.source_fault("its thread ended")),
            }
        }
        Ok(())
    }

    /// The source's next step. It is told of wishes for a new group meanwhile.
    async fn step(&mut self) -> Result<Option<Result<Step, SourceError>>, Failure> {
        loop {
            tokio::select! {
                biased;
                step = self.feed.next() => return Ok(step),
                asked = self.writer.new_group_requested() => {
                    asked.map_err(|error| self.fault(&error))?;
                    if self.writer.take_new_group_request() {
                        self.feed.new_group();
                    }
                }
            }
        }
    }

    async fn object(&mut self, object: SourceObject) -> Result<(), Failure> {
        let (at, bytes) = (object.location, object.payload.len());
        let sent = if self.options.datagram {
            if bytes > MAX_DATAGRAM_PAYLOAD {
                let reason = format!(
                    "object {}/{} has {bytes} bytes, a datagram takes {MAX_DATAGRAM_PAYLOAD}",
                    at.group, at.object
                );
                return Err(Failure::run(self.source(), reason, "leave out --datagram"));
            }
            self.writer.datagram(at.group, at.object, object.payload).await
        } else {
            self.writer.object(at, vec![object.payload]).await
        };
        sent.map_err(|error| self.fault(&error))?;
        self.sent += 1;
        self.meter.add(bytes as u64);
        Ok(())
    }

    fn fault(&self, error: &actors::ClientError) -> Failure {
        fault(&self.name, error)
    }

    fn source_fault(&self, reason: &str) -> Failure {
        Failure::run(self.source(), reason, "")
    }

    fn source(&self) -> String {
        match &self.options.source {
            SourceKind::File(path) => path.display().to_string(),
            SourceKind::Stdin => "standard input".to_owned(),
            SourceKind::Clock => "clock".to_owned(),
            SourceKind::Synth => "synth".to_owned(),
        }
    }
}

fn fault(name: &FullTrackName, error: &actors::ClientError) -> Failure {
    Failure::run(format!("track {name}"), error.to_string(), "")
}

/// Where groups begin to count.
///
/// MOQT-14 §2.5.1 [D14-LIB-4]: a publisher that starts again must not give a place another object, so groups of what
/// is made or piped count from the time, in microseconds: no run makes more than a group each. The same file has the
/// same objects at each run, so its groups count from 0, and two publishers of it can stand in for each other. The
/// clock has its own numbers.
const fn first_group(source: &SourceKind, now_unix_nanos: u64) -> u64 {
    match source {
        SourceKind::Synth | SourceKind::Stdin => now_unix_nanos / 1_000,
        SourceKind::File(_) | SourceKind::Clock => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-LIB-4
    #[test]
    fn what_is_not_the_same_again_gets_new_groups() {
        // MOQT-14 §2.5.1 [D14-LIB-4]
        let now = 1_800_000_000_000_000_000;
        for source in [SourceKind::Synth, SourceKind::Stdin] {
            assert!(first_group(&source, now) < first_group(&source, now + 1_000));
            assert!(first_group(&source, u64::MAX) < 1 << 62);
        }
        assert_eq!(first_group(&SourceKind::File("x".into()), now), 0);
    }
}

//! `laps ns`: shows what a relay knows below a prefix, and each change of it.

use super::client;
use super::output::{Output, Written};
use crate::cli::NsOptions;
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::signals::{self, Shutdown};
use bytes::Bytes;
use laps_actors::client::{Change, ClientError, Options, Watcher};
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// How long the relay may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What the last lines and the goodbye may take after a signal: both together stay under two seconds.
const HURRY: Duration = Duration::from_millis(700);

/// Runs `laps ns`.
///
/// # Errors
/// When the relay cannot be reached, refuses the prefix or ends the session, or the output cannot be written.
pub fn run(options: &NsOptions) -> Result<(), Failure> {
    options.check()?;
    let (config, logging) = client::setup(&options.log)?;
    let settings = client::options(
        &config,
        (&options.trust, &options.access),
        // What is there now is a question to one session.
        (
            ANSWER,
            if options.once {
                Duration::ZERO
            } else {
                options.retry.retry.0
            },
        ),
        logging.logger.clone(),
    )?;
    actix::System::new().block_on(watch(options, settings, &logging))
}

async fn watch(options: &NsOptions, settings: Options, logging: &Logging) -> Result<(), Failure> {
    let mut shutdown = signals::install(logging)?;
    let mut output = Output::open(None)?;
    let prefix = options.prefix()?;
    let asked = async {
        let connected = client::connect(&options.url, |target| {
            let settings = settings.clone();
            async move { Watcher::connect(&target, settings).await }
        });
        let mut watcher = connected.await?;
        let watched = watcher.watch(prefix.clone()).await;
        match watched {
            Ok(_) => Ok(watcher),
            Err(error) => Err(client::leave(refused(options, &error), watcher.close()).await),
        }
    };
    let mut watcher = tokio::select! {
        asked = asked => asked?,
        _ = shutdown.recv() => return Ok(()),
    };
    let mut end = if options.once {
        once(options, &mut watcher, &mut output, &mut shutdown).await
    } else {
        follow(options, &mut watcher, &mut output, &mut shutdown).await
    };
    if !matches!(end, End::Output(_)) {
        tokio::select! {
            written = output.finish() => if let Written::Failed(failure) = written {
                end = End::Output(Written::Failed(failure));
            },
            // The second signal, or a reader of our pipe that does not read.
            _ = shutdown.recv() => {}
            () = tokio::time::sleep(HURRY), if matches!(end, End::Signal) => {}
        }
    }
    tokio::select! {
        // The relay finds out by itself when it does not hear the goodbye.
        _ = tokio::time::timeout(HURRY, watcher.close()) => {}
        _ = shutdown.recv() => {}
    }
    match end {
        End::Done | End::Signal | End::Output(Written::All | Written::PipeClosed) => Ok(()),
        End::Output(Written::Failed(failure)) => Err(failure),
        // What was listed is true of this relay only, so it is not gone on with at another.
        End::Session(error @ ClientError::AskedAway(_)) => Err(Failure::new(
            Exit::Incomplete,
            options.url.to_string(),
            error.to_string(),
            "ask there again",
        )),
        End::Session(error) => Err(client::failure(&options.url, &error)),
    }
}

/// Why the watching ended.
enum End {
    Done,
    Signal,
    Session(ClientError),
    Output(Written),
}

/// Shows what is there.
async fn once(
    options: &NsOptions,
    watcher: &mut Watcher,
    output: &mut Output,
    shutdown: &mut Shutdown,
) -> End {
    let settled = tokio::select! {
        settled = watcher.settled() => settled,
        _ = shutdown.recv() => return End::Signal,
    };
    // What came before the session ended is shown all the same.
    while let Some(change) = watcher.take_ready() {
        output.give(vec![line(&change, options.json)]);
    }
    settled.map_or_else(End::Session, |()| End::Done)
}

/// Shows what is there and every change, until something ends it.
async fn follow(
    options: &NsOptions,
    watcher: &mut Watcher,
    output: &mut Output,
    shutdown: &mut Shutdown,
) -> End {
    let last = options.duration.map(|duration| Instant::now() + duration.0);
    // One wait over all rounds: another session may be in the making.
    let mut next = Box::pin(watcher.next());
    loop {
        let free = output.is_free();
        tokio::select! {
            biased;
            _ = shutdown.recv() => return End::Signal,
            () = until(last) => return End::Done,
            ended = output.pump() => if let Some(written) = ended {
                return End::Output(written);
            },
            change = &mut next, if free => match change {
                Ok(change) => {
                    output.give(vec![line(&change, options.json)]);
                    drop(next);
                    next = Box::pin(watcher.next());
                }
                Err(error) => return End::Session(error),
            },
        }
    }
}

async fn until(last: Option<Instant>) {
    match last {
        Some(last) => tokio::time::sleep_until(last).await,
        None => std::future::pending().await,
    }
}

fn refused(options: &NsOptions, error: &ClientError) -> Failure {
    if matches!(error, ClientError::Rejected(_)) {
        let prefix = format!("prefix {}", options.prefix);
        let remedy = client::remedy(error).unwrap_or("not every relay tells of namespaces");
        return Failure::run(prefix, error.to_string(), remedy);
    }
    client::failure(&options.url, error)
}

/// A change as it is shown, with its newline.
fn line(change: &Change, json: bool) -> Bytes {
    #[derive(Serialize)]
    struct Line {
        change: &'static str,
        namespace: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        track: Option<String>,
    }
    let (sign, namespace, track) = match change {
        Change::Namespace(namespace) => ("+", namespace, None),
        Change::NamespaceGone(namespace) => ("-", namespace, None),
        // As `laps sub` takes it.
        Change::Track(name) => ("+", name.namespace(), Some(crate::names::track_text(name))),
    };
    let line = Line {
        change: sign,
        namespace: namespace.to_string(),
        track,
    };
    let mut text = if json {
        // Texts always have a JSON form.
        serde_json::to_string(&line).unwrap_or_default()
    } else {
        let track = line.track.map(|track| format!(" {track}")).unwrap_or_default();
        format!("{sign} {}{track}", line.namespace)
    };
    text.push('\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{parse_full_name, parse_namespace};

    #[test]
    fn a_change_is_one_line() {
        let track = Change::Track(parse_full_name("a/b", "c d/e:f").unwrap());
        let namespace = parse_namespace("a/b%2f").unwrap();
        for (change, text, json) in [
            (
                Change::Namespace(namespace.clone()),
                "+ a/b%2f\n",
                r#"{"change":"+","namespace":"a/b%2f"}"#,
            ),
            (
                Change::NamespaceGone(namespace),
                "- a/b%2f\n",
                r#"{"change":"-","namespace":"a/b%2f"}"#,
            ),
            (
                track,
                "+ a/b c%20d%2fe:f\n",
                r#"{"change":"+","namespace":"a/b","track":"c%20d%2fe:f"}"#,
            ),
        ] {
            assert_eq!(line(&change, false), text);
            assert_eq!(line(&change, true), format!("{json}\n"));
        }
    }
}

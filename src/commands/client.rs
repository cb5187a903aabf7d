//! What the clients share: settings, the way to the relay, the end, and how a failure is told.

use super::meter::{Meter, say};
use super::output::{Output, Written};
use crate::cli::{AccessOptions, LogOptions, OutputOptions, TrustOptions};
use crate::config::{self, Config, Layers, LogLevel};
use crate::exit::{Failure, one_line};
use crate::logging::Logging;
use crate::signals::Shutdown;
use crate::url::MoqtUrl;
use laps_actors::client::{ClientError, Moving, Notice, Options, Step, Subscriber, Target, reach};
use laps_actors::transport::ConnectError;
use laps_actors::{session, track};
use laps_protocol::moqt::message::{RequestError, RequestErrorReason};
use laps_protocol::relay::load::OVERLOADED;
use slog::Logger;
use std::future::Future;
use std::time::Duration;

/// What the last objects and the goodbye may take after a signal: both together stay under two seconds.
const HURRY: Duration = Duration::from_millis(700);

/// The configuration from flags and environment, and the log; quiet unless either asks for more.
pub(super) fn setup(log: &LogOptions) -> Result<(Config, Logging), Failure> {
    let layers = Layers::of_process(None, log.overrides());
    let mut config = config::load(&layers)?;
    let by_flag = layers.overrides.iter().any(|over| over.key == "logging.level");
    let by_env = std::env::vars_os().any(|(name, _)| name.eq_ignore_ascii_case("LAPS_LOGGING__LEVEL"));
    if !by_flag && !by_env {
        // Standard error is for the person who typed the command; a relay's log is for its operator.
        config.logging.level = LogLevel::Error;
    }
    let logging = Logging::start(&config.logging);
    Ok((config, logging))
}

/// Settings of a client session. `answer` is how long the relay may take to answer a SUBSCRIBE, `retry` how long a session
/// that fails is tried again.
pub(super) fn options(
    config: &Config,
    (trust, access): (&TrustOptions, &AccessOptions),
    (answer, retry): (Duration, Duration),
    log: Logger,
) -> Result<Options, Failure> {
    Ok(Options {
        verify: trust.verify()?,
        token: access.token()?,
        transport: config.transport.settings(),
        session: session::Config {
            core: config.session.settings(),
            ..session::Config::default()
        },
        track: track::Config {
            limits: config.track_limits(),
            upstream_timeout: answer,
            ..track::Config::default()
        },
        moving: Moving {
            retry,
            notice: Notice::new(|step| say(&told(step))),
            ..Moving::default()
        },
        log,
    })
}

/// A step of a session, as a person is told of it.
fn told(step: Step<'_>) -> String {
    match step {
        Step::Moved(to) => format!("moved to {to} because the relay asked for it"),
        Step::Lost { at, why } => format!("connection to {at} lost ({}); trying again", one_line(why)),
        Step::TrackLost { why } => format!("track lost ({}); trying again", one_line(why)),
        Step::Back { at, after } => format!("back at {at} after {:.1} s", after.as_secs_f64()),
    }
}

/// Looks the host up and tries its addresses, each a moment after the one before; the first that answers is taken.
pub(super) async fn connect<T, F>(url: &MoqtUrl, attempt: impl Fn(Target) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let connected = async { reach::first(reach::targets(url).await?, attempt).await };
    connected.await.map_err(|error| failure(url, &error))
}

/// Shows how far the receiving has come.
pub(super) fn meter(verb: &'static str, output: &OutputOptions) -> Meter {
    // A spinner beside the objects would tear them apart.
    Meter::new(
        verb,
        output.interval.map(|every| every.0),
        output.leaves_the_terminal(),
    )
}

/// Writes what is left; how that went, or none when a signal or, in a hurry, the time cut it short.
pub(super) async fn write_rest(
    output: &mut Output,
    shutdown: &mut Shutdown,
    hurried: bool,
) -> Option<Written> {
    tokio::select! {
        written = output.finish() => Some(written),
        // The second signal, or a reader of our pipe that does not read.
        _ = shutdown.recv() => None,
        () = tokio::time::sleep(HURRY), if hurried => None,
    }
}

/// Ends the session, for as long as that may take.
pub(super) async fn goodbye(subscriber: Subscriber, shutdown: &mut Shutdown) {
    let goodbye = tokio::time::timeout(HURRY, subscriber.close());
    tokio::select! {
        // The relay finds out by itself when it does not hear the goodbye.
        _ = goodbye => {}
        _ = shutdown.recv() => {}
    }
}

/// Says `goodbye` on the way out of a failure: a relay that hears nothing keeps the session until its idle timeout, and
/// counts it for this address.
pub(super) async fn leave(failure: Failure, goodbye: impl Future) -> Failure {
    drop(tokio::time::timeout(HURRY, goodbye).await);
    failure
}

/// What went wrong with the relay at `url`, as the line to end with.
pub(super) fn failure(url: &MoqtUrl, error: &ClientError) -> Failure {
    if let ClientError::Unresolved(reason) = error {
        return Failure::run(url.to_string(), reason, "check the host name");
    }
    let remedy = if let ClientError::Connect(fault) = error {
        connect_remedy(fault)
    } else if let ClientError::Lost { last, .. } = error {
        if let ClientError::Connect(fault) = &**last {
            connect_remedy(fault)
        } else {
            "try for longer with --retry"
        }
    } else {
        remedy(error).unwrap_or_default()
    };
    Failure::run(url.to_string(), error.to_string(), remedy)
}

/// What to do when the relay cannot be reached.
const fn connect_remedy(fault: &ConnectError) -> &'static str {
    if matches!(fault, ConnectError::Untrusted { .. }) {
        "give the SHA-256 that the relay prints with --cert-hash, or its issuer with --ca"
    } else if matches!(fault, ConnectError::NoCommonProtocol { .. }) {
        "check that it is a relay for draft 14 over raw QUIC"
    } else if matches!(fault, ConnectError::Refused { .. }) {
        ELSEWHERE
    } else {
        "check that the relay runs, its host and its port"
    }
}

/// Whether it was refused for nothing but the load of the relay.
pub(super) fn is_overload(error: &RequestError) -> bool {
    error.phrase == OVERLOADED.as_bytes()
}

/// What to do when it is the token that was not enough, or the relay has no room just now.
pub(super) fn remedy(error: &ClientError) -> Option<&'static str> {
    if matches!(error, ClientError::NotLetIn(_)) {
        return Some(OTHER_TOKEN);
    }
    let ClientError::Rejected(error) = error else {
        return None;
    };
    if is_overload(error) {
        return Some(LATER);
    }
    if error.reason == RequestErrorReason::Unauthorized {
        return Some(PASS_TOKEN);
    }
    let wrong = [
        RequestErrorReason::MalformedAuthToken,
        RequestErrorReason::ExpiredAuthToken,
    ];
    wrong.contains(&error.reason).then_some(OTHER_TOKEN)
}

/// For who is served another time, or by another relay.
pub(super) const LATER: &str = "ask again later, or another relay";
/// For who was not let in.
pub(super) const ELSEWHERE: &str =
    "it is full, overloaded or about to end: try again later, or another relay";
/// For who has shown none, or one for something else.
pub(super) const PASS_TOKEN: &str = "pass a token that allows it with --token or --token-file";
/// For who has shown one that is none, or is over.
pub(super) const OTHER_TOKEN: &str = "pass another token with --token or --token-file";

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> MoqtUrl {
        text.parse().unwrap()
    }

    /// D14-LIB-1
    #[test]
    fn who_is_refused_for_load_is_told_what_helps() {
        let refused = |reason, phrase| ClientError::Rejected(RequestError::new(reason, phrase));
        let loaded = refused(RequestErrorReason::Timeout, OVERLOADED);
        assert_eq!(remedy(&loaded), Some(LATER));
        assert_eq!(
            remedy(&refused(RequestErrorReason::Timeout, "no publisher")),
            None
        );
        let full = ClientError::Connect(ConnectError::Refused {
            addr: ([127, 0, 0, 1], 7).into(),
        });
        let line = failure(&url("moqt://127.0.0.1:7/x"), &full).to_string();
        assert!(
            line.contains("refused the connection; it is full, overloaded"),
            "{line}"
        );
    }

    /// D14-LIB-1
    #[actix_rt::test]
    async fn when_no_address_answers_the_first_fault_is_told() {
        let failed: Result<(), Failure> = connect(&url("moqt://127.0.0.1:7/x"), |_| async {
            Err(ClientError::Timeout)
        })
        .await;
        let line = failed.unwrap_err().to_string();
        assert_eq!(line, "moqt://127.0.0.1:7/x: no answer from the relay in time");
    }
}

//! `laps demo`: a mesh of three relays in this process, a clock that one of them takes in, and viewers at both ends.

mod mesh;
mod show;
mod table;
mod viewer;

use super::meter::say;
use super::{client, print};
use crate::cli::DemoOptions;
use crate::exit::{Exit, Failure};
use crate::logging::Logging;
use crate::signals::{self, Shutdown};
use crate::source::utc;
use crate::stamp::unix_nanos;
use bytes::Bytes;
use laps_actors::client::{self as actors, ClientError, Flow, Publisher, TrackWriter};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::name::FullTrackName;
use mesh::Mesh;
use show::Show;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use table::Sent;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use viewer::Viewer;

/// How often the clock ticks, and how many ticks are a group.
const TICK: Duration = Duration::from_millis(100);
const TICKS_OF_A_GROUP: u64 = 10;
/// How long until everybody has met everybody; a busy machine needs a second or two.
const MEETING: Duration = Duration::from_secs(30);
/// What is on its way at the end has so long to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// What each part of a relay gets to end.
const DRAIN: Duration = Duration::from_millis(1500);

/// Runs `laps demo`.
///
/// # Errors
/// When the relays do not start or do not meet, and when a viewer did not get each object once, as it was sent.
pub fn run(options: &DemoOptions) -> Result<(), Failure> {
    options.check()?;
    let (_, logging) = client::setup(&options.log)?;
    actix::System::new().block_on(demo(options, &logging))
}

async fn demo(options: &DemoOptions, logging: &Logging) -> Result<(), Failure> {
    let mut shutdown = signals::install(logging)?;
    let mesh = tokio::select! {
        mesh = Mesh::start(logging) => mesh?,
        _ = shutdown.recv() => return Ok(()),
    };
    let result = watch(options, &mesh, &mut shutdown).await;
    mesh.end(DRAIN).await;
    result
}

/// Shows the clock until somebody or the time ends it, and says whether everything arrived.
async fn watch(options: &DemoOptions, mesh: &Mesh, shutdown: &mut Shutdown) -> Result<(), Failure> {
    let name = mesh::track()?;
    let begun = tokio::select! {
        begun = timeout(MEETING, begin(mesh, &name)) => begun,
        _ = shutdown.recv() => return Ok(()),
    };
    let slow = || {
        Failure::run(
            "demo",
            "publisher and viewers did not meet in time",
            "try again with --debug",
        )
    };
    let (mut publisher, writer, viewers) = begun.map_err(|_| slow())??;
    let mut show = Show::new(mesh.lines());
    show.begin()?;
    let sent = Rc::new(RefCell::new(Sent::default()));
    let ended = play(
        options,
        (writer, &mut publisher),
        &viewers,
        &sent,
        (&mut show, &mut *shutdown),
    )
    .await;
    // The last objects are on their way; another signal does not wait for them.
    let arrived = async {
        for viewer in &viewers {
            viewer.done().await;
        }
    };
    tokio::select! {
        _ = timeout(ARRIVAL, arrived) => {}
        _ = shutdown.recv() => {}
    }
    show.frame(&sent.borrow(), &viewers)?;
    let verdict = verdict(&sent.borrow(), &viewers);
    for viewer in viewers {
        viewer.close().await;
    }
    publisher.close().await;
    ended?;
    print(&verdict?)
}

/// The viewers at the far end come first: when objects are wanted then, the way to them is there.
async fn begin(mesh: &Mesh, name: &FullTrackName) -> Result<(Publisher, TrackWriter, Vec<Viewer>), Failure> {
    let failed = |error: ClientError| Failure::run("demo", error.to_string(), "try again with --debug");
    let near = mesh.near();
    let mut publisher = Publisher::connect(&near.target, mesh.options())
        .await
        .map_err(failed)?;
    let mut writer = publisher
        .publish(name.clone(), Flow::Announce)
        .await
        .map_err(failed)?;
    let mut viewers = Vec::new();
    for at in [mesh.far(), mesh.far(), near] {
        viewers.push(Viewer::start(at, mesh.options(), name).await.map_err(failed)?);
        writer.wanted().await.map_err(failed)?;
    }
    viewers.reverse();
    Ok((publisher, writer, viewers))
}

/// Lets the clock tick, and then ends its track.
async fn play(
    options: &DemoOptions,
    (mut writer, publisher): (TrackWriter, &mut Publisher),
    viewers: &[Viewer],
    sent: &RefCell<Sent>,
    (show, shutdown): (&mut Show, &mut Shutdown),
) -> Result<(), Failure> {
    let failed = |error: ClientError| Failure::run("demo", error.to_string(), "");
    let last = options.seconds.map(|seconds| Instant::now() + seconds.0);
    let mut over = std::pin::pin!(async {
        match last {
            Some(last) => tokio::time::sleep_until(last).await,
            None => std::future::pending().await,
        }
    });
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frames = tokio::time::interval(show.every());
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = shutdown.recv() => break,
            () = &mut over => break,
            why = publisher.closed() => return Err(failed(why)),
            _ = frames.tick() => show.frame(&sent.borrow(), viewers)?,
            _ = ticks.tick() => {
                let number = sent.borrow().count();
                let payload = Bytes::from(time_of_day());
                sent.borrow_mut().add(payload.clone());
                writer.object(place(number), vec![payload]).await.map_err(failed)?;
                if number % TICKS_OF_A_GROUP == TICKS_OF_A_GROUP - 1 {
                    writer.end_group().await.map_err(failed)?;
                }
            }
        }
    }
    tokio::select! {
        finished = writer.finish() => finished.map_err(failed),
        // The second one.
        _ = shutdown.recv() => Ok(()),
    }
}

/// Where the object of this number stands.
const fn place(number: u64) -> Location {
    Location::new(number / TICKS_OF_A_GROUP, number % TICKS_OF_A_GROUP)
}

/// The number of the object in this place; none for a place that has none.
fn number(place: Location) -> Option<u64> {
    let object = place.object;
    (object < TICKS_OF_A_GROUP).then(|| place.group.checked_mul(TICKS_OF_A_GROUP)?.checked_add(object))?
}

/// The time in UTC with its tenth of a second.
fn time_of_day() -> String {
    let tenths = unix_nanos() / 100_000_000;
    let text = utc(tenths / 10);
    format!("{}.{}Z", text.trim_end_matches('Z'), tenths % 10)
}

/// Whether every viewer got every object, as the line to end with.
fn verdict(sent: &Sent, viewers: &[Viewer]) -> Result<String, Failure> {
    let count = sent.count();
    let wrong: Vec<String> = viewers.iter().filter_map(|viewer| viewer.fault(sent)).collect();
    for line in &wrong {
        say(line);
    }
    if !wrong.is_empty() {
        let reason = format!(
            "{} of {} viewers did not get each of {count} objects once",
            wrong.len(),
            viewers.len()
        );
        return Err(Failure::new(
            Exit::Incomplete,
            "demo",
            reason,
            "try again with --debug",
        ));
    }
    Ok(format!(
        "{count} objects sent, and each of {} viewers got each of them once",
        viewers.len()
    ))
}

/// What clients of the mesh have in common.
type Options = actors::Options;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_places_are_one() {
        for count in [0, 1, 9, 10, 11, 99, 12_345] {
            assert_eq!(number(place(count)), Some(count));
        }
        assert_eq!(number(Location::new(0, TICKS_OF_A_GROUP)), None);
        assert_eq!(number(Location::new(u64::MAX, 0)), None);
    }
}

//! What lives in the process, whoever holds it.

use super::Row;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of thing that is counted for the process as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// Actors of connections.
    Connections,
    /// Actors of sessions.
    Sessions,
    /// Actors of subscriptions.
    Subscriptions,
    /// Actors of announcements.
    Announcements,
    /// Actors that watch a namespace prefix.
    NamespaceSubscriptions,
    /// Actors that answer TRACK_STATUS.
    Statuses,
    /// Actors that answer FETCH.
    Fetches,
    /// Home copies of tracks.
    Tracks,
    /// Copies of tracks on other shards.
    Replicas,
    /// Logs of tracks, home copies and replicas.
    Logs,
    /// Sending halves of streams.
    SendStreams,
    /// Receiving halves of streams.
    RecvStreams,
}

impl Thing {
    const ALL: [Self; 12] = [
        Self::Connections,
        Self::Sessions,
        Self::Subscriptions,
        Self::Announcements,
        Self::NamespaceSubscriptions,
        Self::Statuses,
        Self::Fetches,
        Self::Tracks,
        Self::Replicas,
        Self::Logs,
        Self::SendStreams,
        Self::RecvStreams,
    ];

    /// The row it has.
    const fn table(self) -> &'static str {
        match self {
            Self::Connections => "process.connection_actors",
            Self::Sessions => "process.session_actors",
            Self::Subscriptions => "process.subscription_actors",
            Self::Announcements => "process.announce_actors",
            Self::NamespaceSubscriptions => "process.namespace_actors",
            Self::Statuses => "process.status_actors",
            Self::Fetches => "process.fetch_actors",
            Self::Tracks => "process.track_actors",
            Self::Replicas => "process.replica_actors",
            Self::Logs => "process.logs",
            Self::SendStreams => "process.send_streams",
            Self::RecvStreams => "process.recv_streams",
        }
    }

    /// What a child of this kind is; none for the few that live as long as the process.
    pub(crate) const fn of_child(kind: &str) -> Option<Self> {
        // Strings are compared by their bytes where a constant is wanted.
        match kind.as_bytes() {
            b"connection" => Some(Self::Connections),
            b"session" => Some(Self::Sessions),
            b"subscription" => Some(Self::Subscriptions),
            b"announce" => Some(Self::Announcements),
            b"namespace" => Some(Self::NamespaceSubscriptions),
            b"status" => Some(Self::Statuses),
            b"fetch" => Some(Self::Fetches),
            b"track" => Some(Self::Tracks),
            b"replica" => Some(Self::Replicas),
            _ => None,
        }
    }
}

static LIVE: [AtomicU64; Thing::ALL.len()] = [const { AtomicU64::new(0) }; Thing::ALL.len()];

fn live(thing: Thing) -> Option<&'static AtomicU64> {
    LIVE.get(thing as usize)
}

/// One thing, as long as this lives. A field of what it counts: its drop is the thing's end, a panic included.
#[derive(Debug)]
pub struct Counted(Thing);

impl Counted {
    /// One more.
    #[must_use]
    pub fn new(thing: Thing) -> Self {
        if let Some(count) = live(thing) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self(thing)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(count) = live(self.0) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How many there are of each.
pub(super) fn rows() -> impl Iterator<Item = Row> {
    Thing::ALL.into_iter().map(|thing| Row {
        table: thing.table().to_owned(),
        count: live(thing).map_or(0, |count| count.load(Ordering::Relaxed)),
    })
}

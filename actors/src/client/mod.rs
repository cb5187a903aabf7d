//! Clients: sessions that this process opens, to publish and to subscribe.
//!
//! A client is a small relay of its own: the same session actor in the client's role, the same tracks and logs, on
//! one arbiter. A publisher's tracks are fed by [`TrackWriter`]; a subscriber's are read by [`SubscriberActor`].
//!
//! When the relay says GOAWAY, [`Publisher`] and [`Subscriber`] make the next session beside the one they have
//! ([`Moving`]): `voice` and `link` are one session each, `follow` makes the next one, `ledger` sees to it that what
//! comes twice is given once, `filling` fetches what neither gave. A session that fails comes back the same way: `silence`
//! suspects it before it is over, `again` says when and for how long another one is tried.

mod again;
mod connect;
mod fetcher;
mod filling;
mod follow;
mod item;
mod join;
mod journey;
mod ledger;
mod link;
mod moving;
mod publisher;
pub mod reach;
mod reading;
mod sight;
mod silence;
mod subscriber;
mod tether;
pub mod url;
mod voice;
mod watcher;
mod writer;

pub use connect::{ClientError, Options, Target};
pub use fetcher::{FetchItem, Fetcher, FetcherActor};
pub use item::{Item, ReceivedObject, Wanted};
pub use join::Start;
pub use link::SubscriberActor;
pub use moving::{Moving, Notice, Step};
pub use publisher::{Flow, Publisher};
pub use subscriber::Subscriber;
pub use voice::PublisherActor;
pub use watcher::{Change, Watcher};
pub use writer::TrackWriter;

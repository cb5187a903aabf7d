//! Clients: sessions that this process opens, to publish and to subscribe.
//!
//! A client is a small relay of its own: the same session actor in the client's role, the same tracks and logs, on
//! one arbiter. A publisher's tracks are fed by [`TrackWriter`]; a subscriber's are read by [`SubscriberActor`].

mod connect;
mod publisher;
mod subscriber;

pub use connect::{ClientError, Options, Target};
pub use publisher::{Flow, Publisher, PublisherActor, TrackWriter};
pub use subscriber::{Item, ReceivedObject, Subscriber, SubscriberActor, Wanted};

//! Publishers that feed one track together.

use super::raw::Raw;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, RequestId};
use laps_protocol::moqt::name::FullTrackName;

/// How a publisher offers its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Announce,
    Publish,
}

/// A client that feeds a track.
pub struct Feeder {
    pub raw: Raw,
    pub alias: u64,
    /// The relay's SUBSCRIBE or our PUBLISH.
    pub request: RequestId,
}

impl Feeder {
    /// Offers the track, and waits until the relay wants it: somebody reads it.
    pub async fn join(
        mut raw: Raw,
        flow: Flow,
        name: &FullTrackName,
        alias: u64,
        largest: Option<Location>,
    ) -> Self {
        let request = match flow {
            Flow::Announce => {
                raw.announce(name.namespace()).await;
                let (request, asked) = raw.asked(name, 0).await;
                assert!(asked.forward);
                raw.accept(request, alias, largest).await;
                request
            }
            Flow::Publish => {
                let request = raw.publish(name, alias, true).await;
                // MOQT-14 §8.4 [D14-SUB-26]
                assert!(raw.publish_ok(request).await.forward);
                request
            }
        };
        Self { raw, alias, request }
    }

    /// Writes a whole group on one stream.
    pub async fn group(&mut self, group: u64, objects: u64) {
        self.raw.group(self.alias, group, objects).await;
    }

    /// Waits until the relay says that objects are wanted, or that they are not, for the `nth` time.
    pub async fn told(&mut self, nth: usize) -> bool {
        let request = self.request;
        self.raw
            .wait(|log| Raw::updates(log, request).get(nth).map(|update| update.forward))
            .await
    }

    /// Waits until the relay has let go of it.
    pub async fn released(&mut self) {
        let request = self.request;
        self.raw
            .control(|message| {
                matches!(message, ControlMessage::Unsubscribe(of) if *of == request).then_some(())
            })
            .await;
    }
}

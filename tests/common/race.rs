//! Two subscribers of one track, one of which reads nothing.

use super::raw::{News, Raw, Reading, raw};
use super::{relay, track};
use laps::relay::{Relay, Settings};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::{ControlMessage, RequestId, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;

/// What a peer's connection takes of what it does not read. The connection's window is what stops it: s2n-quic 1.91 gives
/// a stream that its own window stops a final size beyond that window when it is reset, and its peer then closes the
/// connection. RFC 9000 §4.5
pub fn small() -> TransportConfig {
    TransportConfig {
        connection_window: 64 * 1024,
        ..TransportConfig::default()
    }
}

/// One that reads and one that does not yet, of a track with an object of `bytes` in each of `groups`; the last one has the
/// number of the last group that was sent.
pub struct Race {
    pub publisher: Raw,
    pub fast: Raw,
    pub fast_alias: u64,
    pub slow: Raw,
    pub slow_id: RequestId,
    pub slow_alias: u64,
    pub group: u64,
    pub relay: Relay,
}

impl Race {
    pub async fn new(settings: Settings) -> Self {
        let relay = relay(settings).await;
        let name = track("slow", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut fast = raw(&relay).await;
        let id = fast.subscribe(&name, SubscribeFilter::LargestObject).await;
        publisher.serve(&name, ALIAS).await;
        let fast_alias = fast.answer(id).await.unwrap().alias;
        let mut slow = Raw::connect(&relay, Reading::Later, small()).await;
        let (slow_id, ok) = slow.subscribed(&name, SubscribeFilter::LargestObject).await;
        Self {
            publisher,
            fast,
            fast_alias,
            slow,
            slow_id,
            slow_alias: ok.alias,
            group: 0,
            relay,
        }
    }

    /// Sends another group. The fast one has it before the next is sent, whatever the slow one does. [D14-LIM-7]
    pub async fn send(&mut self, bytes: usize) {
        let mut stream = self.publisher.open(ALIAS, self.group, SubgroupIdMode::Zero).await;
        stream.object(0, &vec![1; bytes]).await;
        stream.fin();
        self.fast.until_object(self.fast_alias, (self.group, 0)).await;
        self.fast.log.clear();
        self.group += 1;
    }

    /// The subscription is over, or the session.
    pub fn is_over(log: &[News]) -> bool {
        let done = |news: &News| {
            matches!(
                news,
                News::Closed(_) | News::Control(ControlMessage::PublishDone(..))
            )
        };
        log.iter().any(done)
    }
}

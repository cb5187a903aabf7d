//! What a subscriber asks of a track's past.

use super::connect::ClientError;
use super::fetcher::Fetcher;
use super::subscriber::Subscriber;
use crate::supervise::mailbox;
use crate::track::UpstreamRequest;
use laps_protocol::moqt::location::{GroupId, Location};
use laps_protocol::moqt::message::{Fetch, FetchRange, GroupOrder, GroupOrderRequest, MessageParams};
use laps_protocol::moqt::name::FullTrackName;
use std::time::Duration;

/// Subscriber priority of fetches, the middle.
const PRIORITY: u8 = 128;
/// How long the track of this process may take to say which request feeds it.
const ASK_DEADLINE: Duration = Duration::from_secs(3);

/// Where a joining FETCH starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// So many groups before the current one; 0 is the beginning of the current one.
    GroupsBack(u64),
    /// The beginning of this group.
    Group(GroupId),
}

impl Subscriber {
    /// Fetches past objects of a track.
    ///
    /// # Errors
    /// Why the relay could not be asked, [`ClientError::AskedAway`] when it has said GOAWAY; what it answers comes from the [`Fetcher`].
    pub async fn fetch(
        &self,
        track: FullTrackName,
        (start, end): (Location, Location),
        group_order: GroupOrderRequest,
    ) -> Result<Fetcher, ClientError> {
        let range = FetchRange::Standalone { track, start, end };
        self.fetch_range(range, group_order).await
    }

    /// Fetches what came before the subscription, up to where it begins, by a joining FETCH. MOQT-14 §9.16.2
    ///
    /// # Errors
    /// Why the relay could not be asked, [`ClientError::AskedAway`] when it has said GOAWAY; what it answers comes from the [`Fetcher`].
    pub async fn join(&self, start: Start) -> Result<Fetcher, ClientError> {
        let nothing = || ClientError::Closed("nothing is subscribed".to_owned());
        let track = self.link().source().ok_or_else(nothing)?;
        let asked = mailbox::ask(track, UpstreamRequest, ASK_DEADLINE).await;
        let subscription = asked.ok().flatten().ok_or_else(nothing)?;
        let range = match start {
            Start::GroupsBack(groups) => FetchRange::RelativeJoining { subscription, groups },
            Start::Group(group) => FetchRange::AbsoluteJoining { subscription, group },
        };
        // Groups in ascending order are what leads up to the subscription.
        self.fetch_range(range, GroupOrderRequest::Fixed(GroupOrder::Ascending))
            .await
    }

    async fn fetch_range(
        &self,
        range: FetchRange,
        group_order: GroupOrderRequest,
    ) -> Result<Fetcher, ClientError> {
        let fetch = Fetch {
            priority: PRIORITY,
            group_order,
            range,
            params: MessageParams::default(),
        };
        let session = self.link().session()?;
        // One that is under way goes on in its session; a new one is for the next. MOQT-14 §9.4 [D14-GOAWAY-1]
        match self.link().asked_away_to() {
            Some(uri) => Err(ClientError::AskedAway(uri)),
            None => Fetcher::start(session, fetch).await,
        }
    }
}

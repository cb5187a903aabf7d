//! The requests of the client, and its answers to those of the relay.

use super::super::track;
use super::{CODEC, News, Raw};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, NamespaceRequest, Publish, PublishDone,
    PublishDoneStatus, PublishOk, RequestError, RequestId, RequestKind, Subscribe, SubscribeFilter,
    SubscribeOk, SubscribeUpdate,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::TrackAlias;

/// A SUBSCRIBE with nothing special about it.
pub fn subscribe(track: &FullTrackName, filter: SubscribeFilter) -> Subscribe {
    Subscribe {
        track: track.clone(),
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter,
        params: MessageParams::default(),
    }
}

/// A PUBLISH with nothing special about it.
pub fn publish(track: &FullTrackName, alias: TrackAlias) -> Publish {
    Publish {
        track: track.clone(),
        alias,
        group_order: GroupOrder::Ascending,
        largest: None,
        forward: true,
        params: MessageParams::default(),
    }
}

impl Raw {
    /// Writes what no control message begins with, right behind what comes before.
    pub async fn publish_and_garbage(&mut self, track: &FullTrackName, alias: TrackAlias) {
        let publish = ControlMessage::Publish(self.id(), publish(track, alias));
        let mut bytes = BytesMut::new();
        CODEC.encode(&publish, &mut bytes).unwrap();
        bytes.extend_from_slice(&[0x3f, 0, 0]);
        self.control.send(&mut [bytes.freeze()]).await.unwrap();
    }

    /// Sends PUBLISH and, in one breath with it, PUBLISH_DONE.
    pub async fn publish_and_done(&mut self, track: &FullTrackName, alias: TrackAlias) -> RequestId {
        let id = self.id();
        let done = PublishDone {
            status: PublishDoneStatus::TrackEnded,
            stream_count: Some(0),
            phrase: Bytes::new(),
        };
        let mut bytes = BytesMut::new();
        CODEC
            .encode(&ControlMessage::Publish(id, publish(track, alias)), &mut bytes)
            .unwrap();
        CODEC
            .encode(&ControlMessage::PublishDone(id, done), &mut bytes)
            .unwrap();
        self.control.send(&mut [bytes.freeze()]).await.unwrap();
        id
    }

    /// Waits until the relay has read every control message so far: it answers a request that it does not serve.
    pub async fn fence(&mut self) {
        let id = self.id();
        // MOQT-14 §9.7 [D14-VAL-6]: an inverted range is refused at once, by the session itself.
        let inverted = SubscribeFilter::AbsoluteRange {
            start: Location::new(1, 0),
            end_group: 0,
        };
        let status = subscribe(&track("fence", "status"), inverted);
        self.say(ControlMessage::TrackStatus(id, status)).await;
        self.refused(id).await;
    }

    /// Waits for the error answer to a request.
    pub async fn refused(&mut self, id: RequestId) -> (RequestKind, RequestError) {
        self.control(|message| match message {
            ControlMessage::RequestError(of, kind, error) if *of == id => Some((*kind, error.clone())),
            _ => None,
        })
        .await
    }

    /// Sends SUBSCRIBE.
    pub async fn subscribe(&mut self, track: &FullTrackName, filter: SubscribeFilter) -> RequestId {
        let id = self.id();
        self.say(ControlMessage::Subscribe(id, subscribe(track, filter)))
            .await;
        id
    }

    /// Sends SUBSCRIBE with this priority and order of groups, and waits for OK.
    pub async fn subscribed_at(
        &mut self,
        track: &FullTrackName,
        priority: u8,
        group_order: GroupOrderRequest,
    ) -> (RequestId, SubscribeOk) {
        let id = self.id();
        let subscribe = Subscribe {
            priority,
            group_order,
            ..subscribe(track, SubscribeFilter::LargestObject)
        };
        self.say(ControlMessage::Subscribe(id, subscribe)).await;
        let ok = self.answer(id).await.unwrap();
        (id, ok)
    }

    /// Waits for the answer to SUBSCRIBE.
    pub async fn answer(&mut self, id: RequestId) -> Result<SubscribeOk, RequestError> {
        self.control(|message| match message {
            ControlMessage::SubscribeOk(of, ok) if *of == id => Some(Ok(ok.clone())),
            ControlMessage::RequestError(of, _, error) if *of == id => Some(Err(error.clone())),
            _ => None,
        })
        .await
    }

    /// Sends SUBSCRIBE and waits for OK.
    pub async fn subscribed(
        &mut self,
        track: &FullTrackName,
        filter: SubscribeFilter,
    ) -> (RequestId, SubscribeOk) {
        let id = self.subscribe(track, filter).await;
        let ok = self.answer(id).await.unwrap();
        (id, ok)
    }

    /// Sends SUBSCRIBE_UPDATE.
    pub async fn update(
        &mut self,
        subscription: RequestId,
        start: Location,
        end_group: Option<u64>,
        forward: bool,
    ) {
        let update = SubscribeUpdate {
            subscription,
            start,
            end_group,
            priority: 128,
            forward,
            params: MessageParams::default(),
        };
        self.update_as(update).await;
    }

    /// Sends this SUBSCRIBE_UPDATE.
    pub async fn update_as(&mut self, update: SubscribeUpdate) {
        let id = self.id();
        self.say(ControlMessage::SubscribeUpdate(id, update)).await;
    }

    /// Waits for PUBLISH_DONE.
    pub async fn done(&mut self, id: RequestId) -> PublishDone {
        self.control(|message| match message {
            ControlMessage::PublishDone(of, done) if *of == id => Some(done.clone()),
            _ => None,
        })
        .await
    }

    /// Announces a namespace and waits for OK.
    pub async fn announce(&mut self, namespace: &TrackNamespace) {
        let id = self.id();
        let request = NamespaceRequest {
            namespace: namespace.clone(),
            params: MessageParams::default(),
        };
        self.say(ControlMessage::PublishNamespace(id, request)).await;
        self.control(|message| {
            matches!(message, ControlMessage::PublishNamespaceOk(of) if *of == id).then_some(())
        })
        .await;
    }

    /// Waits for the relay's `nth` SUBSCRIBE for a track, the first being 0.
    pub async fn asked(&mut self, track: &FullTrackName, nth: usize) -> (RequestId, Subscribe) {
        self.wait(|log| {
            let asked = |news: &News| match news {
                News::Control(ControlMessage::Subscribe(id, subscribe)) if subscribe.track == *track => {
                    Some((*id, subscribe.clone()))
                }
                _ => None,
            };
            log.iter().filter_map(asked).nth(nth)
        })
        .await
    }

    /// Accepts a SUBSCRIBE of the relay.
    pub async fn accept(&mut self, id: RequestId, alias: TrackAlias, largest: Option<Location>) {
        self.accept_as(id, alias, largest, GroupOrder::Ascending).await;
    }

    /// Accepts a SUBSCRIBE of the relay to a track without objects, whose groups are best sent in this order.
    pub async fn accept_in(&mut self, id: RequestId, alias: TrackAlias, group_order: GroupOrder) {
        self.accept_as(id, alias, None, group_order).await;
    }

    async fn accept_as(
        &mut self,
        id: RequestId,
        alias: TrackAlias,
        largest: Option<Location>,
        group_order: GroupOrder,
    ) {
        let ok = SubscribeOk {
            alias,
            expires_ms: 0,
            group_order,
            largest,
            params: MessageParams::default(),
        };
        self.say(ControlMessage::SubscribeOk(id, ok)).await;
    }

    /// Waits for the relay's first SUBSCRIBE for the track and accepts it.
    pub async fn serve(&mut self, track: &FullTrackName, alias: TrackAlias) -> RequestId {
        let (id, _) = self.asked(track, 0).await;
        self.accept(id, alias, None).await;
        id
    }

    /// Sends PUBLISH.
    pub async fn publish(&mut self, track: &FullTrackName, alias: TrackAlias, forward: bool) -> RequestId {
        let id = self.id();
        let publish = Publish {
            forward,
            ..publish(track, alias)
        };
        self.say(ControlMessage::Publish(id, publish)).await;
        id
    }

    /// Waits for PUBLISH_OK.
    pub async fn publish_ok(&mut self, id: RequestId) -> PublishOk {
        self.control(|message| match message {
            ControlMessage::PublishOk(of, ok) if *of == id => Some(ok.clone()),
            ControlMessage::RequestError(of, _, error) if *of == id => panic!("PUBLISH refused: {error:?}"),
            _ => None,
        })
        .await
    }

    /// The relay's SUBSCRIBE_UPDATEs for a request of ours.
    pub fn updates(log: &[News], id: RequestId) -> Vec<SubscribeUpdate> {
        log.iter()
            .filter_map(|news| match news {
                News::Control(ControlMessage::SubscribeUpdate(_, update)) if update.subscription == id => {
                    Some(update.clone())
                }
                _ => None,
            })
            .collect()
    }

    /// Says PUBLISH_DONE.
    pub async fn publish_done(
        &mut self,
        id: RequestId,
        status: PublishDoneStatus,
        stream_count: Option<u64>,
    ) {
        let done = PublishDone {
            status,
            stream_count,
            phrase: Bytes::from_static(b"over"),
        };
        self.say(ControlMessage::PublishDone(id, done)).await;
    }
}

//! What a client does that watches namespaces, and what it is told.

use super::raw::{News, Raw};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, MessageParams, Namespace, NamespaceCancel, NamespaceRequest, Publish,
    PublishOk, RequestError, RequestErrorReason, RequestId, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

/// A namespace from its text, fields separated by slashes.
pub fn ns(text: &str) -> TrackNamespace {
    TrackNamespace::new(text.split('/').map(|field| Bytes::from(field.to_owned()))).unwrap()
}

/// The track `name` in that namespace.
pub fn track_in(namespace: &str, name: &str) -> FullTrackName {
    FullTrackName::new(ns(namespace), Bytes::from(name.to_owned())).unwrap()
}

/// A request about a namespace with nothing special about it.
pub fn request(namespace: &str) -> NamespaceRequest {
    NamespaceRequest {
        namespace: ns(namespace),
        params: MessageParams::default(),
    }
}

/// PUBLISH_NAMESPACE (`+ns`) and PUBLISH_NAMESPACE_DONE (`-ns`) in the order in which they came.
pub fn told(log: &[News]) -> Vec<String> {
    log.iter()
        .filter_map(|news| match news {
            News::Control(ControlMessage::PublishNamespace(_, request)) => {
                Some(format!("+{}", request.namespace))
            }
            News::Control(ControlMessage::PublishNamespaceDone(done)) => Some(format!("-{}", done.namespace)),
            _ => None,
        })
        .collect()
}

/// The PUBLISHes that came.
pub fn offers(log: &[News]) -> Vec<(RequestId, Publish)> {
    log.iter()
        .filter_map(|news| match news {
            News::Control(ControlMessage::Publish(id, publish)) => Some((*id, publish.clone())),
            _ => None,
        })
        .collect()
}

impl Raw {
    /// Writes several control messages at once.
    pub async fn say_all(&mut self, messages: impl IntoIterator<Item = ControlMessage>) {
        let mut bytes = BytesMut::new();
        for message in messages {
            super::raw::CODEC.encode(&message, &mut bytes).unwrap();
        }
        self.say_bytes(bytes.freeze()).await;
    }

    /// Sends SUBSCRIBE_NAMESPACE.
    pub async fn watch(&mut self, prefix: &str) -> RequestId {
        let id = self.id();
        self.say(ControlMessage::SubscribeNamespace(id, request(prefix)))
            .await;
        id
    }

    /// Sends SUBSCRIBE_NAMESPACE and waits for OK.
    pub async fn watched(&mut self, prefix: &str) -> RequestId {
        let id = self.watch(prefix).await;
        self.watch_ok(id).await;
        id
    }

    /// Waits for SUBSCRIBE_NAMESPACE_OK.
    pub async fn watch_ok(&mut self, id: RequestId) {
        self.control(|message| match message {
            ControlMessage::SubscribeNamespaceOk(of) if *of == id => Some(()),
            ControlMessage::RequestError(of, _, error) if *of == id => panic!("refused: {error:?}"),
            _ => None,
        })
        .await;
    }

    /// Sends UNSUBSCRIBE_NAMESPACE.
    pub async fn unwatch(&mut self, prefix: &str) {
        let namespace = ns(prefix);
        self.say(ControlMessage::UnsubscribeNamespace(Namespace { namespace }))
            .await;
    }

    /// Sends PUBLISH_NAMESPACE_DONE.
    pub async fn withdraw(&mut self, namespace: &str) {
        let namespace = ns(namespace);
        self.say(ControlMessage::PublishNamespaceDone(Namespace { namespace }))
            .await;
    }

    /// Accepts what the relay says by PUBLISH_NAMESPACE.
    pub async fn take(&mut self, id: RequestId) {
        self.say(ControlMessage::PublishNamespaceOk(id)).await;
    }

    /// Revokes that.
    pub async fn cancel(&mut self, namespace: &str) {
        let cancel = NamespaceCancel {
            namespace: ns(namespace),
            reason: RequestErrorReason::Uninterested,
            phrase: Bytes::new(),
        };
        self.say(ControlMessage::PublishNamespaceCancel(cancel)).await;
    }

    /// Waits until so much was told, and gives it in order.
    pub async fn until_told(&mut self, count: usize) -> Vec<String> {
        let is_told = |news: &&News| {
            matches!(
                news,
                News::Control(ControlMessage::PublishNamespace(..) | ControlMessage::PublishNamespaceDone(_))
            )
        };
        self.wait(|log| (log.iter().filter(is_told).count() >= count).then(|| told(log)))
            .await
    }

    /// Waits for the relay's `nth` PUBLISH_NAMESPACE, the first being 0.
    pub async fn announced(&mut self, nth: usize) -> (RequestId, NamespaceRequest) {
        self.wait(|log| {
            let announced = |news: &News| match news {
                News::Control(ControlMessage::PublishNamespace(id, request)) => Some((*id, request.clone())),
                _ => None,
            };
            log.iter().filter_map(announced).nth(nth)
        })
        .await
    }

    /// Waits for the relay's `nth` PUBLISH, the first being 0.
    pub async fn offered(&mut self, nth: usize) -> (RequestId, Publish) {
        self.wait(|log| offers(log).into_iter().nth(nth)).await
    }

    /// Accepts a PUBLISH of the relay.
    pub async fn accept_offer(&mut self, id: RequestId, forward: bool) {
        let ok = PublishOk {
            forward,
            priority: 128,
            group_order: Some(GroupOrder::Ascending),
            filter: SubscribeFilter::LargestObject,
            params: MessageParams::default(),
        };
        self.say(ControlMessage::PublishOk(id, ok)).await;
    }

    /// Refuses a request of the relay as of no interest.
    pub async fn refuse(&mut self, id: RequestId, kind: RequestKind) {
        let error = RequestError::new(RequestErrorReason::Uninterested, "no");
        self.say(ControlMessage::RequestError(id, kind, error)).await;
    }

    /// Waits until the relay has told what came of everything before: a prefix of its own is answered behind it, by
    /// way of the registry, through which all news of namespaces go.
    pub async fn settled(&mut self) {
        for _ in 0..3 {
            let id = self.id();
            let own = format!("settled-{}", id.0);
            self.say(ControlMessage::SubscribeNamespace(id, request(&own)))
                .await;
            self.watch_ok(id).await;
        }
    }
}

//! What the client without manners says and sees of FETCH, as subscriber and as publisher.

use super::raw::{CODEC, News, Raw, end, payload};
use bytes::{Bytes, BytesMut};
use laps_actors::transport::SendGuard;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, Fetch, FetchOk, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, RequestError,
    RequestErrorReason, RequestId, RequestKind,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::{FetchObjectHeader, ObjectStatus};

/// A whole object of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub header: FetchObjectHeader,
    pub payload: Vec<u8>,
}

/// A range of a track, as it stands on the wire.
pub fn range(track: &FullTrackName, start: (u64, u64), end: (u64, u64)) -> FetchRange {
    FetchRange::Standalone {
        track: track.clone(),
        start: Location::new(start.0, start.1),
        end: Location::new(end.0, end.1),
    }
}

impl Raw {
    pub async fn fetch(&mut self, range: FetchRange, group_order: GroupOrderRequest) -> RequestId {
        self.fetch_at(range, group_order, 128).await
    }

    /// Sends FETCH with this priority.
    pub async fn fetch_at(
        &mut self,
        range: FetchRange,
        group_order: GroupOrderRequest,
        priority: u8,
    ) -> RequestId {
        let id = self.id();
        let fetch = Fetch {
            priority,
            group_order,
            range,
            params: MessageParams::default(),
        };
        self.say(ControlMessage::Fetch(id, fetch)).await;
        id
    }

    /// Fetches in the publisher's order.
    pub async fn fetch_range(
        &mut self,
        track: &FullTrackName,
        start: (u64, u64),
        end: (u64, u64),
    ) -> RequestId {
        self.fetch(range(track, start, end), GroupOrderRequest::Publisher)
            .await
    }

    /// Waits for the answer to a FETCH.
    pub async fn fetch_answer(&mut self, id: RequestId) -> Result<FetchOk, RequestError> {
        self.control(|message| match message {
            ControlMessage::FetchOk(of, ok) if *of == id => Some(Ok(ok.clone())),
            ControlMessage::RequestError(of, RequestKind::Fetch, error) if *of == id => {
                Some(Err(error.clone()))
            }
            _ => None,
        })
        .await
    }

    /// Waits until a fetch's stream has ended: its objects and, after a reset, the code.
    pub async fn fetched(&mut self, id: RequestId) -> (Vec<Past>, Option<u64>) {
        self.wait(|log| {
            let number = stream_of(log, id)?;
            end(log, number).map(|end| (past(log, id), end))
        })
        .await
    }

    /// Waits until a fetch has brought so many objects.
    pub async fn until_fetched(&mut self, id: RequestId, count: usize) -> Vec<Past> {
        self.wait(|log| Some(past(log, id)).filter(|past| past.len() >= count))
            .await
    }

    /// Waits for the answer and the end of a fetch that goes well; its places in order.
    pub async fn fetched_places(&mut self, id: RequestId) -> (FetchOk, Vec<(u64, u64)>) {
        let ok = self.fetch_answer(id).await.unwrap();
        let (past, end) = self.fetched(id).await;
        // MOQT-14 §9.16.3 [D14-FETCH-5]: only a FIN says that nothing is missing.
        assert_eq!(end, None);
        for object in &past {
            let place = object.header.location;
            assert_eq!(object.payload, payload(place.group, place.object), "{place}");
        }
        (ok, places(&past))
    }

    /// Waits for the `nth` FETCH that the relay makes of us.
    pub async fn fetch_asked(&mut self, nth: usize) -> (RequestId, Fetch) {
        self.wait(|log| fetches(log).into_iter().nth(nth)).await
    }

    pub async fn accept_fetch(&mut self, id: RequestId, order: GroupOrder, end: (u64, u64)) {
        let ok = FetchOk {
            group_order: order,
            end_of_track: false,
            end: Location::new(end.0, end.1),
            params: MessageParams::default(),
        };
        self.say(ControlMessage::FetchOk(id, ok)).await;
    }

    pub async fn refuse_fetch(&mut self, id: RequestId, reason: RequestErrorReason) {
        let error = RequestError::new(reason, "as the test wants");
        self.say(ControlMessage::RequestError(id, RequestKind::Fetch, error))
            .await;
    }

    /// Opens the stream of a fetch that the relay made.
    pub async fn open_fetch(&mut self, id: RequestId) -> FetchStream {
        let mut stream = FetchStream {
            stream: self.conn.open_uni().await.unwrap(),
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_fetch_header(id, &mut bytes).unwrap();
        stream.write(bytes.freeze()).await;
        stream
    }

    /// Answers a fetch of the relay: these objects, each with its place as payload, and FIN.
    pub async fn serve_fetch(
        &mut self,
        id: RequestId,
        order: GroupOrder,
        end: (u64, u64),
        objects: &[(u64, u64)],
    ) {
        self.accept_fetch(id, order, end).await;
        let mut stream = self.open_fetch(id).await;
        for place in objects {
            stream.object(*place).await;
        }
        stream.fin();
    }
}

/// Every FETCH that was asked of the client.
pub fn fetches(log: &[News]) -> Vec<(RequestId, Fetch)> {
    log.iter()
        .filter_map(|news| match news {
            News::Control(ControlMessage::Fetch(id, fetch)) => Some((*id, fetch.clone())),
            _ => None,
        })
        .collect()
}

/// The range of a standalone fetch.
pub fn asked_range(fetch: &Fetch) -> ((u64, u64), (u64, u64)) {
    let FetchRange::Standalone { start, end, .. } = &fetch.range else {
        panic!("not a standalone fetch: {fetch:?}");
    };
    ((start.group, start.object), (end.group, end.object))
}

pub fn places(past: &[Past]) -> Vec<(u64, u64)> {
    past.iter()
        .map(|past| (past.header.location.group, past.header.location.object))
        .collect()
}

/// The stream of a fetch.
pub fn stream_of(log: &[News], id: RequestId) -> Option<usize> {
    let mut of_it = log.iter().filter_map(|news| match news {
        News::FetchStream(number, of) if *of == id => Some(*number),
        _ => None,
    });
    let number = of_it.next();
    // MOQT-14 §9.16.3 [D14-FETCH-1]
    assert_eq!(of_it.next(), None, "a fetch has one stream");
    number
}

/// The whole objects of a fetch so far, in order.
pub fn past(log: &[News], id: RequestId) -> Vec<Past> {
    let Some(stream) = stream_of(log, id) else {
        return Vec::new();
    };
    let mut objects: Vec<Past> = Vec::new();
    for news in log {
        match news {
            News::FetchObject(number, header) if *number == stream => objects.push(Past {
                header: header.clone(),
                payload: Vec::new(),
            }),
            News::Payload(number, bytes) if *number == stream => {
                objects.last_mut().unwrap().payload.extend_from_slice(bytes);
            }
            _ => {}
        }
    }
    objects.retain(|object| object.payload.len() as u64 == object.header.payload_len);
    objects
}

/// The stream of a fetch that is being answered.
pub struct FetchStream {
    stream: SendGuard,
}

impl FetchStream {
    /// Writes a whole object of subgroup 0 with its place as payload.
    pub async fn object(&mut self, place: (u64, u64)) {
        let payload = payload(place.0, place.1);
        self.begin(place, payload.len() as u64).await;
        self.write(Bytes::from(payload)).await;
    }

    /// Writes what stands before an object's payload.
    pub async fn begin(&mut self, place: (u64, u64), payload_len: u64) {
        let header = FetchObjectHeader {
            location: Location::new(place.0, place.1),
            subgroup: 0,
            priority: 128,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len,
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_fetch_object_header(&header, &mut bytes).unwrap();
        self.write(bytes.freeze()).await;
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: Bytes) {
        self.stream.send(&mut [bytes]).await.unwrap();
    }

    /// Writes bytes that the relay may want no more of.
    pub async fn try_write(&mut self, bytes: Bytes) {
        self.stream.send(&mut [bytes]).await.ok();
    }

    pub fn fin(mut self) {
        self.stream.finish().unwrap();
    }

    pub fn reset(mut self, code: u64) {
        self.stream.reset(code);
    }

    /// Writes objects until the relay stops the stream; the value is its code.
    pub async fn stopped(mut self) -> u64 {
        loop {
            match self.stream.send(&mut [Bytes::from_static(&[0; 1])]).await {
                Ok(()) => actix_rt::task::yield_now().await,
                Err(laps_actors::transport::StreamError::Stopped { code }) => return code,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

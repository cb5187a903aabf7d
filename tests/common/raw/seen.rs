//! What the client sees, and how it is found in its log.

use super::{CODEC, Raw};
use bytes::Bytes;
use laps_actors::transport::{ConnError, RecvGuard, StreamError};
use laps_protocol::moqt::codec::ControlDecoder;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, RequestId};
use laps_protocol::moqt::object::{
    DatagramObject, FetchObjectHeader, ObjectHeader, SubgroupHeader, TrackAlias,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::{Semaphore, mpsc};

/// Something that was seen. Streams are numbered in the order in which they were accepted.
#[derive(Clone, Debug)]
pub enum News {
    Control(ControlMessage),
    /// A stream was accepted, and is held.
    Held(usize),
    /// A stream began.
    Stream(usize, SubgroupHeader),
    Object(usize, ObjectHeader),
    Payload(usize, Bytes),
    Fin(usize),
    Reset(usize, u64),
    /// The stream of a fetch began.
    FetchStream(usize, RequestId),
    FetchObject(usize, FetchObjectHeader),
    Datagram(DatagramObject),
    Closed(ConnError),
}

/// A whole object that came on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub stream: usize,
    pub alias: TrackAlias,
    pub location: Location,
    pub payload: Vec<u8>,
}

impl Raw {
    /// Whole objects that came on streams, in order of completion.
    pub fn objects(log: &[News]) -> Vec<Got> {
        let mut streams: BTreeMap<usize, SubgroupHeader> = BTreeMap::new();
        let mut open: BTreeMap<usize, (Got, u64)> = BTreeMap::new();
        let mut whole = Vec::new();
        for news in log {
            let number = match news {
                News::Stream(number, header) => {
                    streams.insert(*number, *header);
                    continue;
                }
                News::Object(number, header) => {
                    let stream = &streams[number];
                    let got = Got {
                        stream: *number,
                        alias: stream.alias,
                        location: Location::new(stream.group, header.id),
                        payload: Vec::new(),
                    };
                    open.insert(*number, (got, header.payload_len));
                    *number
                }
                News::Payload(number, bytes) => {
                    // A fetch's stream is not looked at here.
                    let Some((got, _)) = open.get_mut(number) else {
                        continue;
                    };
                    got.payload.extend_from_slice(bytes);
                    *number
                }
                _ => continue,
            };
            if let Some((got, len)) = open.get(&number)
                && got.payload.len() as u64 == *len
            {
                whole.push(got.clone());
                open.remove(&number);
            }
        }
        whole
    }

    /// Places of whole objects of one alias, sorted.
    pub fn places(log: &[News], alias: TrackAlias) -> Vec<(u64, u64)> {
        let mut places: Vec<_> = Self::objects(log)
            .iter()
            .filter(|got| got.alias == alias)
            .map(|got| (got.location.group, got.location.object))
            .collect();
        places.sort_unstable();
        places
    }

    /// Waits until so many objects of the alias are whole.
    pub async fn until_objects(&mut self, alias: TrackAlias, count: usize) -> Vec<(u64, u64)> {
        self.wait(|log| {
            let places = Self::places(log, alias);
            (places.len() >= count).then_some(places)
        })
        .await
    }

    /// Waits until an object is whole.
    pub async fn until_object(&mut self, alias: TrackAlias, place: (u64, u64)) {
        self.wait(|log| Self::places(log, alias).contains(&place).then_some(()))
            .await;
    }

    /// Headers of the streams of one alias, in order.
    pub fn headers(log: &[News], alias: TrackAlias) -> Vec<(usize, SubgroupHeader)> {
        log.iter()
            .filter_map(|news| match news {
                News::Stream(number, header) if header.alias == alias => Some((*number, *header)),
                _ => None,
            })
            .collect()
    }

    /// How stream `number` ended: none for FIN, else the code; waits for it.
    pub async fn ended(&mut self, number: usize) -> Option<u64> {
        self.wait(|log| end(log, number)).await
    }

    /// Datagrams of one alias, in order of arrival.
    pub fn datagrams(log: &[News], alias: TrackAlias) -> Vec<(Location, Vec<u8>)> {
        log.iter()
            .filter_map(|news| match news {
                News::Datagram(object) if object.alias == alias => {
                    Some((object.location, object.payload.to_vec()))
                }
                _ => None,
            })
            .collect()
    }
}

/// How stream `number` ended, if it did: FIN is `Some(None)`.
pub fn end(log: &[News], number: usize) -> Option<Option<u64>> {
    log.iter().find_map(|news| match news {
        News::Fin(of) if *of == number => Some(None),
        News::Reset(of, code) if *of == number => Some(Some(*code)),
        _ => None,
    })
}

pub(super) async fn read_control(
    mut stream: RecvGuard,
    tell: mpsc::UnboundedSender<News>,
    deaf: Rc<Cell<bool>>,
) {
    let mut decoder = ControlDecoder::new(CODEC);
    while !deaf.get()
        && let Ok(Some(bytes)) = stream.receive().await
    {
        decoder.push(bytes);
        while let Some(message) = decoder.next().unwrap() {
            drop(tell.send(News::Control(message)));
        }
    }
    // A stop of the reading side would end the session.
    std::future::pending::<()>().await;
    drop(stream);
}

pub(super) async fn read_stream(
    number: usize,
    mut stream: RecvGuard,
    tell: mpsc::UnboundedSender<News>,
    pieces: Rc<Semaphore>,
) {
    let mut reader = StreamReader::new(CODEC, DataLimits::default());
    loop {
        pieces.acquire().await.unwrap().forget();
        match stream.receive().await {
            Ok(Some(bytes)) => reader.push(bytes),
            Ok(None) => {
                reader.fin().unwrap();
                drop(tell.send(News::Fin(number)));
                return;
            }
            Err(StreamError::Reset { code }) => {
                drop(tell.send(News::Reset(number, code)));
                return;
            }
            Err(_) => return,
        }
        while let Some(item) = reader.next().unwrap() {
            let news = match item {
                StreamItem::SubgroupHeader(header) => News::Stream(number, header),
                StreamItem::Object(header) => News::Object(number, header),
                StreamItem::Payload(bytes) => News::Payload(number, bytes),
                StreamItem::FetchHeader(request) => News::FetchStream(number, request),
                StreamItem::FetchObject(header) => News::FetchObject(number, header),
            };
            drop(tell.send(news));
        }
    }
}

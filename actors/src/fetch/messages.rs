//! What an upstream FETCH brings, on its way from the session that made it to whoever wanted it.

use actix::{Message, Recipient};
use laps_protocol::moqt::message::{FetchOk, RequestError};
use laps_protocol::relay::track_log::{Fill, FillKey, StreamEnd};

/// Who gets what a FETCH of ours brings: a track that fills a hole of its log, or a client.
#[derive(Clone, Debug)]
pub struct FetchSink {
    /// By which the receiver knows the fetch.
    pub key: FillKey,
    /// Where objects go, one batch in flight.
    pub objects: Recipient<Fetched>,
    /// Where the answer and the end go.
    pub news: Recipient<FetchNews>,
}

/// Objects of a FETCH of ours, in order. The answer is the leave to bring more: back-pressure.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Fetched {
    /// Which fetch.
    pub key: FillKey,
    /// What came.
    pub chunks: Vec<Fill>,
}

/// A FETCH of ours was answered, or is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FetchNews {
    /// Which fetch.
    pub key: FillKey,
    /// What happened.
    pub progress: FetchProgress,
}

/// How far a FETCH of ours has come. MOQT-14 §9.16.3 [D14-FETCH-1]: answer and end come in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchProgress {
    /// FETCH_OK.
    Accepted(FetchOk),
    /// FETCH_ERROR; nothing follows.
    Refused(RequestError),
    /// Its stream ended, after every object of it was delivered, or will not come any more.
    Ended(StreamEnd),
}

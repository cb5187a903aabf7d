//! Who wants what the FETCHes of this relay across the mesh bring.

use crate::fetch::{FetchNews, FetchProgress, FetchSink};
use crate::supervise::mailbox;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::relay::track_log::StreamEnd;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The FETCHes of this relay that are out, by numbers that it gives once, whatever node is asked. Clones are the same
/// table; whoever fills it bounds it.
#[derive(Clone, Debug, Default)]
pub struct Fetches(Rc<RefCell<HashMap<RequestId, FetchSink>>>);

impl Fetches {
    /// A stream with this number in its FETCH_HEADER is for `sink`. To be said before the node is asked.
    pub fn expect(&self, request: RequestId, sink: FetchSink) {
        self.0.borrow_mut().insert(request, sink);
    }

    /// Nobody wants it any more.
    pub fn forget(&self, request: RequestId) -> Option<FetchSink> {
        self.0.borrow_mut().remove(&request)
    }

    /// Whether its stream is still to come, or is being read.
    #[must_use]
    pub fn expects(&self, request: RequestId) -> bool {
        self.0.borrow().contains_key(&request)
    }

    /// How many are out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, request: RequestId) -> Option<FetchSink> {
        self.0.borrow().get(&request).cloned()
    }

    /// The stream has ended. Called as tasks are dropped, so it cannot fail.
    pub(super) fn over(&self, request: RequestId, end: StreamEnd) {
        let sink = self.0.try_borrow_mut().ok();
        let Some(sink) = sink.and_then(|mut fetches| fetches.remove(&request)) else {
            return;
        };
        let (key, progress) = (sink.key, FetchProgress::Ended(end));
        mailbox::signal(&sink.news, FetchNews { key, progress });
    }
}

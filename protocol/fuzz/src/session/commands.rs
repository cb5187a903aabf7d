//! What our side says: any command about any request.

use super::model::{self, Model};
use crate::feed::Feed;
use crate::messages as m;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::session::{Command, Session};
use std::borrow::Cow;

/// A request of either side, the peer's newest most often.
pub(super) fn any_id(feed: &mut Feed<'_>, model: &Model) -> RequestId {
    let known = model.some_ids();
    match feed.u8() {
        choice @ 0..=247 if !known.is_empty() => RequestId(known[usize::from(choice) % known.len()]),
        _ => RequestId(feed.number()),
    }
}

pub(super) fn command(feed: &mut Feed<'_>, session: &mut Session, model: &Model) -> Command {
    let about = any_id(feed, model);
    feed.is_ours = true;
    let made = make(feed, session, about);
    feed.is_ours = false;
    made
}

fn make(feed: &mut Feed<'_>, session: &mut Session, about: RequestId) -> Command {
    use Command as C;
    match feed.below(28) {
        0 | 1 => {
            let track = m::track(feed);
            C::Subscribe(m::subscribe(feed, track))
        }
        2 => C::SubscribeUpdate(m::update(feed, about)),
        3 => C::Unsubscribe(about),
        4 | 5 => {
            let (track, alias) = (m::track(feed), session.new_alias());
            C::Publish(m::publish(feed, track, alias))
        }
        6 => C::PublishNamespace(m::namespace_request(feed)),
        7 => C::PublishNamespaceDone(about),
        8 => C::PublishNamespaceCancel(about, m::request_error(feed)),
        9 => C::SubscribeNamespace(m::namespace_request(feed)),
        10 => C::UnsubscribeNamespace(about),
        11 | 12 => {
            let track = m::track(feed);
            C::Fetch(m::fetch(feed, track, about))
        }
        13 => C::FetchCancel(about),
        14 => C::FetchDone(about),
        15 => {
            let track = m::track(feed);
            C::TrackStatus(m::subscribe(feed, track))
        }
        16 | 17 => {
            let alias = session.new_alias();
            C::AcceptSubscribe(about, m::subscribe_ok(feed, alias))
        }
        18 => C::AcceptPublish(about, m::publish_ok(feed)),
        19 => C::AcceptFetch(about, m::fetch_ok(feed)),
        20 => C::AcceptTrackStatus(about, m::subscribe_ok(feed, 0)),
        21 | 22 => C::AcceptNamespace(about),
        23 => C::Reject(about, m::request_error(feed)),
        24 | 25 => C::PublishDone(about, model::done()),
        26 if feed.u8() >= 200 => C::Goaway(feed.bytes(20)),
        27 if feed.u8() >= 250 => C::Close(CloseCode::NoError, Cow::Borrowed("enough")),
        _ => C::AcceptNamespace(about),
    }
}

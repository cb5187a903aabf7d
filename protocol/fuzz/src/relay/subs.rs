//! Subscriptions of a track, from their first word to their last, and who feeds it.

use super::core::{Inbound, Relay, Source};
use crate::downstream::{Begin, Subscription};
use laps_protocol::auth::{Action as Does, Resource};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::session::Command;
use laps_protocol::relay::behind::Policy;
use laps_protocol::relay::expiry::delivery_timeout;
use laps_protocol::relay::merge::PublisherKey;
use laps_protocol::relay::track_log::{FillKey, StreamEnd};

impl Relay {
    pub(super) fn subscribe(&mut self, at: usize, id: RequestId, subscribe: Subscribe) {
        if !self.may(at, Does::Subscribe, Resource::Track(&subscribe.track)) {
            return self.reject(at, id, RequestErrorReason::Unauthorized);
        }
        let name = subscribe.track.clone();
        let owners: Vec<usize> = self
            .tree
            .matches(name.namespace())
            .iter()
            .map(|entry| *entry.owner)
            .filter(|owner| *owner != at)
            .collect();
        let track = self.track(&name);
        if track.sources.values().any(|source| source.is_live) {
            return self.attach(at, id, &subscribe);
        }
        track.waiting.push((at, id, subscribe));
        if track.sources.is_empty() {
            for owner in owners {
                let ask = Subscribe {
                    track: name.clone(),
                    priority: 128,
                    group_order: GroupOrderRequest::Publisher,
                    forward: true,
                    filter: SubscribeFilter::LargestObject,
                    params: MessageParams::default(),
                };
                if let Some(request) = self.command(owner, Command::Subscribe(ask)) {
                    let key = PublisherKey(self.number());
                    self.track(&name)
                        .sources
                        .insert((owner, request), Source { key, is_live: false });
                }
            }
        }
        if self.track(&name).sources.is_empty() {
            self.refuse_waiting(&name);
        }
    }

    pub(super) fn refuse_waiting(&mut self, name: &FullTrackName) {
        let waiting = std::mem::take(&mut self.track(name).waiting);
        for (at, id, _) in waiting {
            self.reject(at, id, RequestErrorReason::TrackDoesNotExist);
        }
    }

    pub(super) fn subscribed(&mut self, at: usize, id: RequestId, ok: &SubscribeOk) {
        for name in self.names_of((at, id)) {
            let track = self.track(&name);
            if let Some(source) = track.sources.get_mut(&(at, id)) {
                source.is_live = true;
            }
            if let Some(largest) = ok.largest {
                track.log.seed_largest(largest);
            }
            track.is_over = false;
            self.attach_waiting(&name);
        }
    }

    pub(super) fn attach_waiting(&mut self, name: &FullTrackName) {
        let waiting = std::mem::take(&mut self.track(name).waiting);
        for (at, id, subscribe) in waiting {
            self.attach(at, id, &subscribe);
        }
    }

    pub(super) fn attach(&mut self, at: usize, id: RequestId, subscribe: &Subscribe) {
        let name = &subscribe.track;
        let track = self.track(name);
        let largest = track.log.largest();
        let Ok(filter) = filter::resolve(&subscribe.filter, largest) else {
            return self.reject(at, id, RequestErrorReason::InvalidRange);
        };
        let Some(conn) = self.conns.get_mut(&at) else {
            return;
        };
        let alias = conn.session.new_alias();
        let (now, timeout) = (
            self.now,
            delivery_timeout(None, subscribe.params.delivery_timeout_ms),
        );
        let accepted = conn
            .session
            .command(now, Command::AcceptSubscribe(id, ok(alias, largest)))
            .is_ok();
        if accepted && let Some(track) = self.tracks.get(name) {
            let begin = Begin {
                request: id,
                alias,
                filter,
                forward: subscribe.forward,
                priority: subscribe.priority,
                policy: if timeout.is_some() {
                    Policy::NewestGroup
                } else {
                    Policy::End
                },
                max_behind: 20_000,
                max_wait: None,
                timeout,
            };
            conn.subs
                .insert(id, (name.clone(), Subscription::new(begin, &track.log)));
        }
        self.drain(at);
    }

    pub(super) fn update(&mut self, at: usize, id: RequestId, update: &SubscribeUpdate) {
        let Some((name, sub)) = self.conns.get_mut(&at).and_then(|conn| conn.subs.get_mut(&id)) else {
            return;
        };
        let Some(track) = self.tracks.get(name) else {
            return;
        };
        sub.filter = sub.filter.narrow(update);
        sub.priority = update.priority;
        let filter = sub.filter;
        sub.give_up(ResetCode::Cancelled, |group| !filter.admits_group(group));
        if sub.ending.is_none() {
            sub.set_forward(update.forward, &track.log);
        }
        if filter.is_empty() || filter.is_over(track.log.largest()) {
            sub.ending.get_or_insert(PublishDoneStatus::SubscriptionEnded);
        }
    }

    pub(super) fn unsubscribe(&mut self, at: usize, id: RequestId) {
        for track in self.tracks.values_mut() {
            track
                .waiting
                .retain(|(conn, request, _)| (*conn, *request) != (at, id));
        }
        let Some(conn) = self.conns.get_mut(&at) else {
            return;
        };
        if let Some((name, mut sub)) = conn.subs.remove(&id)
            && let Some(track) = self.tracks.get(&name)
        {
            sub.set_forward(false, &track.log);
            sub.pump(self.now, &track.log, &mut conn.wire);
            assert!(sub.is_settled(), "a stream of a subscription that is over");
        }
    }

    /// A publisher brings nothing more to this track.
    pub(super) fn source_gone(
        &mut self,
        name: &FullTrackName,
        source: (usize, RequestId),
        status: PublishDoneStatus,
    ) {
        let now = self.now;
        let track = self.track(name);
        let Some(gone) = track.sources.remove(&source) else {
            return;
        };
        track.merge.lost(&mut track.log, now, gone.key, &mut |_, _| {});
        if let Some(conn) = self.conns.get_mut(&source.0) {
            let of = |inbound: &Inbound| inbound.chunks.as_ref().map(|(_, of)| *of);
            for (stream, inbound) in conn
                .inbound
                .extract_if(.., |_, inbound| of(inbound) == Some(source.1))
            {
                conn.refused.insert(stream);
                inbound
                    .ticket
                    .into_iter()
                    .for_each(|ticket| conn.limit.close(ticket));
            }
        }
        let track = self.track(name);
        let lost: Vec<FillKey> = track
            .fills
            .iter()
            .filter(|(_, (conn, _))| *conn == source.0)
            .map(|(key, _)| *key)
            .collect();
        for fill in lost {
            track.fills.remove(&fill);
            track.desk.ended(
                now,
                &mut track.log,
                fill,
                StreamEnd::Reset(ResetCode::SessionClosed),
            );
        }
        if track.sources.is_empty() {
            track.is_over = true;
            track.desk.detach(now, &mut track.log);
            assert_eq!(
                (track.merge.poll_timeout(), track.merge.stats().waiting_bytes),
                (None, 0)
            );
            assert!(!track.log.has_open_streams());
            for conn in self.conns.values_mut() {
                for (of, sub) in conn.subs.values_mut() {
                    if of == name {
                        sub.ending.get_or_insert(status);
                    }
                }
            }
            self.refuse_waiting(name);
        } else {
            self.track(name).desk.publishers_changed();
        }
        self.carry_out(name);
    }
}

pub(super) fn ok(alias: u64, largest: Option<laps_protocol::moqt::location::Location>) -> SubscribeOk {
    SubscribeOk {
        alias,
        expires_ms: 0,
        group_order: GroupOrder::Ascending,
        largest,
        params: MessageParams::default(),
    }
}

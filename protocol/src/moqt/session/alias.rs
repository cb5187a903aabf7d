//! Track aliases: ours are counted, the peer's are kept with the request that they belong to. MOQT-14 §10.1.

use super::breach::PeerMisbehaved;
use crate::moqt::error::CloseCode;
use crate::moqt::message::RequestId;
use crate::moqt::name::FullTrackName;
use crate::moqt::object::TrackAlias;
use std::collections::HashMap;

/// The aliases of both directions.
///
/// SUBSCRIBE_OK and PUBLISH share one alias space per direction. The peer's aliases are held by open requests and
/// by ended ones that were not forgotten, so their number is bounded by the requests of both sides.
#[derive(Debug)]
pub(super) struct Aliases {
    next: TrackAlias,
    peer: HashMap<TrackAlias, Vec<Holder>>,
    by_request: HashMap<RequestId, TrackAlias>,
}

#[derive(Debug)]
struct Holder {
    request: RequestId,
    track: FullTrackName,
    active: bool,
}

impl Aliases {
    pub(super) fn new() -> Self {
        Self {
            // TRACK_STATUS_OK carries alias 0 without meaning it, so no track gets it.
            next: 1,
            peer: HashMap::new(),
            by_request: HashMap::new(),
        }
    }

    /// An alias of ours that no track of this session had before. [D14-DATA-20]
    pub(super) const fn fresh(&mut self) -> TrackAlias {
        let alias = self.next;
        self.next = self.next.saturating_add(1);
        alias
    }

    /// Whether `alias` came from [`Self::fresh`].
    pub(super) const fn is_ours(&self, alias: TrackAlias) -> bool {
        alias >= 1 && alias < self.next
    }

    /// The peer uses `alias` for `track` from now on.
    pub(super) fn register(
        &mut self,
        alias: TrackAlias,
        request: RequestId,
        track: &FullTrackName,
    ) -> Result<(), PeerMisbehaved> {
        let holders = self.peer.entry(alias).or_default();
        // MOQT-14 §9.8, §9.13 [D14-VAL-14]: two active subscriptions to different tracks never share an alias. One
        // that has ended no longer counts, though its late streams are still told apart by `forget`.
        if holders
            .iter()
            .any(|holder| holder.active && holder.track != *track)
        {
            return Err(PeerMisbehaved::new(
                CloseCode::DuplicateTrackAlias,
                format!("track alias {alias} already stands for another track"),
                "MOQT-14 §9.8",
            ));
        }
        holders.push(Holder {
            request,
            track: track.clone(),
            active: true,
        });
        self.by_request.insert(request, alias);
        Ok(())
    }

    /// The subscription of `request` has ended; its alias stays known for streams that come late.
    pub(super) fn retire(&mut self, request: RequestId) {
        let Some(alias) = self.by_request.get(&request) else {
            return;
        };
        for holder in self.peer.get_mut(alias).into_iter().flatten() {
            if holder.request == request {
                holder.active = false;
            }
        }
    }

    /// Nothing more is expected for the alias of `request`.
    pub(super) fn forget(&mut self, request: RequestId) {
        let Some(alias) = self.by_request.remove(&request) else {
            return;
        };
        if let Some(holders) = self.peer.get_mut(&alias) {
            holders.retain(|holder| holder.request != request);
            if holders.is_empty() {
                self.peer.remove(&alias);
            }
        }
    }

    /// Whether `request` holds an alias.
    pub(super) fn holds(&self, request: RequestId) -> bool {
        self.by_request.contains_key(&request)
    }

    /// The request that the peer's `alias` belongs to: the latest active one, else the latest.
    pub(super) fn request(&self, alias: TrackAlias) -> Option<RequestId> {
        let holders = self.peer.get(&alias)?;
        let holder = holders.iter().rev().find(|holder| holder.active);
        holder.or_else(|| holders.last()).map(|holder| holder.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moqt::name::TrackNamespace;
    use bytes::Bytes;

    fn track(name: &'static str) -> FullTrackName {
        let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
        FullTrackName::new(namespace, Bytes::from_static(name.as_bytes())).unwrap()
    }

    /// D14-DATA-20
    #[test]
    fn our_aliases_never_repeat() {
        let mut aliases = Aliases::new();
        let first = aliases.fresh();
        assert_ne!(first, 0, "0 is what TRACK_STATUS_OK carries");
        assert_ne!(first, aliases.fresh());
        assert!(aliases.is_ours(first));
        assert!(!aliases.is_ours(99));
    }

    /// D14-VAL-14
    #[test]
    fn one_alias_for_two_active_tracks_is_a_breach() {
        let mut aliases = Aliases::new();
        aliases.register(7, RequestId(0), &track("a")).unwrap();
        let breach = aliases.register(7, RequestId(1), &track("b")).unwrap_err();
        assert_eq!(breach.code, CloseCode::DuplicateTrackAlias);
        aliases.register(7, RequestId(3), &track("a")).unwrap();
        assert_eq!(aliases.request(7), Some(RequestId(3)));
        aliases.retire(RequestId(3));
        assert_eq!(aliases.request(7), Some(RequestId(0)));
    }

    /// D14-DATA-20
    #[test]
    fn an_ended_alias_stays_known_until_forgotten() {
        let mut aliases = Aliases::new();
        aliases.register(7, RequestId(0), &track("a")).unwrap();
        aliases.retire(RequestId(0));
        assert_eq!(aliases.request(7), Some(RequestId(0)));
        aliases.register(7, RequestId(2), &track("b")).unwrap();
        aliases.forget(RequestId(0));
        assert_eq!(aliases.request(7), Some(RequestId(2)));
        aliases.forget(RequestId(2));
        assert_eq!(aliases.request(7), None);
        assert!(aliases.peer.is_empty() && aliases.by_request.is_empty());
    }
}

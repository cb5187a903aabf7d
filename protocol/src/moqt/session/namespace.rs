//! Watched prefixes. Draft 14 ends them by prefix, and no two of one side overlap. MOQT-14 §9.28 to §9.31.

use super::Session;
use super::breach::PeerMisbehaved;
use super::io::{CommandError, Event, Note};
use super::requests::About;
use crate::moqt::message::{
    ControlMessage, Namespace, NamespaceRequest, RequestErrorReason, RequestId, RequestKind,
};
use crate::moqt::name::TrackNamespace;
use std::collections::BTreeMap;

impl Session {
    pub(super) fn subscribe_namespace(
        &mut self,
        request: NamespaceRequest,
    ) -> Result<RequestId, CommandError> {
        if let Some(id) = overlapping(&self.ours.watched, &request.namespace) {
            return Err(CommandError::Duplicate(id));
        }
        let prefix = request.namespace.clone();
        let id = self.request(|id| ControlMessage::SubscribeNamespace(id, request))?;
        self.ours.watched.insert(prefix.clone(), id);
        self.ours.insert(id, About::Watch(prefix));
        Ok(id)
    }

    pub(super) fn on_subscribe_namespace(
        &mut self,
        id: RequestId,
        mut request: NamespaceRequest,
    ) -> Result<(), PeerMisbehaved> {
        self.grant.admit(id)?;
        if self.refuses_tokens(id, RequestKind::SubscribeNamespace, &mut request.params)? {
            return Ok(());
        }
        // MOQT-14 §9.28 [D14-NS-4]: equal to, a prefix of, or an extension of an active one.
        if overlapping(&self.theirs.watched, &request.namespace).is_some() {
            let reason = RequestErrorReason::NamespacePrefixOverlap;
            self.refuse(
                id,
                RequestKind::SubscribeNamespace,
                reason,
                "overlaps a prefix subscribed to already",
            );
            return Ok(());
        }
        let prefix = request.namespace.clone();
        self.theirs.watched.insert(prefix.clone(), id);
        self.theirs.insert(id, About::Watch(prefix));
        self.tell(Event::PeerSubscribeNamespace(id, request));
        Ok(())
    }

    pub(super) fn unsubscribe_namespace(&mut self, id: RequestId) -> Result<(), CommandError> {
        let Some(About::Watch(namespace)) = self.our_live_request(id) else {
            return Err(CommandError::NoSuchRequest(id));
        };
        self.follow_up(id, &ControlMessage::UnsubscribeNamespace(Namespace { namespace }))?;
        self.withdraw_ours(id);
        Ok(())
    }

    pub(super) fn on_unsubscribe_namespace(&mut self, unsubscribe: &Namespace) {
        // It may cross our error.
        let Some(id) = self.theirs.watched.get(&unsubscribe.namespace).copied() else {
            self.tell(Event::Note(Note::UnknownNamespace));
            return;
        };
        self.withdraw_theirs(id);
        self.tell(Event::PeerUnsubscribeNamespace(id));
    }
}

/// The request of a prefix that overlaps `prefix`.
///
/// In a sorted set without overlaps, a prefix of `prefix` can only be its predecessor, since whatever lies between
/// the two would extend it; and extensions follow `prefix` directly.
fn overlapping(watched: &BTreeMap<TrackNamespace, RequestId>, prefix: &TrackNamespace) -> Option<RequestId> {
    let before = watched.range(..=prefix).next_back();
    let after = watched.range(prefix..).next();
    let shorter = before.filter(|(other, _)| other.is_prefix_of(prefix));
    shorter
        .or_else(|| after.filter(|(other, _)| prefix.is_prefix_of(other)))
        .map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn namespace(fields: &[u8]) -> TrackNamespace {
        TrackNamespace::new(fields.iter().map(|field| Bytes::from(vec![*field]))).unwrap()
    }

    /// D14-NS-4
    #[test]
    fn neighbours_tell_overlaps() {
        let watched = BTreeMap::from([
            (namespace(b"ab"), RequestId(0)),
            (namespace(b"b"), RequestId(2)),
            (namespace(b"cdef"), RequestId(4)),
        ]);
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"a", Some(0)),
            (b"ab", Some(0)),
            (b"abz", Some(0)),
            (b"ac", None),
            (b"bxyz", Some(2)),
            (b"cd", Some(4)),
            (b"ce", None),
            (b"d", None),
        ];
        for (prefix, id) in cases {
            assert_eq!(
                overlapping(&watched, &namespace(prefix)),
                id.map(RequestId),
                "{prefix:?}"
            );
        }
    }

    proptest! {
        /// D14-NS-4
        #[test]
        fn neighbours_agree_with_a_full_search(
            prefixes in proptest::collection::vec(proptest::collection::vec(0u8..3, 1..4), 1..20),
        ) {
            let mut watched = BTreeMap::new();
            for (n, fields) in prefixes.iter().enumerate() {
                let prefix = namespace(fields);
                let expected = watched
                    .keys()
                    .any(|other: &TrackNamespace| other.is_prefix_of(&prefix) || prefix.is_prefix_of(other));
                prop_assert_eq!(overlapping(&watched, &prefix).is_some(), expected);
                if !expected {
                    watched.insert(prefix, RequestId(n as u64));
                }
            }
        }
    }
}

//! Scopes: what a token allows, one thing at a time.
//!
//! As text a scope is `ACTION` or `ACTION:NAMESPACE`, the namespace as [`crate::moqt::name_text`] writes it, which has no
//! blanks; several are separated by blanks, as in the `scope` claim of RFC 8693 §4.2.

use super::Action;
use crate::moqt::name::TrackNamespace;
use crate::moqt::name_text::{NameTextError, parse_namespace};
use std::fmt;
use std::str::FromStr;

/// Scopes that one token may have. Each is compared with each request of a session, and kept as long as it.
pub const MAX_SCOPES: usize = 64;

/// A word, and what it allows.
type Word = (&'static str, &'static [Action]);

/// What a publisher needs.
const PUBLISHER: Word = ("publisher", &[Action::Publish, Action::PublishNamespace]);
/// What a subscriber needs.
const SUBSCRIBER: Word = (
    "subscriber",
    &[
        Action::Subscribe,
        Action::Fetch,
        Action::TrackStatus,
        Action::SubscribeNamespace,
    ],
);
/// Every word: those two, and the draft's messages.
const WORDS: &[Word] = &[
    PUBLISHER,
    SUBSCRIBER,
    ("subscribe", &[Action::Subscribe]),
    ("fetch", &[Action::Fetch]),
    ("track_status", &[Action::TrackStatus]),
    ("publish", &[Action::Publish]),
    ("publish_namespace", &[Action::PublishNamespace]),
    ("subscribe_namespace", &[Action::SubscribeNamespace]),
];

/// Actions, and the namespaces in which they are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    word: &'static str,
    actions: &'static [Action],
    /// None for every namespace.
    below: Option<TrackNamespace>,
}

/// A text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The action is none.
    #[error(
        "`{0}` is none of publisher, subscriber, subscribe, fetch, track_status, publish, publish_namespace, \
         subscribe_namespace"
    )]
    Action(String),
    /// The namespace is none.
    #[error(transparent)]
    Namespace(#[from] NameTextError),
}

impl Scope {
    /// All that a publisher needs, in this namespace and below it.
    #[must_use]
    pub const fn publisher(below: Option<TrackNamespace>) -> Self {
        Self {
            word: PUBLISHER.0,
            actions: PUBLISHER.1,
            below,
        }
    }

    /// All that a subscriber needs, in this namespace and below it.
    #[must_use]
    pub const fn subscriber(below: Option<TrackNamespace>) -> Self {
        Self {
            word: SUBSCRIBER.0,
            actions: SUBSCRIBER.1,
            below,
        }
    }

    /// Whether it allows this. The prefix of a SUBSCRIBE_NAMESPACE has to lie inside, as everything below it does
    /// then: a short one is for those whose scope is as wide. MOQT-14 §12.3.2 [D14-LIM-3].
    #[must_use]
    pub fn covers(&self, action: Action, namespace: &TrackNamespace) -> bool {
        let inside = |below: &TrackNamespace| below.is_prefix_of(namespace);
        self.actions.contains(&action) && self.below.as_ref().is_none_or(inside)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (word, below) = match text.split_once(':') {
            Some((word, below)) => (word, Some(parse_namespace(below)?)),
            None => (text, None),
        };
        let known = WORDS.iter().find(|(known, _)| *known == word);
        let &(word, actions) = known.ok_or_else(|| ScopeError::Action(word.to_owned()))?;
        Ok(Self { word, actions, below })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)?;
        match &self.below {
            Some(below) => write!(f, ":{below}"),
            None => Ok(()),
        }
    }
}

/// The scopes in a text with blanks between them; none when there are more than [`MAX_SCOPES`]. What is no scope allows
/// nothing: it may be meant for others.
#[must_use]
pub fn scopes(text: &str) -> Option<Vec<Scope>> {
    let mut found = Vec::new();
    for (n, word) in text.split_whitespace().enumerate() {
        if n >= MAX_SCOPES {
            return None;
        }
        if let Ok(scope) = word.parse() {
            found.push(scope);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    const ALL: [Action; 6] = [
        Action::Subscribe,
        Action::Fetch,
        Action::TrackStatus,
        Action::Publish,
        Action::PublishNamespace,
        Action::SubscribeNamespace,
    ];

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    /// D14-AUTH-11
    #[test]
    fn a_word_stands_for_its_actions() {
        let namespace = parse_namespace("live").unwrap();
        for (text, allowed) in [
            ("publisher", &[Action::Publish, Action::PublishNamespace][..]),
            (
                "subscriber",
                &[
                    Action::Subscribe,
                    Action::Fetch,
                    Action::TrackStatus,
                    Action::SubscribeNamespace,
                ],
            ),
            ("subscribe", &[Action::Subscribe]),
            ("fetch", &[Action::Fetch]),
            ("track_status", &[Action::TrackStatus]),
            ("publish", &[Action::Publish]),
            ("publish_namespace", &[Action::PublishNamespace]),
            ("subscribe_namespace", &[Action::SubscribeNamespace]),
        ] {
            for action in ALL {
                let covers = scope(text).covers(action, &namespace);
                assert_eq!(covers, allowed.contains(&action), "{text} {action:?}");
            }
        }
        assert_eq!(scope("publisher"), Scope::publisher(None));
        assert_eq!(scope("subscriber:live"), Scope::subscriber(Some(namespace)));
    }

    /// D14-AUTH-11 D14-LIM-3: a prefix that is shorter than the scope is not inside it.
    #[test]
    fn a_scope_reaches_down_and_not_up() {
        for (text, namespace, covered) in [
            ("subscribe", "live", true),
            ("subscribe:live", "live", true),
            ("subscribe:live", "live/cam1", true),
            ("subscribe:live/cam1", "live", false),
            ("subscribe:live", "lively", false),
            ("subscribe:live", "other", false),
            ("subscribe:a%2fb", "a/b", false),
            ("subscribe:a%2fb", "a%2fb/c", true),
        ] {
            let namespace = parse_namespace(namespace).unwrap();
            assert_eq!(
                scope(text).covers(Action::Subscribe, &namespace),
                covered,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_scope_is_named_or_allows_nothing() {
        for text in ["", "*", "Publish", "publish ", ":live", "publish:", "publish:%2"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        let some = scopes("  openid publish:live\tpublish: fetch ").unwrap();
        assert_eq!(some, [scope("publish:live"), scope("fetch")]);
        assert_eq!(scopes(""), Some(Vec::new()));
        assert_eq!(
            scopes(&"fetch ".repeat(MAX_SCOPES)).map(|s| s.len()),
            Some(MAX_SCOPES)
        );
        assert_eq!(scopes(&"x ".repeat(MAX_SCOPES + 1)), None);
    }

    proptest! {
        /// Any namespace can be written without blanks.
        #[test]
        fn what_is_shown_parses_back(fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 1..=8)) {
            let below = TrackNamespace::new(fields.into_iter().map(Bytes::from)).unwrap();
            let scope = Scope::publisher(Some(below));
            prop_assert_eq!(scopes(&format!("fetch {scope}")).unwrap().pop(), Some(scope));
        }
    }
}

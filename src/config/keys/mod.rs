//! Every key with its explanation, in the order in which a dump shows them; and the search for the nearest one.
//! Those of `[peering]` stand beside what they set.

mod limits;
mod running;
mod serving;

/// A key and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name`, as in the file.
    pub name: &'static str,
    /// When a new value takes effect.
    pub class: Class,
    /// What it sets, with units. Lines are wrapped by hand.
    pub doc: &'static [&'static str],
}

/// When a new value of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// At the next start: the configuration is read once.
    Static,
    /// For connections that begin from then on.
    NewConnection,
    /// For subscriptions that begin from then on.
    NewSubscription,
    /// At once, for everybody.
    Immediate,
}

impl Class {
    /// The name in a dump.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::NewConnection => "new-connection",
            Self::NewSubscription => "new-subscription",
            Self::Immediate => "immediate",
        }
    }
}

/// All keys. A test compares them with the fields of [`super::Config`].
pub fn all() -> impl Iterator<Item = &'static Key> {
    let before = serving::KEYS.iter().chain(limits::KEYS);
    before.chain(super::peering::KEYS).chain(running::KEYS)
}

/// A key that is read once, at start.
pub(super) const fn fixed(name: &'static str, doc: &'static [&'static str]) -> Key {
    Key {
        name,
        class: Class::Static,
        doc,
    }
}

/// True when `text` is a key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    all().any(|key| key.name == text)
}

/// True when `text` is the name of a section.
#[must_use]
pub fn is_section(text: &str) -> bool {
    all().any(|key| {
        key.name
            .split_once('.')
            .is_some_and(|(section, _)| section == text)
    })
}

/// The key that `text` was most likely meant to be.
///
/// A name that is right but stands in the wrong section, or in none, counts as nearer than a misspelt one.
#[must_use]
pub fn nearest(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let name = text.rsplit_once('.').map_or(text.as_str(), |(_, name)| name);
    let distance = |key: &&Key| {
        let key_name = key.name.rsplit_once('.').map_or(key.name, |(_, name)| name);
        let whole = strsim::damerau_levenshtein(&text, key.name);
        let elsewhere = 3 * strsim::damerau_levenshtein(name, key_name) + 1;
        whole.min(elsewhere)
    };
    all().min_by_key(distance).map_or("", |key| key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_what_was_meant() {
        for (typed, meant) in [
            ("relay.prot", "relay.port"),
            ("relay.Port", "relay.port"),
            ("port", "relay.port"),
            ("subscribe.detatched", "subscribe.detached"),
            ("worker.threads", "workers.threads"),
            ("threads", "workers.threads"),
            ("relay.endpoint-id", "relay.endpoint_id"),
            ("relay.threads", "workers.threads"),
            ("cache.duration_s", "cache.duration"),
            ("log.level", "logging.level"),
            ("tls.certificate", "tls.cert"),
            ("relay_port", "relay.port"),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }

    #[test]
    fn keys_and_sections_are_told_apart() {
        assert!(is_key("relay.port") && !is_key("relay") && !is_key("port"));
        assert!(is_section("relay") && !is_section("relay.port") && !is_section("port"));
    }
}

//! A text that is read from the configuration and never written.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What stands in a dump where a secret was.
const HIDDEN: &str = "(not shown)";

/// A secret as it was configured; empty when it was not.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True when none was configured.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when it is what a dump shows, so that the secret has to be filled in.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.0 == HIDDEN
    }

    /// What may be shown of it.
    const fn shown(&self) -> &'static str {
        if self.is_empty() { "" } else { HIDDEN }
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown().fmt(f)
    }
}

impl Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-AUTH-10
    #[test]
    fn it_is_not_shown() {
        let secret = SecretText::from("sesame");
        assert_eq!(format!("{secret:?}"), "\"(not shown)\"");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"(not shown)\"");
        assert_eq!(format!("{:?}", SecretText::default()), "\"\"");
        let read: SecretText = serde_json::from_str("\"sesame\"").unwrap();
        assert_eq!(read.expose(), "sesame");
        assert!(SecretText::from("(not shown)").is_hidden() && !read.is_hidden());
    }
}

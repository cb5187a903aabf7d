//! A time in seconds, as it stands in a file, a variable or a flag.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Seconds, fractions allowed; written as a whole number where it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs_f64())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Seconds)
    }
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds such as 60 or 0.5")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
        Ok(Span(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
        let whole =
            u64::try_from(seconds).map_err(|_| E::invalid_value(Unexpected::Signed(seconds), &self))?;
        self.visit_u64(whole)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Span, E> {
        let span = Duration::try_from_secs_f64(seconds);
        span.map(Span)
            .map_err(|_| E::invalid_value(Unexpected::Float(seconds), &self))
    }

    /// Variables of the environment are text.
    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        let number: f64 = text
            .parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
        self.visit_f64(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct File {
        at: Span,
    }

    #[test]
    fn whole_seconds_and_fractions_load_back() {
        for (text, millis) in [
            ("at = 60", 60_000),
            ("at = 0.25", 250),
            ("at = \"1.5\"", 1500),
            ("at = 0", 0),
        ] {
            let file: File = toml::from_str(text).unwrap();
            assert_eq!(file.at, Span(Duration::from_millis(millis)), "{text}");
            let again: File = toml::from_str(&toml::to_string(&file).unwrap()).unwrap();
            assert_eq!(again.at, file.at, "{text}");
        }
        for text in [
            "at = -1",
            "at = \"x\"",
            "at = -0.5",
            "at = 1e300",
            "at = nan",
            "at = true",
        ] {
            assert!(toml::from_str::<File>(text).is_err(), "{text}");
        }
    }
}

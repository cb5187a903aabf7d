//! Names of namespaces and tracks as text: the inverse of how [`super::name`] shows them.
//!
//! Fields of a namespace are separated by `/`. `%xx` with two hexadecimal digits stands for any byte, so `%2f` is
//! a slash within a field and `%25` is the percent sign; every other character stands for its UTF-8 bytes. Nothing
//! is normalised. Empty fields are kept as they are, so `a//b` has three fields.

use super::name::{FullTrackName, NameError, TrackNamespace};
use bytes::{BufMut, Bytes, BytesMut};

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameTextError {
    /// No text at all: far more often an unset shell variable than a namespace of one empty field.
    #[error("the namespace is empty; write fields separated by `/`, such as example/live")]
    EmptyNamespace,
    /// `%` without two hexadecimal digits.
    #[error("`%` at byte {0} is not followed by two hexadecimal digits; write %25 for the sign itself")]
    BadEscape(usize),
    /// Too many fields or bytes. MOQT-14 §2.4.1.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Reads a namespace such as `example/live/a%2fb`.
///
/// # Errors
/// When the text is empty, an escape is broken, or the protocol's limits are passed.
pub fn parse_namespace(text: &str) -> Result<TrackNamespace, NameTextError> {
    if text.is_empty() {
        return Err(NameTextError::EmptyNamespace);
    }
    let mut start = 0;
    let mut fields = Vec::new();
    for field in text.split('/') {
        fields.push(unescape(field, start)?);
        start += field.len() + 1;
    }
    Ok(TrackNamespace::new(fields)?)
}

/// Reads the name of a track; `/` has no special meaning in it, and it may be empty.
///
/// # Errors
/// When an escape is broken.
pub fn parse_track_name(text: &str) -> Result<Bytes, NameTextError> {
    unescape(text, 0)
}

/// Puts a namespace and a track name together.
///
/// # Errors
/// As [`parse_namespace`] and [`parse_track_name`], and when both together are too long.
pub fn parse_full_name(namespace: &str, track: &str) -> Result<FullTrackName, NameTextError> {
    Ok(FullTrackName::new(
        parse_namespace(namespace)?,
        parse_track_name(track)?,
    )?)
}

/// The name of a track as [`parse_track_name`] reads it.
#[must_use]
pub fn track_text(name: &FullTrackName) -> String {
    // It is shown behind its namespace and a colon.
    let (whole, namespace) = (name.to_string(), name.namespace().to_string());
    whole.get(namespace.len() + 1..).unwrap_or_default().to_owned()
}

/// `offset` is where `text` starts in what the user wrote, for the message.
fn unescape(text: &str, offset: usize) -> Result<Bytes, NameTextError> {
    let mut out = BytesMut::with_capacity(text.len());
    let mut rest = text.bytes().enumerate();
    while let Some((at, byte)) = rest.next() {
        if byte != b'%' {
            out.put_u8(byte);
            continue;
        }
        let mut digit = || {
            let (_, byte) = rest.next()?;
            char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
        };
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(NameTextError::BadEscape(offset + at));
        };
        out.put_u8(high << 4 | low);
    }
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(text: &str) -> Vec<Vec<u8>> {
        parse_namespace(text)
            .unwrap()
            .fields()
            .iter()
            .map(|f| f.to_vec())
            .collect()
    }

    #[test]
    fn text_becomes_fields() {
        for (text, expected) in [
            ("a", vec![b"a".to_vec()]),
            ("a/b/c", vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]),
            ("a%2fb/%25", vec![b"a/b".to_vec(), b"%".to_vec()]),
            ("%00%fF", vec![vec![0, 255]]),
            ("a//", vec![b"a".to_vec(), vec![], vec![]]),
            ("ä", vec!["ä".as_bytes().to_vec()]),
        ] {
            assert_eq!(fields(text), expected, "{text}");
        }
        assert_eq!(parse_track_name("a/b%2F").unwrap().as_ref(), b"a/b/");
        assert!(parse_track_name("").unwrap().is_empty());
    }

    /// D14-ENC-7 D14-ENC-8
    #[test]
    fn faults_are_named() {
        assert_eq!(parse_namespace(""), Err(NameTextError::EmptyNamespace));
        assert_eq!(parse_namespace("ab/%2"), Err(NameTextError::BadEscape(3)));
        assert_eq!(parse_namespace("%zz"), Err(NameTextError::BadEscape(0)));
        assert_eq!(parse_track_name("x%"), Err(NameTextError::BadEscape(1)));
        // MOQT-14 §2.4.1 [D14-ENC-7] [D14-ENC-8]
        let many = vec!["a"; 33].join("/");
        assert_eq!(parse_namespace(&many), Err(NameError::TooManyFields(33).into()));
        assert_eq!(
            parse_full_name("ab", &"x".repeat(4095)),
            Err(NameError::TooLong(4097).into())
        );
    }

    proptest! {
        /// MOQT-14 §2.4.1 [D14-ENC-9]: any bytes can be written, and what is shown can be typed in again.
        #[test]
        fn what_is_shown_parses_back(fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 1..=32)) {
            prop_assume!(fields != [Vec::<u8>::new()]);
            let namespace = TrackNamespace::new(fields.into_iter().map(Bytes::from)).unwrap();
            prop_assert_eq!(parse_namespace(&namespace.to_string()), Ok(namespace));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            drop(parse_namespace(&text));
        }
    }
}

//! Names of namespaces and tracks: byte strings, never text. MOQT-14 §2.4.1.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Most fields a namespace may have. MOQT-14 §2.4.1 [D14-ENC-7].
pub const MAX_NAMESPACE_FIELDS: usize = 32;
/// Most bytes a full track name may have, namespace fields and track name together. MOQT-14 §2.4.1 [D14-ENC-8].
pub const MAX_FULL_NAME_BYTES: usize = 4096;

/// Why a list of fields or a name is not a legal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A namespace needs at least one field.
    #[error("a namespace needs at least one field")]
    NoFields,
    /// More than [`MAX_NAMESPACE_FIELDS`].
    #[error("a namespace has at most 32 fields, this one has {0}")]
    TooManyFields(usize),
    /// More than [`MAX_FULL_NAME_BYTES`].
    #[error("a full track name has at most 4096 bytes, this one has {0}")]
    TooLong(usize),
}

/// A namespace: 1 to 32 byte fields, compared exactly. Cheap to clone.
///
/// MOQT-14 §2.4.1 [D14-ENC-9]: bytes without an encoding, never normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackNamespace(Arc<[Bytes]>);

impl TrackNamespace {
    /// A namespace of these fields.
    ///
    /// # Errors
    /// When there are none, more than 32, or more than 4096 bytes in all.
    pub fn new(fields: impl IntoIterator<Item = Bytes>) -> Result<Self, NameError> {
        let fields: Arc<[Bytes]> = fields.into_iter().collect();
        if fields.is_empty() {
            return Err(NameError::NoFields);
        }
        if fields.len() > MAX_NAMESPACE_FIELDS {
            return Err(NameError::TooManyFields(fields.len()));
        }
        let namespace = Self(fields);
        let bytes = namespace.byte_len();
        if bytes > MAX_FULL_NAME_BYTES {
            return Err(NameError::TooLong(bytes));
        }
        Ok(namespace)
    }

    /// The fields in order.
    #[must_use]
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Bytes of all fields together.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// True when `self` is equal to `other` or a prefix of it, field by field.
    ///
    /// MOQT-14 §8.4 [D14-NS-5]: ("foo") does not match ("foobar").
    #[must_use]
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Every namespace that [is a prefix](Self::is_prefix_of) of this one, the shortest first and this one last.
    pub fn prefixes(&self) -> impl Iterator<Item = Self> + '_ {
        (1..=self.0.len()).filter_map(|len| self.0.get(..len).map(|fields| Self(fields.into())))
    }
}

/// The name of one track within the whole system: namespace and track name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullTrackName {
    namespace: TrackNamespace,
    name: Bytes,
}

impl FullTrackName {
    /// The track `name` in `namespace`. The name may be empty (MOQT-14 §2.4.1 [D14-ENC-10]).
    ///
    /// # Errors
    /// When namespace and name together have more than 4096 bytes.
    pub fn new(namespace: TrackNamespace, name: Bytes) -> Result<Self, NameError> {
        let bytes = namespace.byte_len() + name.len();
        if bytes > MAX_FULL_NAME_BYTES {
            return Err(NameError::TooLong(bytes));
        }
        Ok(Self { namespace, name })
    }

    /// Where the tracks begin, in the order of names, whose namespace has this prefix. They follow it without a gap.
    #[must_use]
    pub const fn first_below(prefix: TrackNamespace) -> Self {
        Self {
            namespace: prefix,
            name: Bytes::new(),
        }
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> &TrackNamespace {
        &self.namespace
    }

    /// The track name.
    #[must_use]
    pub const fn name(&self) -> &Bytes {
        &self.name
    }
}

/// Writes bytes as the command line takes them: what is not printable ASCII, `/` or `%` becomes `%xx`.
fn write_field(f: &mut fmt::Formatter<'_>, field: &[u8]) -> fmt::Result {
    for &byte in field {
        if byte.is_ascii_graphic() && byte != b'/' && byte != b'%' {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02x}")?;
        }
    }
    Ok(())
}

impl fmt::Display for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            write_field(f, field)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackNamespace({self})")
    }
}

impl fmt::Display for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.namespace)?;
        write_field(f, &self.name)
    }
}

impl fmt::Debug for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullTrackName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_those_that_match_and_no_others() {
        let namespace = |text: &[&'static str]| {
            TrackNamespace::new(text.iter().map(|field| Bytes::from_static(field.as_bytes()))).unwrap()
        };
        let long = namespace(&["a", "bc", "d"]);
        let prefixes: Vec<_> = long.prefixes().collect();
        assert_eq!(
            prefixes,
            [namespace(&["a"]), namespace(&["a", "bc"]), long.clone()]
        );
        assert!(prefixes.iter().all(|prefix| prefix.is_prefix_of(&long)));
    }
}

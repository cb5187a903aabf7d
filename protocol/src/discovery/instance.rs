//! The name of one advertised relay.

use std::fmt;

/// Bytes of the longest name. RFC 6763 §4.1.1: an instance is one DNS label.
pub const MAX_INSTANCE: usize = 63;

/// What a relay is called on the network: its endpoint id as far as a DNS label holds it, or that with a number behind
/// when somebody else has the name already.
///
/// Shown, control characters and what turns the direction of a text are replaced: a name of the network must not write
/// to a terminal as it likes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(String);

impl Instance {
    /// The instance of this name; none when it is empty or too long to have come out of a DNS label.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty() && name.len() <= MAX_INSTANCE).then(|| Self(name.to_owned()))
    }

    /// The instance of a relay with this endpoint id, which is cut to what a label holds. Empty text is `laps`.
    #[must_use]
    pub fn of_endpoint(id: &str) -> Self {
        let mut name = String::new();
        for letter in id.chars().filter(|letter| !letter.is_control()) {
            if name.len() + letter.len_utf8() > MAX_INSTANCE {
                break;
            }
            name.push(letter);
        }
        if name.is_empty() {
            name.push_str("laps");
        }
        Self(name)
    }

    /// The name as it is on the network.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Letters that have no shape of their own and change how others look: marks of direction, and those without a width.
fn is_deceptive(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |letter| {
            if is_deceptive(letter) {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        };
        f.pad(&self.0.chars().map(shown).collect::<String>())
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({:?})", self.0)
    }
}

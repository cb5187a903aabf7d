//! The structure inside an AUTHORIZATION_TOKEN parameter. MOQT-14 §9.2.1.1.

use bytes::Bytes;

/// One authorization token, or a word about one that was registered. MOQT-14 §9.2.1.1 [D14-AUTH-1].
#[derive(Clone, PartialEq, Eq)]
pub enum AuthToken {
    /// Forget what was registered under this alias.
    Delete {
        /// The alias.
        alias: u64,
    },
    /// Use this token, and keep it under an alias.
    Register {
        /// The alias.
        alias: u64,
        /// Type of the token; 0 was agreed on out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
    /// Use what was registered under this alias.
    UseAlias {
        /// The alias.
        alias: u64,
    },
    /// Use this token once.
    UseValue {
        /// Type of the token; 0 was agreed on out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
}

impl std::fmt::Debug for AuthToken {
    /// Leaves the secret out: [D14-AUTH-10].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delete { alias } => write!(f, "Delete({alias})"),
            Self::UseAlias { alias } => write!(f, "UseAlias({alias})"),
            Self::Register {
                alias,
                token_type,
                value,
            } => {
                write!(f, "Register({alias}, type {token_type}, {} bytes)", value.len())
            }
            Self::UseValue { token_type, value } => {
                write!(f, "UseValue(type {token_type}, {} bytes)", value.len())
            }
        }
    }
}

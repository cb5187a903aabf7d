//! draft-ietf-moq-transport-14: the only place with its codepoints.

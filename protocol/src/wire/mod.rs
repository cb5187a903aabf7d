//! Bytes of every draft: integers, cursors, key-value pairs.

//! Incremental reader for unidirectional streams.

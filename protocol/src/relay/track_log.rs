//! What is kept of a track, and how it is read.

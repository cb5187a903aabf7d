//! Drives the relay binary with MOQT code that this project did not write.
//!
//! Everything lives in the test target `interop`, one promise a file; this library is empty on purpose.
//! The peers are the crate `moq-transport` (draft-14, over quinn) and a raw quinn client that knows only varints and
//! frames and plays vector bytes. None of it shares a line with `laps-protocol`: a misreading of the draft in the
//! codec cannot hide in its own mirror.
//!
//! The tests start the built binary: `LAPS_BIN` names it, else it is looked for beside the test's own target directory.

//! Who announced what.

//! Names of namespaces and tracks as the command line takes them.

pub use laps_protocol::moqt::name_text::{
    NameTextError, parse_full_name, parse_namespace, parse_track_name, track_text,
};

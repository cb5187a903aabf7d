//! One MOQT session without IO: give it one input or command, then drain its outputs.

pub mod io;

pub use io::{
    Action, Command, CommandError, ControlStream, Event, Input, Note, Output, PeerSetup, Role, Traced,
};

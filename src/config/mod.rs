//! What an operator can set, and where it comes from.
//!
//! [`sections`] holds the values, one struct per subsystem; [`keys`] the text that explains each key; [`load()`] puts
//! the layers on top of each other (command line over environment over file over default); [`check`] refuses values
//! that parse but make no sense; [`dump()`] writes what is in force as a file that loads back. The sections
//! turn themselves into the settings of the crates below.

pub mod admin;
pub mod check;
pub mod discovery;
mod dump;
pub mod keys;
pub mod limits;
pub mod list;
mod load;
mod namespaces;
pub mod peering;
mod secret;
pub mod sections;
mod settings;
mod span;
mod workers;

pub use discovery::{Discovery, Mdns};
pub use dump::dump;
pub use load::{Layers, Origin, Override, TOKEN_VARIABLE, load};
pub use namespaces::Namespaces;
pub use secret::SecretText;
pub use sections::{Config, LogFormat, LogLevel};
pub use settings::{IMPLEMENTATION, read_secret};
pub use span::Span;

//! `laps token`: makes a token that lets a client do what it says.

use super::print;
use crate::cli::TokenOptions;
use crate::exit::Failure;
use laps_actors::auth::mint;
use laps_protocol::auth::UnixSeconds;
use std::time::SystemTime;

/// Runs `laps token`.
///
/// # Errors
/// When there is no secret, or the token would allow nothing or be longer than a relay takes.
pub fn run(options: &TokenOptions) -> Result<(), Failure> {
    let scopes = options.scopes()?;
    let secret = options.secret()?;
    let expires = SystemTime::now() + options.expires.0;
    let since = expires.duration_since(SystemTime::UNIX_EPOCH);
    let expires = UnixSeconds(since.map_or(0, |since| since.as_secs()));
    let token = mint(&secret, &scopes, expires)
        .map_err(|error| Failure::usage("token", error.to_string(), "give it fewer or shorter namespaces"))?;
    print(&token)
}

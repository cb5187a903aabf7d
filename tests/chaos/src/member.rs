//! What makes a relay part of a mesh: a certificate of a CA that all know, and its settings.

use crate::Failure;
use std::path::Path;
use std::process::Command;

/// Where relays find a relay; nothing else is in its namespace.
pub(crate) const RELAYS: u16 = 33_434;

/// Makes a CA in this directory, and certificates for so many nodes.
pub(crate) fn certify(laps: &Path, dir: &Path, nodes: usize) -> Result<(), Failure> {
    let ids = (1..=nodes).flat_map(|number| ["--node".to_owned(), format!("1:{number}")]);
    let made = Command::new(laps)
        .args(["cert", "ca", "--out"])
        .arg(dir)
        .args(ids)
        .output()?;
    if made.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&made.stderr).into_owned().into())
}

/// The environment of the node `1:number`, whose certificate is in this directory, and which dials these.
pub(crate) fn settings(dir: &Path, number: usize, role: &str, dialled: &[String]) -> Vec<(String, String)> {
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let mut env = vec![
        ("LAPS_RELAY__ENDPOINT_ID", format!("1:{number}")),
        ("LAPS_PEERING__NODE_TYPE", role.to_owned()),
        ("LAPS_PEERING__CA", file("ca.pem")),
        ("LAPS_PEERING__CERT", file(&format!("node-1-{number}.pem"))),
        ("LAPS_PEERING__KEY", file(&format!("node-1-{number}-key.pem"))),
    ];
    if !dialled.is_empty() {
        env.push(("LAPS_PEERING__PEERS", dialled.join(",")));
    }
    env.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

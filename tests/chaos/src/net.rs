//! Network namespaces: one for the relay, one for each client, a pair of virtual interfaces for each client.
//!
//! They are made in the mount namespace of `scripts/chaos`, where /run is empty, so names cannot meet and nothing is left
//! when the harness ends, however it ends.

use crate::Failure;
use std::process::{Command, Stdio};

/// The namespaces of one scene.
#[derive(Debug)]
pub(crate) struct Net {
    relay: String,
    clients: Vec<Node>,
}

/// A client's place in the network.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its namespace.
    pub(crate) space: String,
    /// The relay's address on the link of the two.
    pub(crate) gateway: String,
    /// Its own address.
    pub(crate) address: String,
    number: usize,
}

/// Runs `ip` with the words of this line.
pub(crate) fn ip(line: &str) -> Result<(), Failure> {
    run(&line.split_whitespace().collect::<Vec<_>>())
}

/// Runs `ip` with these words.
pub(crate) fn run(words: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ip")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", words.join(" "), why.trim()).into())
}

impl Net {
    /// A network in which there is only the relay.
    pub(crate) fn new(scene: usize) -> Result<Self, Failure> {
        let relay = format!("relay-{scene}");
        ip(&format!("netns add {relay}"))?;
        ip(&format!("-n {relay} link set lo up"))?;
        Ok(Self {
            relay,
            clients: Vec::new(),
        })
    }

    /// The relay's namespace.
    pub(crate) fn relay(&self) -> &str {
        &self.relay
    }

    /// A place for one more client.
    pub(crate) fn join(&mut self) -> Result<Node, Failure> {
        let number = self.clients.len() + 1;
        let node = Node {
            space: format!("{}-{number}", self.relay),
            gateway: format!("10.66.{number}.1"),
            address: format!("10.66.{number}.2"),
            number,
        };
        let (relay, space, far) = (&self.relay, &node.space, format!("c{number}"));
        ip(&format!("netns add {space}"))?;
        self.clients.push(node.clone());
        ip(&format!(
            "-n {relay} link add {far} type veth peer name wan netns {space}"
        ))?;
        ip(&format!("-n {relay} address add {}/24 dev {far}", node.gateway))?;
        ip(&format!("-n {space} address add {}/24 dev wan", node.address))?;
        ip(&format!("-n {space} link set lo up"))?;
        ip(&format!("-n {relay} link set {far} up"))?;
        ip(&format!("-n {space} link set wan up"))?;
        Ok(node)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let spaces = self.clients.iter().map(|node| &node.space);
        for space in spaces.chain([&self.relay]) {
            // One that is gone already is no loss, and the rest go with the harness.
            drop(ip(&format!("netns delete {space}")));
        }
    }
}

impl Node {
    /// Takes its link down, or up again.
    pub(crate) fn link(&self, up: bool) -> Result<(), Failure> {
        let state = if up { "up" } else { "down" };
        ip(&format!("-n {} link set wan {state}", self.space))
    }

    /// Another address that nobody has yet.
    pub(crate) fn other_address(&self, number: u64) -> String {
        format!("10.66.{}.{}", self.number, 100 + number % 100)
    }

    /// Gives it one more address on its link.
    pub(crate) fn add_address(&self, address: &str) -> Result<(), Failure> {
        ip(&format!("-n {} address add {address}/24 dev wan", self.space))
    }

    /// Changes its address for another one.
    pub(crate) fn change_address(&self, address: &str) -> Result<(), Failure> {
        // Without this the kernel would take the other address away together with the first of their network.
        let promote = "echo 1 > /proc/sys/net/ipv4/conf/wan/promote_secondaries";
        run(&["netns", "exec", &self.space, "sh", "-c", promote])?;
        self.add_address(address)?;
        ip(&format!(
            "-n {} address del {}/24 dev wan",
            self.space, self.address
        ))
    }
}

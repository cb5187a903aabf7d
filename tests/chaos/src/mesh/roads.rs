//! The network of a mesh: each relay has a namespace of its own, and roads between all of them lead through one more.

use crate::Failure;
use crate::net::{ip, run};
use serde::Deserialize;
use std::process::Command;

/// Where everybody's packets pass.
#[derive(Debug)]
pub(crate) struct Roads {
    core: String,
    places: Vec<Place>,
}

/// One relay's place, which its own clients share.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its namespace.
    pub(crate) space: String,
    /// Its address, the same from everywhere; behind a NAT that of the NAT.
    pub(crate) address: String,
    /// The namespace of the NAT that hides it, if one does.
    nat: Option<String>,
    /// The address at the other end of its road, in the namespace where all roads meet.
    pub(crate) door: String,
}

/// Bytes that passed an interface since it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Roads {
    /// Roads that lead nowhere yet.
    pub(crate) fn new(scene: usize) -> Result<Self, Failure> {
        let core = format!("core-{scene}");
        ip(&format!("netns add {core}"))?;
        let roads = Self {
            core,
            places: Vec::new(),
        };
        ip(&format!("-n {} link set lo up", roads.core))?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run(&["netns", "exec", &roads.core, "sh", "-c", forward])?;
        Ok(roads)
    }

    /// The namespace where all roads meet.
    pub(crate) fn core(&self) -> &str {
        &self.core
    }

    /// A place for one more relay.
    pub(crate) fn join(&mut self) -> Result<Place, Failure> {
        let (core, number) = (&self.core, self.places.len() + 1);
        let place = Place {
            space: format!("{core}-{number}"),
            address: format!("10.67.{number}.2"),
            nat: None,
            door: format!("10.67.{number}.1"),
        };
        let (space, far) = (&place.space, format!("r{number}"));
        ip(&format!("netns add {space}"))?;
        self.places.push(place.clone());
        ip(&format!(
            "-n {core} link add {far} type veth peer name wan netns {space}"
        ))?;
        ip(&format!("-n {core} address add {}/24 dev {far}", place.door))?;
        ip(&format!("-n {space} address add {}/24 dev wan", place.address))?;
        ip(&format!("-n {space} link set lo up"))?;
        ip(&format!("-n {core} link set {far} up"))?;
        ip(&format!("-n {space} link set wan up"))?;
        ip(&format!("-n {space} route add default via {}", place.door))?;
        Ok(place)
    }

    /// A place for one more relay, which nobody can dial: the one road to it leads through a NAT.
    pub(crate) fn join_hidden(&mut self) -> Result<Place, Failure> {
        let nat = self.join()?;
        let (gate, space) = (&nat.space, format!("{}-hidden", nat.space));
        ip(&format!("netns add {space}"))?;
        let place = Place {
            space: space.clone(),
            nat: Some(gate.clone()),
            ..nat.clone()
        };
        self.places.push(place.clone());
        ip(&format!(
            "-n {gate} link add lan type veth peer name wan netns {space}"
        ))?;
        ip(&format!("-n {gate} address add 192.168.67.1/24 dev lan"))?;
        ip(&format!("-n {space} address add 192.168.67.2/24 dev wan"))?;
        ip(&format!("-n {space} link set lo up"))?;
        ip(&format!("-n {gate} link set lan up"))?;
        ip(&format!("-n {space} link set wan up"))?;
        ip(&format!("-n {space} route add default via 192.168.67.1"))?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run(&["netns", "exec", gate, "sh", "-c", forward])?;
        let masquerade = "iptables -t nat -A POSTROUTING -o wan -j MASQUERADE";
        run(&["netns", "exec", gate, "sh", "-c", masquerade])?;
        Ok(place)
    }
}

impl Drop for Roads {
    fn drop(&mut self) {
        let spaces = self.places.iter().map(|place| &place.space);
        for space in spaces.chain([&self.core]) {
            // One that is gone already is no loss, and the rest go with the harness.
            drop(ip(&format!("netns delete {space}")));
        }
    }
}

impl Place {
    /// How many connections its NAT has given an address so far.
    pub(crate) fn translated(&self) -> Result<u64, Failure> {
        let nat = self.nat.as_ref().ok_or("there is no NAT")?;
        let list = "iptables -t nat -nvxL POSTROUTING | awk '/MASQUERADE/ { print $1 }'";
        let output = Command::new("ip")
            .args(["netns", "exec", nat, "sh", "-c", list])
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }

    /// Takes away the road to another place, or brings it back.
    pub(crate) fn road_to(&self, other: &Self, open: bool) -> Result<(), Failure> {
        let what = if open { "delete" } else { "add" };
        ip(&format!(
            "-n {} route {what} unreachable {}",
            self.space, other.address
        ))
    }

    /// What went over its road so far.
    pub(crate) fn passed(&self) -> Result<Passed, Failure> {
        #[derive(Deserialize)]
        struct Link {
            stats64: Stats,
        }
        #[derive(Deserialize)]
        struct Stats {
            rx: Count,
            tx: Count,
        }
        #[derive(Deserialize)]
        struct Count {
            bytes: u64,
        }
        let output = Command::new("ip")
            .args(["-n", &self.space, "-s", "-j", "link", "show", "wan"])
            .output()?;
        let links: Vec<Link> = serde_json::from_slice(&output.stdout)?;
        let link = links.first().ok_or("there is no road")?;
        Ok(Passed {
            sent: link.stats64.tx.bytes,
            received: link.stats64.rx.bytes,
        })
    }
}

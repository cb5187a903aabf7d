//! `laps discover`: lists the relays of the local network.

use super::print;
use crate::cli::DiscoverOptions;
use crate::exit::Failure;
use laps_actors::discovery::{Address, Report, Watch, Way};
use laps_protocol::discovery::{Instance, Neighbour, News, hex};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Runs `laps discover`.
///
/// # Errors
/// When this program cannot look for relays, or nothing on this system can.
pub fn run(options: &DiscoverOptions) -> Result<(), Failure> {
    options.check()?;
    let way = options.mdns.way().unwrap_or_default();
    let relays = actix::System::new().block_on(look(way, options.seconds.0, |_| false))?;
    let show = if options.json { json } else { line };
    let lines: Vec<String> = relays.values().map(show).collect();
    if lines.is_empty() {
        Ok(())
    } else {
        print(&lines.join("\n"))
    }
}

/// Every relay that is heard of within the time, or until one is enough.
///
/// # Errors
/// When nobody could be heard.
pub(super) async fn look(
    way: Way,
    time: Duration,
    enough: impl Fn(&Neighbour<Address>) -> bool,
) -> Result<BTreeMap<Instance, Neighbour<Address>>, Failure> {
    let failed = |reason: String| Failure::run("discovery", reason, "name the relay by its URL");
    let back_ends = way.back_ends().map_err(|missing| failed(missing.to_string()))?;
    let (_watch, mut reports) = Watch::start(back_ends, None).map_err(|error| failed(error.to_string()))?;
    let until = Instant::now() + time;
    let (mut found, mut trouble) = (BTreeMap::new(), None);
    while let Ok(report) = timeout_at(until, reports.recv()).await {
        match report {
            Some(Report::News(News::Found(relay))) => {
                let last = enough(&relay);
                found.insert(relay.instance.clone(), relay);
                if last {
                    break;
                }
            }
            Some(Report::News(News::Lost(instance))) => {
                found.remove(&instance);
            }
            Some(Report::Troubled(why)) => trouble = Some(why),
            Some(Report::Works(_)) => trouble = None,
            // What is not taken is not listed; a client has no name that could be taken from it.
            Some(Report::News(News::Faulty(..)) | Report::Renamed(_)) => {}
            None => break,
        }
    }
    match trouble {
        Some(why) if found.is_empty() => Err(failed(why)),
        _ => Ok(found),
    }
}

/// One relay for a program.
#[derive(Serialize)]
struct Line {
    name: String,
    host: String,
    port: u16,
    addresses: Vec<String>,
    id: Option<String>,
    version: Option<String>,
    drafts: Vec<u16>,
    transports: Vec<&'static str>,
    sha256: Option<String>,
    node: Option<&'static str>,
    peer_port: Option<u16>,
}

impl Line {
    fn of(relay: &Neighbour<Address>) -> Self {
        let offer = &relay.offer;
        Self {
            name: relay.instance.to_string(),
            host: relay.host.clone(),
            port: relay.port.get(),
            addresses: relay.addresses.iter().map(ToString::to_string).collect(),
            id: offer.id.map(|id| id.to_string()),
            version: offer.version.clone(),
            drafts: offer.drafts.clone(),
            transports: offer.transports.iter().map(|way| way.name()).collect(),
            sha256: offer.certificate.as_ref().map(|hash| hex(hash).to_string()),
            node: offer.node_type.map(|kind| kind.name()),
            peer_port: offer.peer_port.map(Into::into),
        }
    }
}

fn json(relay: &Neighbour<Address>) -> String {
    // Texts and numbers always have a JSON form.
    serde_json::to_string(&Line::of(relay)).unwrap_or_default()
}

fn line(relay: &Neighbour<Address>) -> String {
    let (port, line) = (relay.port.get(), Line::of(relay));
    let addresses: Vec<String> = relay
        .addresses
        .iter()
        .map(|address| address.socket(port).to_string())
        .collect();
    let said = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let drafts: Vec<String> = line
        .drafts
        .iter()
        .map(|number| format!("draft-{number}"))
        .collect();
    let some = |list: String| if list.is_empty() { "-".to_owned() } else { list };
    format!(
        "{}  {}  version {}  {}  {}  node {}  peers {}  sha256 {}",
        line.name,
        addresses.join(" "),
        said(line.version),
        some(drafts.join(",")),
        some(line.transports.join(",")),
        said(line.node.map(ToOwned::to_owned)),
        said(line.peer_port.map(|port| port.to_string())),
        said(line.sha256),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::discovery::Offer;
    use laps_protocol::peering::node::NodeId;

    fn relay(offer: Offer) -> Neighbour<Address> {
        let address = |text: &str| Address::new(text.parse().unwrap(), 2).unwrap();
        Neighbour {
            instance: Instance::new("pi \u{1b}[2J").unwrap(),
            host: "pi.local".to_owned(),
            addresses: [address("fe80::1"), address("10.0.0.1")].into(),
            port: 33435.try_into().unwrap(),
            offer,
        }
    }

    #[test]
    fn a_relay_is_one_line() {
        let silent = line(&relay(Offer::default()));
        assert_eq!(
            silent,
            "pi \u{fffd}[2J  10.0.0.1:33435 [fe80::1%2]:33435  version -  -  -  node -  peers -  sha256 -"
        );
        let offer = Offer {
            id: Some(NodeId(1)),
            certificate: Some([0xab; 32]),
            ..Offer::of_this_program("0.1")
        };
        let said = line(&relay(offer.clone()));
        assert!(
            said.contains("version 0.1  draft-14  quic  node -  peers -  sha256 abab"),
            "{said}"
        );
        let value: serde_json::Value = serde_json::from_str(&json(&relay(offer))).unwrap();
        assert_eq!(
            (
                &value["id"],
                &value["port"],
                &value["drafts"],
                &value["addresses"]
            ),
            (
                &"0:1".into(),
                &33435.into(),
                &serde_json::json!([14]),
                &serde_json::json!(["10.0.0.1", "fe80::1%2"])
            )
        );
        assert_eq!(value["sha256"], "ab".repeat(32));
    }
}

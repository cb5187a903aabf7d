//! `laps discover`: lists the relays of the local network; and the relay that a client takes there.

use super::meter::say;
use super::print;
use crate::cli::{DiscoverOptions, FindOptions, TrustOptions};
use crate::exit::Failure;
use crate::url::MoqtUrl;
use laps_actors::discovery::{Address, Report, Watch, Way};
use laps_actors::transport::Verify;
use laps_protocol::discovery::{Instance, Neighbour, News, hex};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a client looks for a relay. The first that says that it fits is taken, and answers well within this; then one
/// that may.
const SEARCH: Duration = Duration::from_secs(5);

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
        // An empty list is an answer; that it is one is told beside it.
        say(&format!(
            "no relay answered within {} s",
            options.seconds.0.as_secs_f32()
        ));
        Ok(())
    } else {
        print(&lines.join("\n"))
    }
}

/// The URL that was given; or, where a relay is to be found, that of the first that answers and fits.
///
/// # Errors
/// When none does.
pub(super) async fn url(
    find: &FindOptions,
    trust: &TrustOptions,
    given: &MoqtUrl,
) -> Result<MoqtUrl, Failure> {
    let Some(name) = &find.discover else {
        return Ok(given.clone());
    };
    let hash = if let Verify::CertSha256(hash) = trust.verify()? {
        Some(hash)
    } else {
        None
    };
    let name = name.as_deref();
    let sure = |relay: &Neighbour<Address>| says(relay, hash) && address(relay, name, hash).is_some();
    let found = look(Way::Auto, SEARCH, sure).await?;
    // One that says nothing of its certificate may have it as well.
    let fitting = found.values().find(|relay| sure(relay));
    let mut fitting = fitting.into_iter().chain(found.values());
    let place = |relay: &Neighbour<Address>| Some((relay.instance.clone(), address(relay, name, hash)?));
    if let Some((instance, url)) = fitting.find_map(place) {
        say(&format!("found {instance} at {url}"));
        return Ok(url);
    }
    let what = name.map_or_else(
        || "no relay".to_owned(),
        |name| format!("no relay called `{name}`"),
    );
    let reason = format!(
        "{what} that fits answered within {} s; {} did that do not",
        SEARCH.as_secs(),
        found.len()
    );
    let remedy = "see `laps discover`, or name the relay by its URL";
    Err(Failure::run("discovery", reason, remedy))
}

/// Where a relay is, if it is of this name and may have a certificate of this SHA-256, as far as it says so itself.
fn address(relay: &Neighbour<Address>, name: Option<&str>, hash: Option<[u8; 32]>) -> Option<MoqtUrl> {
    let named = name.is_none_or(|name| relay.instance.as_str() == name);
    // A hint: what it says only keeps us from one that would be refused, and the handshake decides.
    let may = says(relay, hash) || said_of(relay).contains(&None);
    if !(named && may && relay.offer.may_be_spoken_to()) {
        return None;
    }
    let plain = relay.addresses.iter().find(|address| address.is_plain())?;
    format!("moqt://{}", plain.socket(relay.port.get())).parse().ok()
}

/// The SHA-256 of its certificate and of its key, as far as it says so itself.
fn said_of(relay: &Neighbour<Address>) -> [Option<[u8; 32]>; 2] {
    [relay.offer.certificate, relay.offer.key.as_deref().copied()]
}

/// It says that it has this certificate or key, where one is asked for.
fn says(relay: &Neighbour<Address>, hash: Option<[u8; 32]>) -> bool {
    hash.is_none_or(|hash| said_of(relay).contains(&Some(hash)))
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
            Some(Report::Works { .. } | Report::Hidden { .. }) => trouble = None,
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
    key_sha256: Option<String>,
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
            key_sha256: offer.key.as_deref().map(|hash| hex(hash).to_string()),
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
        "{}  {}  version {}  {}  {}  node {}  peers {}  sha256 {}  key {}",
        line.name,
        addresses.join(" "),
        said(line.version),
        some(drafts.join(",")),
        some(line.transports.join(",")),
        said(line.node.map(ToOwned::to_owned)),
        said(line.peer_port.map(|port| port.to_string())),
        said(line.sha256),
        // This one stays when the certificate is renewed.
        said(line.key_sha256),
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
    fn a_client_takes_what_fits() {
        let silent = relay(Offer::default());
        let url =
            |relay: &Neighbour<Address>, name, hash| address(relay, name, hash).map(|url| url.to_string());
        let at = Some("moqt://10.0.0.1:33435".to_owned());
        let name = silent.instance.as_str().to_owned();
        assert_eq!(url(&silent, None, None), at);
        assert_eq!(
            url(&silent, Some(&name), Some([1; 32])),
            at,
            "nothing is known of its certificate"
        );
        assert_eq!(url(&silent, Some("other"), None), None);
        let other = relay(Offer {
            certificate: Some([2; 32]),
            ..Offer::default()
        });
        assert_eq!(url(&other, None, Some([1; 32])), at, "nor of its key");
        let other = relay(Offer {
            key: Some(Box::new([3; 32])),
            ..other.offer
        });
        assert_eq!(url(&other, None, Some([1; 32])), None);
        assert_eq!(
            (url(&other, None, Some([2; 32])), url(&other, None, Some([3; 32]))),
            (at.clone(), at)
        );
        assert!(says(&other, None) && says(&other, Some([2; 32])) && says(&other, Some([3; 32])));
        assert!(
            !says(&other, Some([1; 32])) && !says(&silent, Some([2; 32])),
            "others may be surer"
        );
        let via = relay(Offer {
            node_type: Some(laps_protocol::peering::node::NodeType::Via),
            ..Offer::default()
        });
        assert_eq!(url(&via, None, None), None);
        let mut local = silent;
        local.addresses.retain(|address| !address.is_plain());
        assert_eq!(url(&local, None, None), None, "a URL names no interface");
    }

    #[test]
    fn a_relay_is_one_line() {
        let silent = line(&relay(Offer::default()));
        assert_eq!(
            silent,
            "pi \u{fffd}[2J  10.0.0.1:33435 [fe80::1%2]:33435  version -  -  -  node -  peers -  sha256 -  key -"
        );
        let offer = Offer {
            id: Some(NodeId(1)),
            certificate: Some([0xab; 32]),
            key: Some(Box::new([0xcd; 32])),
            ..Offer::of_this_program("0.1")
        };
        let said = line(&relay(offer.clone()));
        assert!(
            said.contains("version 0.1  draft-14  quic  node -  peers -  sha256 abab"),
            "{said}"
        );
        assert!(said.ends_with(&format!("  key {}", "cd".repeat(32))), "{said}");
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

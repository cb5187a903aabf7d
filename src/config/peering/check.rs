//! Values of `[peering]` that parse and yet make no sense.

use super::Peering;
use crate::config::check::Refused;
use laps_actors::peering::{HostPort, PeerKind};
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::node::NodeType;

/// The first value that makes no sense, in the order of the file.
#[must_use]
pub fn first_refused(peering: &Peering) -> Option<Refused> {
    refused_identity(peering)
        .or_else(|| refused_role(peering))
        .or_else(|| refused_laps(peering))
        .or_else(|| refused_number(peering))
}

fn refuse(key: &'static str, reason: impl Into<String>, remedy: &'static str) -> Option<Refused> {
    let reason = reason.into();
    Some(Refused { key, reason, remedy })
}

/// Who this relay proves to be.
fn refused_identity(peering: &Peering) -> Option<Refused> {
    let files = [
        ("peering.ca", &peering.ca),
        ("peering.cert", &peering.cert),
        ("peering.key", &peering.key),
    ];
    let given = files.iter().find(|(_, path)| !path.is_empty());
    let missing = files.iter().find(|(_, path)| path.is_empty());
    let remedy =
        "make all three with `laps cert ca`, or set peering.insecure to true where anybody may join the mesh";
    if let (Some((given, _)), true) = (given, peering.insecure) {
        let reason = format!("true, and {given} is given");
        return refuse("peering.insecure", reason, "give one of the two");
    }
    if let (Some((given, _)), Some((missing, _))) = (given, missing) {
        return refuse(missing, format!("not given, and {given} is"), remedy);
    }
    let ours = peering.peers.0.iter().find(|peer| peer.kind == PeerKind::Ours);
    if let (Some(peer), None, false) = (ours, given, peering.insecure) {
        let reason = format!("not given, and the peer {peer} proves who it is and wants the same");
        return refuse("peering.ca", reason, remedy);
    }
    None
}

/// What this relay is for, and whom it dials for that.
fn refused_role(peering: &Peering) -> Option<Refused> {
    let peers = &peering.peers.0;
    let twice = peers
        .iter()
        .enumerate()
        .find(|(at, peer)| peers.iter().take(*at).any(|p| p == *peer));
    if let Some((_, peer)) = twice {
        let remedy = "name each peer once; peering.data_links is for more links to it";
        return refuse("peering.peers", format!("{peer} is named twice"), remedy);
    }
    if peering.node_type.0 == NodeType::Via && !peering.is_on() {
        let reason = "via, and there is neither a peer nor a way to become one";
        let remedy = "name its CA in peering.ca, or its peers in peering.peers: a via has no clients";
        return refuse("peering.node_type", reason, remedy);
    }
    match peering.node_type.0 {
        NodeType::Edge => None,
        NodeType::Via => refused_via(peering),
        NodeType::Stub => refused_stub(peering),
    }
}

/// Decision 0029: a via keeps no infos, and a laps relay asks nobody for them.
fn refused_via(peering: &Peering) -> Option<Refused> {
    let mut peers = peering.peers.0.iter();
    if let Some(peer) = peers.find(|peer| peer.kind == PeerKind::Laps) {
        let reason = format!("{peer} is a laps relay, and this relay is a via");
        let remedy = "have an edge dial it, or set peering.node_type to edge";
        return refuse("peering.peers", reason, remedy);
    }
    if peering.laps_listen.is_empty() {
        return None;
    }
    let remedy = "leave it out, have laps relays dial an edge, or set peering.node_type to edge";
    refuse(
        "peering.laps_listen",
        "given, and a via takes no laps relays",
        remedy,
    )
}

fn refused_stub(peering: &Peering) -> Option<Refused> {
    if peering.peers.0.is_empty() {
        let reason = "stub, and there is no peer";
        return refuse("peering.node_type", reason, "name its edge in peering.peers");
    }
    // The defaults are let pass, as a dump has them.
    let unset = Peering::default();
    for (key, given) in [
        ("peering.port", peering.port != unset.port),
        ("peering.bind", peering.bind != unset.bind),
    ] {
        if given {
            return refuse(key, "given, and a stub is dialled by nobody", "leave it out");
        }
    }
    if !peering.laps_listen.is_empty() {
        return refuse(
            "peering.laps_listen",
            "given, and a stub is dialled by nobody",
            "leave it out",
        );
    }
    // laps peering, "(2) Data Peering": stubs always operate in bi-directional mode.
    if peering.data_links_one_way {
        let reason = "true, and a stub gets all that its clients subscribe to by links that it dials";
        return refuse("peering.data_links_one_way", reason, "leave it out");
    }
    None
}

/// Who is let in without proof.
fn refused_laps(peering: &Peering) -> Option<Refused> {
    let (listen, from) = (&peering.laps_listen, &peering.laps_from.0);
    if listen.is_empty() {
        if from.is_empty() {
            return None;
        }
        let reason = "not given, and peering.laps_from is";
        return refuse(
            "peering.laps_listen",
            reason,
            "write host:port, or leave both out",
        );
    }
    if let Err(error) = listen.parse::<HostPort>() {
        return refuse("peering.laps_listen", error.to_string(), "write host:port");
    }
    if from.is_empty() {
        let remedy = "name the addresses of the laps relays; nobody else is let in there";
        return refuse(
            "peering.laps_from",
            "not given, and peering.laps_listen is",
            remedy,
        );
    }
    None
}

fn refused_number(peering: &Peering) -> Option<Refused> {
    for (key, place, most) in [
        ("peering.longitude", peering.longitude, 180.0),
        ("peering.latitude", peering.latitude, 90.0),
    ] {
        if place.0.get().abs() > most {
            let reason = format!("{} is not from -{most} to {most}", place.0.get());
            return refuse(key, reason, "write degrees, south and west below 0");
        }
    }
    let max_contact = Limits::default().max_contact_bytes;
    if peering.contact.len() > max_contact {
        let reason = format!("longer than {max_contact} bytes");
        return refuse("peering.contact", reason, "write a host name or an address");
    }
    let ranges = [
        ("peering.data_links", peering.data_links, 0, 16),
        (
            "peering.node_advert_interval_ms",
            peering.node_advert_interval_ms,
            0,
            600_000,
        ),
        (
            "peering.unsubscribe_hold_ms",
            peering.unsubscribe_hold_ms,
            0,
            600_000,
        ),
        ("peering.connect_ms", peering.connect_ms, 100, 60_000),
        (
            "peering.backoff_first_ms",
            peering.backoff_first_ms,
            10,
            peering.backoff_max_ms,
        ),
        ("peering.backoff_max_ms", peering.backoff_max_ms, 10, 3_600_000),
        // QUIC's own end of a link has to come after ours: `LinkTimes::silence`.
        ("peering.idle_timeout_ms", peering.idle_timeout_ms, 2_000, 600_000),
        (
            "peering.keep_alive_ms",
            peering.keep_alive_ms,
            10,
            peering.idle_timeout_ms / 4,
        ),
        ("peering.max_links", peering.max_links, 1, 1 << 16),
        // RFC 9000 §4.6: a stream limit is at most 2^60.
        ("peering.max_uni_streams", peering.max_uni_streams, 1, 1 << 60),
        ("peering.max_bidi_streams", peering.max_bidi_streams, 1, 1 << 60),
        (
            "peering.connection_window_bytes",
            peering.connection_window_bytes,
            1 << 16,
            1 << 30,
        ),
        (
            "peering.stream_window_bytes",
            peering.stream_window_bytes,
            1 << 14,
            1 << 30,
        ),
        (
            "peering.send_buffer_bytes",
            peering.send_buffer_bytes.into(),
            1 << 14,
            1 << 30,
        ),
    ];
    let (key, value, least, most) = ranges
        .into_iter()
        .find(|(_, value, least, most)| !(least..=most).contains(&value))?;
    refuse(
        key,
        format!("{value} is not from {least} to {most}"),
        "choose a number in that range",
    )
}

//! What a network says of the relays on it: TXT records, and sightings of many relays and of ourselves.

use crate::base;
use crate::feed::Feed;
use laps_protocol::discovery::{
    Fault, IN_DOUBT, Instance, MAX_ADDRESSES, MAX_DRAFTS, MAX_RELAYS, MAX_STRING, MAX_TXT, MAX_VERSION,
    Neighbours, News, Offer, Ourselves, Oversized, Sighting, Transport,
};
use laps_protocol::peering::node::NodeId;
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

/// Who we are, as in what is advertised.
fn us() -> Ourselves {
    Ourselves {
        instance: Instance::new("us").unwrap(),
        port: 1,
        offer: Offer {
            id: Some(NodeId(1)),
            ..Offer::of_this_program("1")
        },
    }
}

/// Records and what is done with them: each begins with a byte that says what, and records end with an empty string.
pub(crate) fn advert(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut table: Neighbours<u8> = Neighbours::new(Some(us()));
    let (mut now, mut told) = (base(), BTreeMap::new());
    let mut ours = vec![us().offer];
    while !feed.is_over() {
        match feed.below(8) {
            0..=3 => {
                let name = name(&mut feed);
                let addresses: Vec<u8> = (0..feed.below(24)).map(|_| feed.u8()).collect();
                let (complete, port) = (feed.flag(), u16::try_from(feed.below(4)).unwrap());
                let offer = record(&mut feed);
                table.seen(Sighting {
                    host: name.clone(),
                    name,
                    addresses,
                    complete,
                    port,
                    offer,
                });
            }
            4 => table.gone(&name(&mut feed)),
            5 => table.doubt(&name(&mut feed), now),
            6 => {
                now += Duration::from_secs(feed.number().min(60));
                table.handle_timeout(now);
                assert!(
                    table
                        .poll_timeout()
                        .is_none_or(|at| at > now && at <= now + IN_DOUBT)
                );
            }
            _ => {
                let offer = Offer {
                    id: Some(NodeId(1)),
                    ..record(&mut feed).unwrap_or_default()
                };
                table.offers(offer.clone());
                ours.push(offer);
            }
        }
        while let Some(news) = table.poll() {
            match news {
                News::Found(relay) => {
                    assert!((1..=MAX_ADDRESSES).contains(&relay.addresses.len()));
                    assert_ne!(relay.instance.as_str(), "us", "nobody takes our name");
                    assert_ne!(relay.offer.id, Some(NodeId(1)), "nor our id");
                    assert!(!relay.instance.to_string().chars().any(char::is_control));
                    told.insert(relay.instance.clone(), relay);
                }
                News::Lost(instance) => assert!(told.remove(&instance).is_some()),
                News::Faulty(_, fault) => assert!(!fault_text(fault).is_empty()),
            }
        }
        assert!(table.relays().count() <= MAX_RELAYS);
        assert!(table.relays().eq(told.values()));
    }
    // What we say is never news to ourselves: not the latest, and not the one before.
    for offer in ours.iter().rev().take(2) {
        table.seen(Sighting {
            name: "us".to_owned(),
            host: String::new(),
            addresses: vec![1],
            complete: true,
            port: us().port,
            offer: Ok(offer.clone()),
        });
        assert_eq!(table.poll(), None);
    }
}

/// One of a few names, or any.
fn name(feed: &mut Feed<'_>) -> String {
    match feed.below(8) {
        0 => "us".to_owned(),
        1 => String::from_utf8_lossy(&feed.bytes(80)).into_owned(),
        few => few.to_string(),
    }
}

fn fault_text(fault: Fault) -> String {
    fault.to_string()
}

/// A TXT record as it is on the wire: strings with their length before them. RFC 6763 §6.1
fn record(feed: &mut Feed<'_>) -> Result<Offer, Oversized> {
    let mut strings = Vec::new();
    loop {
        // A byte less than a string may have: read as key and value, the sign between them counts where there is none.
        let string = feed.bytes(254);
        if string.is_empty() {
            break;
        }
        // So often as its first byte says where it is longer than any of ours: that is how a few bytes are many.
        let times = if string.len() > 200 {
            usize::from(string[0])
        } else {
            1
        };
        strings.extend(std::iter::repeat_n(string, times));
    }
    let parts = strings.iter().map(|string| {
        let at = string
            .iter()
            .position(|byte| *byte == b'=')
            .unwrap_or(string.len());
        (&string[..at], string.get(at + 1..).unwrap_or_default())
    });
    let size: usize = parts
        .clone()
        .map(|(key, value)| key.len() + value.len() + 2)
        .sum();
    let read = Offer::read(parts);
    assert_eq!(
        read.is_err(),
        size > MAX_TXT,
        "refused for its size, and for nothing else"
    );
    if let Ok(offer) = &read {
        assert!(offer.drafts.len() <= MAX_DRAFTS && offer.transports.len() <= Transport::ALL.len());
        let version = offer.version.clone().unwrap_or_default();
        assert!(version.len() <= MAX_VERSION && version.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_ne!(offer.peer_port.map(NonZeroU16::get), Some(0));
        let written = offer.strings();
        assert!(
            written
                .iter()
                .all(|(key, value)| key.len() + value.len() < MAX_STRING)
        );
        let again = Offer::read(
            written
                .iter()
                .map(|(key, value)| (key.as_bytes(), value.as_bytes())),
        );
        assert_eq!(
            again.as_ref(),
            Ok(offer),
            "what was read is written so that it is read as the same"
        );
        assert!(!offer.may_be_spoken_to() || offer.drafts.is_empty() || offer.drafts.contains(&14));
    }
    read
}

//! What holds for whatever a network says of the relays on it.
#![expect(
    clippy::unwrap_used,
    reason = "a test file: the helpers beside the tests fail them"
)]

use laps_protocol::discovery::*;
use laps_protocol::peering::node::{NodeId, NodeType};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

type Address = u8;
type Table = Neighbours<Address>;

fn offer() -> impl Strategy<Value = Offer> {
    let port = (1..=u16::MAX).prop_map(|port| NonZeroU16::new(port).unwrap());
    let drafts = vec(any::<u16>(), 0..=MAX_DRAFTS).prop_map(|mut drafts| {
        let mut seen = std::collections::BTreeSet::new();
        drafts.retain(|draft| seen.insert(*draft));
        drafts
    });
    (
        of(any::<u64>().prop_map(NodeId)),
        of("[!-~]{1,32}"),
        drafts,
        select(vec![
            vec![],
            vec![Transport::Quic],
            vec![Transport::WebTransport, Transport::Quic],
        ]),
        of(any::<[u8; 32]>()),
        of(any::<[u8; 32]>()),
        of(select(NodeType::ALL)),
        of(port),
    )
        .prop_map(
            |(id, version, drafts, transports, certificate, key, node_type, peer_port)| Offer {
                id,
                version,
                drafts,
                transports,
                certificate,
                key: key.map(Box::new),
                node_type,
                peer_port,
            },
        )
}

fn read(strings: &[(String, Vec<u8>)]) -> Result<Offer, Oversized> {
    Offer::read(
        strings
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_slice())),
    )
}

fn written(offer: &Offer) -> Vec<(String, Vec<u8>)> {
    let strings = offer.strings().into_iter();
    strings
        .map(|(key, value)| (key.to_owned(), value.into_bytes()))
        .collect()
}

/// One of a few names, ports and addresses, so that they meet.
fn sighting() -> impl Strategy<Value = Sighting<Address>> {
    let offered = prop_oneof![
        4 => Just(Ok(Offer::default())),
        4 => (0..4_u64).prop_map(|id| Ok(Offer { id: Some(NodeId(id)), ..Offer::default() })),
        1 => Just(Err(Oversized)),
    ];
    let parts = ("[a-d]", vec(any::<u8>(), 0..40), any::<bool>(), 0..4_u16, offered);
    parts.prop_map(|(name, addresses, complete, port, offer)| Sighting {
        complete,
        host: format!("{name}.local"),
        name,
        addresses,
        port,
        offer,
    })
}

#[derive(Clone, Debug)]
enum Step {
    Seen(Sighting<Address>),
    Gone(String),
    Doubt(String),
    DoubtAll,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => sighting().prop_map(Step::Seen),
        1 => "[a-d]".prop_map(Step::Gone),
        2 => "[a-d]".prop_map(Step::Doubt),
        1 => Just(Step::DoubtAll),
        3 => (0..4_u64).prop_map(Step::Pass),
    ]
}

/// Relay "a" of node 1 on port 1.
fn us() -> Ourselves {
    Ourselves {
        instance: Instance::new("a").unwrap(),
        port: 1,
        offer: Offer {
            id: Some(NodeId(1)),
            ..Offer::default()
        },
    }
}

/// Any instant: only differences count.
#[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
fn an_instant() -> Instant {
    Instant::now()
}

fn drain(table: &mut Table) -> Vec<News<Address>> {
    std::iter::from_fn(|| table.poll()).collect()
}

fn seen(name: &str, addresses: &[Address]) -> Sighting<Address> {
    Sighting {
        name: name.to_owned(),
        host: String::new(),
        addresses: addresses.to_vec(),
        complete: false,
        port: 9,
        offer: Ok(Offer::default()),
    }
}

proptest! {
    /// What is written is read again, and fits; in any order, and with capital keys.
    #[test]
    fn an_offer_survives_its_record(offer in offer(), reversed in any::<bool>()) {
        let mut strings = written(&offer);
        prop_assert_eq!(strings[0].0.as_str(), "txtvers");
        prop_assert!(strings.iter().all(|(key, value)| key.len() <= 9 && key.len() + value.len() < MAX_STRING));
        if reversed {
            strings.reverse();
            strings.iter_mut().for_each(|(key, _)| key.make_ascii_uppercase());
        }
        prop_assert_eq!(read(&strings), Ok(offer));
    }

    /// Who can only ask for each key that is understood misses nothing.
    #[test]
    fn an_offer_is_read_by_its_keys(offer in offer()) {
        let mut strings = written(&offer);
        strings.retain(|(key, _)| Offer::KEYS.contains(&key.as_str()));
        prop_assert_eq!(read(&strings), Ok(offer));
    }

    /// Any bytes are read, refused when there are too many, and what is kept of them is bounded.
    #[test]
    fn any_record_is_read_within_bounds(
        strings in vec((prop_oneof!["[a-z]{0,9}", select(vec!["id", "version", "drafts", "transport", "sha256", "node",
            "peerport"]).prop_map(str::to_owned)], vec(any::<u8>(), 0..300)), 0..40),
    ) {
        let size: usize = strings.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        let longest = strings.iter().map(|(key, value)| key.len() + value.len() + 1).max().unwrap_or(0);
        match read(&strings) {
            Err(Oversized) => prop_assert!(size > MAX_TXT || longest > MAX_STRING),
            Ok(offer) => {
                prop_assert!(size <= MAX_TXT && longest <= MAX_STRING);
                prop_assert!(offer.drafts.len() <= MAX_DRAFTS && offer.transports.len() <= Transport::ALL.len());
                let version = offer.version.unwrap_or_default();
                prop_assert!(version.len() <= MAX_VERSION && version.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }

    /// A name that is shown has no control characters, and one that is advertised fits a label.
    #[test]
    fn names_fit_and_do_no_harm(text in "\\PC{0,80}|[\\x00-\\x1f\\u{202a}-\\u{202e}a]{0,80}") {
        let name = Instance::of_endpoint(&text);
        prop_assert!((1..=MAX_INSTANCE).contains(&name.as_str().len()));
        let harm = |letter: char| letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter);
        prop_assert!(!name.to_string().chars().any(harm));
        if let Some(name) = Instance::new(&text) {
            prop_assert!(!name.to_string().chars().any(harm));
            prop_assert_eq!(name.as_str(), text.as_str());
        }
    }

    /// Whatever is said: we are never found, nobody is found without an address, found and lost take turns, those told
    /// of are those that are listed, and everything has an end.
    #[test]
    fn news_agree_with_the_list(steps in vec(step(), 0..60)) {
        let mut table = Table::new(Some(us()));
        let mut now = an_instant();
        let mut told = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Seen(sighting) => table.seen(sighting),
                Step::Gone(name) => table.gone(&name),
                Step::Doubt(name) => table.doubt(&name, now),
                Step::DoubtAll => table.doubt_all(now),
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    table.handle_timeout(now);
                    prop_assert!(table.poll_timeout().is_none_or(|at| at > now && at <= now + IN_DOUBT));
                }
            }
            for news in drain(&mut table) {
                match news {
                    News::Found(relay) => {
                        prop_assert!(!relay.addresses.is_empty() && relay.addresses.len() <= MAX_ADDRESSES);
                        prop_assert_ne!(relay.instance.as_str(), "a");
                        prop_assert_ne!(relay.offer.id, Some(NodeId(1)));
                        told.insert(relay.instance.clone(), relay);
                    }
                    News::Lost(instance) => prop_assert!(told.remove(&instance).is_some()),
                    News::Faulty(..) => {}
                }
            }
            prop_assert!(table.relays().eq(told.values()));
        }
        // Who was in doubt already, and was seen since, is so anew.
        table.doubt_all(now);
        table.handle_timeout(now + IN_DOUBT);
        let lost = drain(&mut table);
        prop_assert_eq!(lost.len(), told.len());
        prop_assert!(lost.iter().all(|news| matches!(news, News::Lost(_))));
        prop_assert_eq!((table.relays().count(), table.poll_timeout()), (0, None));
    }
}

/// One relay on two interfaces with two families is one relay, told again as an address comes.
#[test]
fn addresses_of_one_relay_come_together() {
    let mut table = Table::new(None);
    for address in [3, 1, 3, 1] {
        table.seen(seen("x", &[address]));
    }
    let [News::Found(relay)] = &drain(&mut table)[..] else {
        panic!("not one relay")
    };
    assert_eq!(relay.addresses.iter().copied().collect::<Vec<_>>(), [1, 3]);
    assert!(relay.offer.is_empty() && relay.offer.may_be_spoken_to());
    table.seen(seen("x", &[1]));
    assert!(drain(&mut table).is_empty());
    table.seen(Sighting {
        complete: true,
        ..seen("x", &[1])
    });
    let [News::Found(relay)] = &drain(&mut table)[..] else {
        panic!("no news of x")
    };
    assert_eq!(relay.addresses.iter().copied().collect::<Vec<_>>(), [1]);
}

/// An interface that goes takes its addresses along, and the relay stays while it is seen on another.
#[test]
fn an_interface_goes_and_the_relay_stays() {
    let (mut table, now) = (Table::new(None), an_instant());
    table.seen(seen("x", &[1, 2]));
    drain(&mut table);
    table.doubt("x", now);
    table.seen(seen("x", &[2]));
    table.handle_timeout(now + IN_DOUBT);
    let [News::Found(relay)] = &drain(&mut table)[..] else {
        panic!("no news of x")
    };
    assert_eq!(relay.addresses.iter().copied().collect::<Vec<_>>(), [2]);
    table.doubt("x", now);
    table.handle_timeout(now + IN_DOUBT);
    assert_eq!(drain(&mut table), [News::Lost(Instance::new("x").unwrap())]);
}

/// A back end that is opened anew, after another that failed: who was in doubt has all the time to be seen that it gives.
#[test]
fn everybody_has_time_to_be_seen_by_the_next_back_end() {
    let (mut table, now) = (Table::new(None), an_instant());
    table.seen(seen("x", &[1, 2]));
    table.doubt_all(now);
    table.seen(seen("x", &[1]));
    drain(&mut table);
    let later = now + 2 * IN_DOUBT;
    table.doubt_all(later);
    table.handle_timeout(later);
    assert_eq!(drain(&mut table), []);
    // What the one before saw of it is as old as the rest.
    table.seen(seen("x", &[2]));
    table.handle_timeout(later + IN_DOUBT);
    let [News::Found(relay)] = &drain(&mut table)[..] else {
        panic!("no news of x")
    };
    assert_eq!(relay.addresses.iter().copied().collect::<Vec<_>>(), [2]);
}

/// Forged records: too much text, no port, our name, our node id. Each is told once, and none makes a relay.
#[test]
fn forged_records_make_no_relay() {
    let forged = |name: &str, port, offer| Sighting {
        port,
        offer,
        ..seen(name, &[1])
    };
    let impostor = Offer {
        id: Some(NodeId(1)),
        version: Some("0".to_owned()),
        ..Offer::default()
    };
    let mut table = Table::new(Some(us()));
    for _ in 0..3 {
        table.seen(forged("a", 1, Ok(us().offer)));
        table.seen(forged("big", 9, Err(Oversized)));
        table.seen(forged("no-port", 0, Ok(Offer::default())));
        table.seen(forged("a", 9, Ok(Offer::default())));
        table.seen(forged("other", 9, Ok(impostor.clone())));
        table.seen(forged("", 9, Ok(Offer::default())));
    }
    let told: Vec<(String, Fault)> = drain(&mut table)
        .into_iter()
        .map(|news| {
            let News::Faulty(instance, fault) = news else {
                panic!("{news:?}")
            };
            (instance.to_string(), fault)
        })
        .collect();
    let of = |name: &str, fault| (name.to_owned(), fault);
    assert_eq!(
        told,
        [
            of("big", Fault::Oversized(Oversized)),
            of("no-port", Fault::NoPort),
            of("a", Fault::ClaimsOurId),
            of("other", Fault::ClaimsOurId),
        ]
    );
    assert_eq!(table.relays().count(), 0);
}

/// A forged record does not take away a relay that was there.
#[test]
fn a_forged_record_does_not_replace_a_relay() {
    let mut table = Table::new(None);
    table.seen(seen("x", &[1]));
    drain(&mut table);
    table.seen(Sighting {
        offer: Err(Oversized),
        ..seen("x", &[2])
    });
    let fault = News::Faulty(Instance::new("x").unwrap(), Fault::Oversized(Oversized));
    assert_eq!(drain(&mut table), [fault]);
    let kept: Vec<Vec<u8>> = table
        .relays()
        .map(|relay| relay.addresses.iter().copied().collect())
        .collect();
    assert_eq!(kept, [[1]]);
}

/// A flood of made-up relays fills the table and no more, and is told once.
#[test]
fn a_flood_fills_the_table_and_no_more() {
    let mut table = Table::new(None);
    let (mut found, mut faults) = (0, 0);
    for index in 0..4 * MAX_RELAYS {
        table.seen(seen(&format!("relay {index}"), &[1]));
        for news in drain(&mut table) {
            match news {
                News::Found(_) => found += 1,
                News::Faulty(_, fault) => {
                    assert_eq!(fault, Fault::TooMany);
                    faults += 1;
                }
                News::Lost(instance) => panic!("{instance} is lost"),
            }
        }
    }
    assert_eq!(
        (found, faults, table.relays().count()),
        (MAX_RELAYS, 1, MAX_RELAYS)
    );
    assert_eq!(table.refused(), 3 * u64::try_from(MAX_RELAYS).unwrap());
    for index in 0..4 * MAX_FAULTS {
        table.seen(Sighting {
            port: 0,
            ..seen(&format!("forged {index}"), &[1])
        });
    }
    assert_eq!(drain(&mut table).len(), MAX_FAULTS - 1, "one place has the flood");
    table.gone("relay 0");
    assert!(matches!(drain(&mut table)[..], [News::Lost(_)]));
    table.seen(seen("another", &[1]));
    assert!(matches!(drain(&mut table)[..], [News::Found(_)]));
}

/// Somebody else had our name: the record of ours under the new one is ours, and that of the other is a relay.
#[test]
fn a_new_name_is_ours_and_the_old_one_is_not() {
    let mut table = Table::new(Some(us()));
    table.renamed(Instance::new("a #2").unwrap());
    table.seen(Sighting {
        port: 1,
        offer: Ok(us().offer),
        ..seen("a #2", &[1])
    });
    table.seen(seen("a", &[1]));
    let [News::Found(relay)] = &drain(&mut table)[..] else {
        panic!("a is not found")
    };
    assert_eq!(relay.instance.as_str(), "a");
}

/// laps peering, "Relay Types": a Via takes no clients; a relay that says it speaks other drafts only is no use either.
#[test]
fn who_may_be_spoken_to() {
    let ours = Offer::of_this_program("0.1.0");
    assert!(ours.may_be_spoken_to());
    for useless in [
        Offer {
            node_type: Some(NodeType::Via),
            ..ours.clone()
        },
        Offer {
            drafts: vec![7],
            ..ours.clone()
        },
        Offer {
            transports: vec![Transport::WebTransport],
            ..ours
        },
    ] {
        assert!(!useless.may_be_spoken_to(), "{useless:?}");
    }
}

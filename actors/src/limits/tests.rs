//! Accounts and prefixes.

use super::*;
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn limits() -> Limits {
    Limits {
        session: PerKind {
            fetches: 2,
            early_bytes: 100,
            ..PerKind::all(UNLIMITED)
        },
        prefix: PerKind {
            connections: 2,
            requests: 3,
            early_bytes: 150,
            ..PerKind::all(UNLIMITED)
        },
        ..Limits::NONE
    }
}

/// D14-LIM-2 D14-LIM-4
#[test]
fn a_session_has_what_it_may_and_gives_it_back() {
    let account = Account::new(limits().session, Share::unbounded());
    let first = account.request(Kind::Fetches).unwrap();
    let _second = account.request(Kind::Fetches).unwrap();
    let full = account.request(Kind::Fetches).unwrap_err();
    assert_eq!(
        (full.kind, full.of_prefix, full.first),
        (Kind::Fetches, false, true)
    );
    assert_eq!(full.phrase(), "too many fetches at once");
    assert!(!account.request(Kind::Fetches).unwrap_err().first);
    assert_eq!(account.used(Kind::Requests), 2, "what was refused takes no place");
    drop(first);
    let _third = account.request(Kind::Fetches).unwrap();
    assert_eq!(account.refused(Kind::Fetches), 2);
    assert!(account.has_no_place(Kind::Fetches) && !account.has_no_place(Kind::Tracks));
    assert!(account.take(Kind::EarlyBytes, 101).is_err());
    let _bytes = account.take(Kind::EarlyBytes, 100).unwrap();
    assert!(account.take(Kind::EarlyBytes, 1).is_err());
    assert_eq!(
        account.to_string(),
        "requests 3, fetches 2 refused 2, early_bytes 100 refused 2"
    );
}

/// D14-LIM-2 D14-LIM-4: all sessions of a prefix together, on whichever thread each is.
#[test]
fn sessions_of_a_prefix_share_what_it_may_have() {
    let prefixes = Arc::new(Prefixes::new(limits()));
    let here = |last: &str| Account::new(limits().session, prefixes.share(ip(last)));
    let (one, two, elsewhere) = (here("192.0.2.1"), here("::ffff:192.0.2.1"), here("192.0.2.2"));
    assert_eq!(prefixes.len(), 2);
    let places = [
        one.request(Kind::Subscriptions).unwrap(),
        one.request(Kind::Fetches).unwrap(),
        two.request(Kind::Subscriptions).unwrap(),
    ];
    let full = two.request(Kind::Subscriptions).unwrap_err();
    assert_eq!(full.phrase(), "too many requests from this address");
    assert!(full.of_prefix);
    assert_eq!(
        (prefixes.refused(Kind::Requests), two.refused(Kind::Requests)),
        (1, 1)
    );
    assert!(one.has_no_place(Kind::Tracks) && !elsewhere.has_no_place(Kind::Tracks));
    assert!(elsewhere.request(Kind::Subscriptions).is_ok());
    let bytes = one.take(Kind::EarlyBytes, 100).unwrap();
    assert!(two.take(Kind::EarlyBytes, 51).unwrap_err().of_prefix);
    assert!(two.take(Kind::EarlyBytes, 50).is_ok());
    drop(places);
    // On another thread too, and also after a panic there.
    let share = prefixes.share(ip("192.0.2.1"));
    let died = std::thread::spawn(move || {
        let _place = share.take(Kind::Requests, 3).unwrap();
        panic!("a session that fails");
    });
    assert!(died.join().is_err());
    assert!(two.request(Kind::Subscriptions).is_ok());
    drop((one, two));
    assert_eq!(prefixes.len(), 2);
    drop(elsewhere);
    assert_eq!(prefixes.len(), 1, "a lease keeps what it was taken from");
    drop(bytes);
    assert!(prefixes.is_empty(), "nobody is left");
}

/// D14-LIM-2
#[test]
fn newcomers_are_refused_while_a_prefix_is_full() {
    let prefixes = Arc::new(Prefixes::new(limits()));
    let home = ip("2001:db8:1:200::1");
    assert!(!prefixes.refuses(home));
    let share = prefixes.share(home);
    let first = share.take(Kind::Connections, 1).unwrap();
    let _second = prefixes
        .share(ip("2001:db8:1:2ff::9"))
        .take(Kind::Connections, 1)
        .unwrap();
    assert!(
        prefixes.refuses(home) && prefixes.refuses(ip("2001:db8:1:2aa::")),
        "the same /56"
    );
    assert!(share.take(Kind::Connections, 1).is_none());
    assert!(!prefixes.refuses(ip("2001:db8:1:300::1")));
    assert_eq!(prefixes.refused(Kind::Connections), 3);
    drop(first);
    assert!(!prefixes.refuses(home));
}

#[test]
fn prefixes_are_shown_as_people_write_them() {
    let shown = |text: &str, v4, v6| Prefix::of(ip(text), v4, v6).to_string();
    assert_eq!(shown("192.0.2.77", 32, 0), "192.0.2.77/32");
    assert_eq!(shown("192.0.2.77", 24, 0), "192.0.2.0/24");
    assert_eq!(shown("192.0.2.77", 0, 0), "0.0.0.0/0");
    assert_eq!(shown("::ffff:192.0.2.77", 8, 128), "192.0.0.0/8");
    assert_eq!(shown("2001:db8:1:2ff::9", 0, 56), "2001:db8:1:200::/56");
    assert_eq!(shown("2001:db8::9", 0, 128), "2001:db8::9/128");
    assert_eq!(shown("2001:db8::9", 0, 0), "::/0");
}

proptest! {
    /// D14-LIM-5: two addresses share a prefix exactly when their first bits are the same.
    #[test]
    fn a_prefix_is_the_first_bits(one: u128, two: u128, flip in 0u32..128, bits in 0u8..=128) {
        let address = |bits: u128| IpAddr::V6(bits.into());
        // Addresses that carry IPv4 are another family.
        prop_assume!(address(one).to_canonical().is_ipv6() && address(two).to_canonical().is_ipv6());
        let same = (0..u32::from(bits)).all(|bit| (one ^ two) >> (127 - bit) & 1 == 0);
        prop_assert_eq!(Prefix::of(address(one), 0, bits) == Prefix::of(address(two), 0, bits), same);
        let near = one ^ (1 << (127 - flip));
        prop_assume!(address(near).to_canonical().is_ipv6());
        let same = flip >= u32::from(bits);
        prop_assert_eq!(Prefix::of(address(one), 0, bits) == Prefix::of(address(near), 0, bits), same);
    }
}

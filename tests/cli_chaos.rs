//! What the chaos harness needs of a relay is not in a build that is not made for it.

#![cfg(not(feature = "chaos"))]

mod cli_common;

use cli_common::{laps, scratch};

#[test]
fn a_normal_build_knows_no_hook() {
    let socket = scratch("no-hook").join("socket");
    let text = socket.to_str().unwrap();
    // One that it passed over would let an operator believe that it does something.
    let ran = laps(&[("LAPS_CHAOS_SOCKET", text)], &["-b", "127.0.0.1", "-p", "0"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("LAPS_CHAOS_SOCKET: unknown variable"),
        "{}",
        ran.err
    );
    assert!(!socket.exists());
    let help = laps(&[], &["--help"]);
    assert!(!(help.out + &help.err).to_lowercase().contains("chaos"));
}

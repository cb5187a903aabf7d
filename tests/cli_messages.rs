//! Every fault of the command line ends with its exit code and one clear line.

mod cli_common;

use cli_common::laps;

#[test]
fn a_wrong_command_line_ends_with_2_and_one_line() {
    for (words, says) in [
        (&["--prot", "5"][..], "did you mean --port?"),
        (&["-p", "70000"], "--port"),
        (&["-b", "300.1.1.1"], "`300.1.1.1` is not an IP address"),
        (&["-e", "1:x"], "--endpoint_id: `1:x` is not a node id"),
        (&["-e", "1:2:3"], "--endpoint_id: `1:2:3` is not a node id"),
        (
            &["-e", "99999999999:1"],
            "--endpoint_id: `99999999999:1` is not a node id",
        ),
        (&["-c", "cert.pem"], "tls.key: not given"),
        (
            &["--cache_key", "0x3c"],
            "--cache_key: 60 (0x3c) is an extension that the protocol defines itself",
        ),
        (
            &["--cache_key", "4611686018427387904"],
            "--cache_key: 4611686018427387904 is not from 0 to 4611686018427387903",
        ),
        (&["config"], "a sub-command is missing"),
        (&["-p", "1", "cert"], "cert"),
        (&["-d", "--log-level", "info"], "--log-level"),
    ] {
        let ran = laps(&[], words);
        assert!([2, 3].contains(&ran.code), "{words:?}: {}", ran.code);
        assert_eq!(ran.out, "");
        assert!(
            ran.err.starts_with("laps: ") && ran.err.contains(says),
            "{words:?}: {}",
            ran.err
        );
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
}

#[test]
fn flags_whose_feature_comes_later_say_so() {
    for (words, flag) in [
        (&["-q", "x"][..], "--qlog"),
        (&["-t", "5"], "--object_ttl"),
        (&["--disable-cache"], "--disable_cache"),
    ] {
        let ran = laps(&[], &[&["config", "dump"], words].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(
            ran.err.starts_with(&format!("laps: {flag}: ")) && ran.err.contains("comes later"),
            "{}",
            ran.err
        );
        assert_eq!(ran.err.lines().count(), 1);
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    let ran = laps(&[], &["--version"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, concat!("laps ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    for words in [
        &["--help"][..],
        &["cert", "--help"],
        &["config", "--help"],
        &["config", "dump", "--help"],
    ] {
        let ran = laps(&[], words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}");
        assert!(ran.out.contains("USAGE") && ran.out.ends_with('\n'));
    }
}

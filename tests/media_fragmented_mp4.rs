//! Real media: ten seconds of fragmented MP4 through a relay to three subscribers, byte for byte.
//!
//! TIER: media

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its figures"
)]

mod cli_common;

use cli_common::{PATIENT, Relay, Running, scratch};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

const SECONDS: &str = "10";
const SUBSCRIBERS: usize = 3;

/// A test picture and a tone, a key frame and so a group each second.
fn film(dir: &Path) -> PathBuf {
    let film = dir.join("film.mp4");
    let picture = format!("testsrc2=size=640x360:rate=30:duration={SECONDS}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={SECONDS}");
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone])
        .args([
            "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "30",
        ])
        .args(["-c:a", "aac", "-f", "mp4"])
        .args(["-movflags", "frag_keyframe+empty_moov+default_base_moof"])
        .arg(&film)
        .output()
        .unwrap_or_else(|error| panic!("ffmpeg does not start ({error}); scripts/test media installs it"));
    assert!(
        made.status.success(),
        "ffmpeg failed: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    film
}

fn sha256(path: &Path) -> String {
    let digest = Sha256::digest(std::fs::read(path).unwrap());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn film_arrives_whole(shards: &str) {
    let dir = scratch(&format!("media_{shards}"));
    let film = film(&dir);
    let mut relay = Relay::start(&[("LAPS_WORKERS__THREADS", shards), PATIENT], &[]);
    let (url, hash) = (relay.url.clone(), relay.hash.clone());
    let copies: Vec<PathBuf> = (0..SUBSCRIBERS)
        .map(|n| dir.join(format!("copy-{n}.mp4")))
        .collect();
    let subscribers: Vec<Running> = copies
        .iter()
        .map(|copy| {
            let copy = copy.to_str().unwrap();
            let words = ["sub", "--format", "fmp4", "-o", copy, "--timeout", "60"];
            let names = ["--cert-hash", &hash, &url, "test/media", "film"];
            Running::start(&[], &[&words[..], &names[..]].concat())
        })
        .collect();
    relay.subscribed(SUBSCRIBERS);
    let path = film.to_str().unwrap();
    let words = ["pub", "--format", "fmp4", "--cert-hash", &hash, &url];
    let publisher = Running::start(&[], &[&words[..], &["test/media", "film", path]].concat());
    let (sent, took) = publisher.finish();
    assert_eq!(sent.code, 0, "the publisher: {}", sent.err);
    for subscriber in subscribers {
        let (got, _) = subscriber.finish();
        assert_eq!(got.code, 0, "a subscriber: {}", got.err);
    }
    let (bytes, wanted) = (std::fs::metadata(&film).unwrap().len(), sha256(&film));
    println!("{bytes} bytes, sha256 {wanted}, {shards} shard(s), published in {took:?}");
    for copy in &copies {
        assert_eq!(sha256(copy), wanted, "{}", copy.display());
    }
}

#[test]
fn over_one_shard() {
    film_arrives_whole("1");
}

#[test]
fn over_two_shards() {
    film_arrives_whole("2");
}

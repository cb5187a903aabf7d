//! Each file of the corpus, and a fixed number of mutations of them: the same ones each time.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test file: the helpers beside the tests fail them"
)]

use laps_fuzz::TARGETS;
use laps_fuzz::mutate::{Rng, mutate};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn files(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Says which input it was.
fn run(target: &laps_fuzz::Target, data: &[u8], what: &str) {
    if std::panic::catch_unwind(|| (target.run)(data)).is_err() {
        let hex = data.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        panic!("{} finds something with {what}:\n{hex}", target.name);
    }
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let files = files(name);
    assert!(!files.is_empty(), "no corpus for {name}");
    let mut corpus = Vec::new();
    for file in &files {
        let data = std::fs::read(file).unwrap();
        run(target, &data, &file.display().to_string());
        corpus.push(data);
    }
    let mut rng = Rng::new(0x1a95);
    for number in 0..target.executions {
        let data = mutate(&mut rng, &corpus, target.max_len);
        run(target, &data, &format!("mutation {number}"));
    }
    println!(
        "fuzz {name}: {} files and {} mutations",
        files.len(),
        target.executions
    );
}

macro_rules! targets {
    ($($name:ident)*) => {
        const NAMED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                fuzz(stringify!($name));
            }
        )*
    };
}

targets!(wire control messages token stream datagram extensions name scope url boxes advert filter tree told order pressure chunks merge past session relay peering link bases forward);

/// No target is left out here, and no folder of the corpus belongs to none.
#[test]
fn every_target_is_run() {
    let mut all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(all, NAMED);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders = std::fs::read_dir(corpus).unwrap();
    let mut folders: Vec<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    all.sort_unstable();
    assert_eq!(folders, all);
}

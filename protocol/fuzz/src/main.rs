//! Runs targets without guidance, on any toolchain.
//!
//! `laps-fuzz --list` names them; `laps-fuzz TARGET SECONDS SEED CORPUS` tries mutations of the files in CORPUS;
//! `laps-fuzz TARGET FILE...` runs files. An input that finds something is left as `crash-TARGET-SEED`.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use laps_fuzz::mutate::{Rng, mutate};
use laps_fuzz::{TARGETS, Target};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let target = words
        .first()
        .and_then(|name| TARGETS.iter().find(|target| target.name == *name));
    match (target, words.as_slice()) {
        (_, ["--list"]) => {
            TARGETS
                .iter()
                .for_each(|target| println!("{} {}", target.name, target.max_len));
            ExitCode::SUCCESS
        }
        (Some(target), [_, seconds, seed, corpus]) if seconds.parse::<u64>().is_ok() => {
            let number = |text: &str| text.parse().unwrap_or(0);
            fuzz(
                target,
                Duration::from_secs(number(seconds)),
                number(seed),
                Path::new(corpus),
            )
        }
        (Some(target), [_, files @ ..]) if !files.is_empty() => replay(target, files),
        _ => {
            println!("usage: laps-fuzz --list | TARGET SECONDS SEED CORPUS | TARGET FILE...");
            ExitCode::FAILURE
        }
    }
}

/// Runs each file. One that finds something ends the program.
fn replay(target: &Target, files: &[&str]) -> ExitCode {
    for file in files {
        match std::fs::read(file) {
            Ok(data) => (target.run)(&data),
            Err(why) => {
                println!("{file}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{}: {} files", target.name, files.len());
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "how long it runs is told in seconds")]
fn fuzz(target: &Target, time: Duration, seed: u64, corpus: &Path) -> ExitCode {
    let files = std::fs::read_dir(corpus).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    let (begun, mut rng, mut count) = (Instant::now(), Rng::new(seed), 0_u64);
    let mut files = corpus.iter().cloned();
    while begun.elapsed() < time {
        for _ in 0..64 {
            // What is known first.
            let data = files
                .next()
                .unwrap_or_else(|| mutate(&mut rng, &corpus, target.max_len));
            count += 1;
            if std::panic::catch_unwind(|| (target.run)(&data)).is_err() {
                let left = format!("crash-{}-{seed}", target.name);
                let saved = std::fs::write(&left, &data).map_or("and cannot be saved", |()| "and is saved");
                let took = begun.elapsed().as_millis();
                println!(
                    "{}: input {count} of seed {seed} finds something after {took} ms, {saved} as {left}",
                    target.name
                );
                return ExitCode::FAILURE;
            }
        }
    }
    println!("Done {count} runs in {} second(s)", time.as_secs());
    ExitCode::SUCCESS
}

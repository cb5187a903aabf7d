//! What `laps pub` was asked to send, opened.

use crate::cli::{PayloadFormat, PubOptions, SourceKind};
use crate::exit::Failure;
use crate::source::{Clock, Cutter, Fmp4, Lines, Raw, ReadSource, Source, Synth};
use std::fs::File;
use std::io::Read;

/// The source of one track, its groups from `first_group` on; the clock has groups of its own.
///
/// Nothing is read yet, so a file's first object is still to come when the relay has subscribed.
///
/// # Errors
/// When the file cannot be opened.
pub fn open_source(options: &PubOptions, first_group: u64) -> Result<Box<dyn Source + Send>, Failure> {
    Ok(match &options.source {
        SourceKind::Clock => Box::new(Clock::new()),
        SourceKind::Synth if options.sync => {
            Box::new(Synth::in_step(options.rate(), options.size(), options.gop()))
        }
        SourceKind::Synth => Box::new(Synth::new(
            options.rate(),
            options.size(),
            options.gop(),
            first_group,
        )),
        SourceKind::Stdin => cut(std::io::stdin(), options, first_group),
        SourceKind::File(path) => {
            let unreadable = |error: std::io::Error| {
                Failure::run(
                    path.display().to_string(),
                    error.to_string(),
                    "name a readable file, -, clock or synth",
                )
            };
            let file = File::open(path).map_err(unreadable)?;
            if file.metadata().map_err(unreadable)?.is_dir() {
                return Err(Failure::run(
                    path.display().to_string(),
                    "is a directory",
                    "name a file in it",
                ));
            }
            cut(file, options, first_group)
        }
    })
}

fn cut(reader: impl Read + Send + 'static, options: &PubOptions, first_group: u64) -> Box<dyn Source + Send> {
    fn over(
        reader: impl Read + Send + 'static,
        cutter: impl Cutter + Send + 'static,
    ) -> Box<dyn Source + Send> {
        Box::new(ReadSource::new(reader, cutter))
    }
    match options.format.unwrap_or_default() {
        PayloadFormat::Raw => over(reader, Raw::new(options.size(), options.gop(), first_group)),
        PayloadFormat::Lines => over(reader, Lines::new(options.gop(), first_group)),
        PayloadFormat::Fmp4 => over(reader, Fmp4::new(first_group)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use crate::source::Step;

    fn opened(words: &[&str]) -> Result<Box<dyn Source + Send>, Failure> {
        let words: Vec<&str> = ["moqt://h", "n", "t"].iter().chain(words).copied().collect();
        open_source(&options(&words).unwrap(), 3)
    }

    #[test]
    fn each_kind_opens() {
        let first = |words: &[&str]| opened(words).unwrap().next(60_000_000_000).unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(first(&[]), Step::GroupStart(1));
        assert_eq!(first(&["synth"]), Step::GroupStart(3));
        // 60 s, ten objects a second, 50 of them a group.
        assert_eq!(first(&["synth", "--sync"]), Step::GroupStart(12));
        assert_eq!(first(&[file]), Step::GroupStart(3));
        assert_eq!(first(&[file, "--format", "lines"]), Step::GroupStart(3));
        assert!(opened(&[file, "--format", "fmp4"]).unwrap().next(0).is_err());
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let failure = |word| opened(&[word]).err().unwrap().to_string();
        assert!(failure("no-such-file").starts_with("no-such-file: No such file"));
        assert!(failure("src").starts_with("src: is a directory"));
    }
}

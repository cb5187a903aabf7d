//! Options of `laps pub`.

use super::access::AccessOptions;
use super::find_options::FindOptions;
use super::log_options::LogOptions;
use super::retry_options::RetryOptions;
use super::trust::TrustOptions;
use super::values::Seconds;
use crate::exit::Failure;
use crate::names::{parse_full_name, parse_namespace, parse_track_name};
use crate::source::{DEFAULT_GOP, DEFAULT_OBJECT_BYTES};
use crate::stamp::STAMP_BYTES;
use crate::url::MoqtUrl;
use bytes::{BufMut, BytesMut};
use laps_protocol::moqt::name::FullTrackName;
use std::path::PathBuf;
use std::str::FromStr;
use structopt::StructOpt;

const AFTER_HELP: &str = "NAMES:
    Fields of NAMESPACE are separated by `/`; %xx is any byte, so %2f is a slash within a field.
EXAMPLES:
    laps pub moqt://localhost:33435 demo clock --insecure             the time, an object each second
    laps pub moqt://relay.example/ demo video film.mp4 --format fmp4  a fragmented MP4
    echo hello | laps pub URL demo chat - --format lines              an object per line
    laps pub URL demo load synth --rate 1000 --size 1200 --tracks 4   load, with time stamps
    laps pub URL demo clock --flow publish                            PUBLISH instead of an announcement
    laps pub URL demo load synth --sync                               twice at once: a publisher and its spare

A session that fails is tried again for --retry seconds, and what was published meanwhile is kept.";

/// Most bytes of a datagram's payload that any path carries: a QUIC packet of 1200 bytes less its headers.
pub const MAX_DATAGRAM_PAYLOAD: usize = 1_100;

/// Publishes a track: a file, standard input, the time, or synthetic load
#[derive(Clone, Debug, PartialEq, Eq, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct PubOptions {
    /// The relay: `moqt://host[:port][/path]`, port 443 when none is given; moq:// means the same
    #[structopt(value_name = "URL")]
    pub url: MoqtUrl,
    /// The namespace, its fields separated by `/`
    #[structopt(value_name = "NAMESPACE")]
    pub namespace: String,
    /// The name of the track
    #[structopt(value_name = "TRACK")]
    pub track: String,
    /// A file, `-` for standard input, `clock` or `synth` (./clock is a file of that name)
    #[structopt(value_name = "SOURCE", default_value = "clock", parse(from_os_str = source_kind))]
    pub source: SourceKind,
    /// How a file or standard input becomes objects: raw, lines or fmp4 [default: raw]
    #[structopt(long = "format", value_name = "FORMAT")]
    pub format: Option<PayloadFormat>,
    /// Objects a second and track, of synth [default: 10]
    #[structopt(long = "rate", value_name = "N")]
    pub rate: Option<u32>,
    /// Bytes an object, of synth and raw [default: 1200]
    #[structopt(long = "size", value_name = "BYTES")]
    pub size: Option<usize>,
    /// Objects a group, of synth, raw and lines [default: 50]
    #[structopt(long = "gop", value_name = "N")]
    pub gop: Option<u64>,
    /// Number of tracks of synth; with more than one they are named TRACK-0, TRACK-1 and so on [default: 1]
    #[structopt(long = "tracks", value_name = "N")]
    pub tracks: Option<u16>,
    /// Send objects as datagrams, which may get lost, instead of on streams
    #[structopt(long = "datagram")]
    pub datagram: bool,
    /// Send what other publishers with this option and the same others send: clock and synth follow the time alone
    #[structopt(long = "sync")]
    pub sync: bool,
    /// announce (the relay subscribes when a subscriber comes) or publish (offer the track at once)
    #[structopt(long = "flow", value_name = "FLOW", default_value = "announce")]
    pub flow: Flow,
    /// End after this many objects a track
    #[structopt(long = "count", value_name = "N")]
    pub count: Option<u64>,
    /// End after this many seconds
    #[structopt(long = "duration", value_name = "SECONDS")]
    pub duration: Option<Seconds>,
    /// Print statistics to standard error at this interval
    #[structopt(short = "i", long = "interval", value_name = "SECONDS")]
    pub interval: Option<Seconds>,
    /// What to do when the session fails.
    #[structopt(flatten)]
    pub retry: RetryOptions,
    /// Where the relay is, without a URL.
    #[structopt(flatten)]
    pub find: FindOptions,
    /// Which certificates to accept.
    #[structopt(flatten)]
    pub trust: TrustOptions,
    /// What to show for it.
    #[structopt(flatten)]
    pub access: AccessOptions,
    /// The log.
    #[structopt(flatten)]
    pub log: LogOptions,
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The time.
    Clock,
    /// Synthetic load.
    Synth,
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// How bytes become objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadFormat {
    /// Objects of equal size.
    #[default]
    Raw,
    /// An object per line, without its newline.
    Lines,
    /// Init segment and fragments of a fragmented MP4.
    Fmp4,
}

/// How the relay learns of the track. MOQT-14 §5.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// PUBLISH_NAMESPACE, then the relay's SUBSCRIBE.
    #[default]
    Announce,
    /// PUBLISH.
    Publish,
}

impl PubOptions {
    /// Objects a second and track, of synth.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate.unwrap_or(10)
    }

    /// Bytes an object.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size.unwrap_or(DEFAULT_OBJECT_BYTES)
    }

    /// Objects a group.
    #[must_use]
    pub fn gop(&self) -> u64 {
        self.gop.unwrap_or(DEFAULT_GOP)
    }

    /// Full names of the tracks to publish, in order: the given one, or the given one with a number each.
    ///
    /// # Errors
    /// When a name cannot be read or is too long.
    pub fn track_names(&self) -> Result<Vec<FullTrackName>, Failure> {
        let fault = |error: &dyn std::fmt::Display| {
            Failure::usage(
                "NAMESPACE and TRACK",
                error.to_string(),
                "see NAMES in `laps pub --help`",
            )
        };
        let Some(tracks) = self.tracks.filter(|&tracks| tracks > 1) else {
            return Ok(vec![
                parse_full_name(&self.namespace, &self.track).map_err(|e| fault(&e))?,
            ]);
        };
        let namespace = parse_namespace(&self.namespace).map_err(|e| fault(&e))?;
        let base = parse_track_name(&self.track).map_err(|e| fault(&e))?;
        let name = |number| {
            let mut name = BytesMut::from(base.as_ref());
            name.put_slice(format!("-{number}").as_bytes());
            FullTrackName::new(namespace.clone(), name.freeze()).map_err(|e| fault(&e))
        };
        (0..tracks).map(name).collect()
    }

    /// Refuses options that do not go together.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        self.trust.verify()?;
        self.find.check(&self.trust)?;
        self.track_names()?;
        let synth = self.source == SourceKind::Synth;
        let bytes = matches!(self.source, SourceKind::File(_) | SourceKind::Stdin);
        let format = self.format.unwrap_or_default();
        let raw = bytes && format == PayloadFormat::Raw;
        let lines = bytes && format == PayloadFormat::Lines;
        let misplaced = [
            (
                "--format",
                self.format.is_some() && !bytes,
                "is for a file or standard input",
            ),
            ("--rate", self.rate.is_some() && !synth, "is for synth"),
            ("--tracks", self.tracks.is_some() && !synth, "is for synth"),
            (
                "--size",
                self.size.is_some() && !synth && !raw,
                "is for synth and raw",
            ),
            (
                "--gop",
                self.gop.is_some() && !synth && !raw && !lines,
                "is for synth, raw and lines",
            ),
            (
                "--datagram",
                self.datagram && bytes && format == PayloadFormat::Fmp4,
                "cannot carry fragments of fmp4",
            ),
            (
                "--sync",
                self.sync && !synth && self.source != SourceKind::Clock,
                "is for clock and synth",
            ),
            ("--rate", self.rate == Some(0), "must be at least 1"),
            ("--tracks", self.tracks == Some(0), "must be at least 1"),
            ("--size", self.size == Some(0), "must be at least 1"),
            ("--gop", self.gop == Some(0), "must be at least 1"),
            (
                "--size",
                synth && self.size() < STAMP_BYTES,
                "must be at least 24 with synth, the time stamp",
            ),
            (
                "--size",
                self.datagram && self.size() > MAX_DATAGRAM_PAYLOAD && (synth || raw),
                "is at most 1100 with --datagram",
            ),
            ("--size", self.size() > MAX_SIZE, "is at most 64 MiB"),
            (
                "--interval",
                self.interval.is_some_and(|s| s.0.is_zero()),
                "must be above 0",
            ),
        ];
        match misplaced.into_iter().find(|&(_, wrong, _)| wrong) {
            None => Ok(()),
            Some((flag, _, reason)) => Err(Failure::usage(flag, reason, "see `laps pub --help`")),
        }
    }
}

const MAX_SIZE: usize = crate::source::MAX_OBJECT_BYTES;

fn source_kind(text: &std::ffi::OsStr) -> SourceKind {
    match text.to_str() {
        Some("clock") => SourceKind::Clock,
        Some("synth") => SourceKind::Synth,
        Some("-") => SourceKind::Stdin,
        _ => SourceKind::File(text.into()),
    }
}

impl FromStr for PayloadFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "raw" => Ok(Self::Raw),
            "lines" => Ok(Self::Lines),
            "fmp4" => Ok(Self::Fmp4),
            _ => Err(format!("`{text}` is none of raw, lines, fmp4")),
        }
    }
}

impl FromStr for Flow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "announce" => Ok(Self::Announce),
            "publish" => Ok(Self::Publish),
            _ => Err(format!("`{text}` is neither announce nor publish")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;

    const BASE: [&str; 3] = ["moqt://h:1", "a/b", "t"];

    fn with(more: &[&str]) -> Result<PubOptions, Failure> {
        let words: Vec<&str> = BASE.iter().chain(more).copied().collect();
        options::<PubOptions>(&words).and_then(|o| o.check().map(|()| o))
    }

    #[test]
    fn defaults_are_the_clock_announced() {
        let options = with(&[]).unwrap();
        assert_eq!(options.source, SourceKind::Clock);
        assert_eq!(options.flow, Flow::Announce);
        assert_eq!(options.url.port(), 1);
        assert_eq!(options.track_names().unwrap()[0].to_string(), "a/b:t");
    }

    #[test]
    fn every_option_is_read() {
        let options = with(&[
            "synth",
            "--rate",
            "1000",
            "--size",
            "24",
            "--gop",
            "3",
            "--tracks",
            "2",
            "--flow",
            "publish",
            "--datagram",
        ])
        .unwrap();
        assert_eq!((options.rate(), options.size(), options.gop()), (1000, 24, 3));
        assert!(options.datagram && options.flow == Flow::Publish);
        let names: Vec<String> = options
            .track_names()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["a/b:t-0", "a/b:t-1"]);
        let options = with(&[
            "-",
            "--format",
            "lines",
            "-i",
            "0.5",
            "--count",
            "2",
            "--duration",
            "3",
            "-d",
        ])
        .unwrap();
        assert_eq!(
            (options.source, options.format),
            (SourceKind::Stdin, Some(PayloadFormat::Lines))
        );
        assert_eq!(options.count, Some(2));
        let options = with(&["./clock", "--format", "fmp4", "--ca", "x"]).unwrap();
        assert_eq!(options.source, SourceKind::File("./clock".into()));
    }

    #[test]
    fn what_does_not_go_together_names_its_option() {
        for (words, flag) in [
            (&["--format", "raw"][..], "--format"),
            (&["x", "--rate", "1"], "--rate"),
            (&["x", "--tracks", "2"], "--tracks"),
            (&["x", "--format", "lines", "--size", "5"], "--size"),
            (&["x", "--format", "fmp4", "--gop", "5"], "--gop"),
            (&["x", "--format", "fmp4", "--datagram"], "--datagram"),
            (&["synth", "--size", "23"], "--size"),
            (&["synth", "--rate", "0"], "--rate"),
            (&["x", "--sync"], "--sync"),
            (&["synth", "--gop", "0"], "--gop"),
            (&["synth", "--datagram"], "--size"),
            (&["x", "--size", "0"], "--size"),
            (&["x", "--size", "99999999999"], "--size"),
            (&["-i", "0"], "--interval"),
            (&["--cert-hash", "00"], "--cert-hash"),
        ] {
            let failure = with(words).unwrap_err().to_string();
            assert!(failure.starts_with(&format!("{flag}: ")), "{words:?}: {failure}");
        }
        assert!(options::<PubOptions>(&["http://h", "a", "t"]).is_err());
        assert!(
            options::<PubOptions>(&["moqt://h", "%", "t"])
                .unwrap()
                .check()
                .is_err()
        );
        assert!(with(&["--flow", "push"]).is_err());
    }

    #[test]
    fn help_says_what_it_does_and_how() {
        let help = with(&["--help"]).unwrap_err().to_string();
        for part in [
            "Publishes a track",
            "EXAMPLES",
            "%2f is a slash",
            "--cert-hash",
            "--log-level",
            "--interval",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}

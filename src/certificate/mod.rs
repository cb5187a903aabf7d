//! The certificate of the relay, from its first start on.
//!
//! One that is configured is loaded anew when its files change. Without one the relay makes its own: the key is kept in
//! the state folder and stays, the certificate lives 13 days and is renewed by the relay that runs. Decision 0036.

mod kept;
mod reminder;
#[cfg(test)]
mod tests;

pub use kept::{FILE, state_folder};
pub use reminder::Reminder;

use crate::exit::Failure;
use kept::Found;
use laps_actors::transport::cert::VALIDITY;
use laps_actors::transport::{Lifetime, Pem, SelfSigned, ServerTls, TlsError, cert, moqt_alpn};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// How long before its end a certificate of ours is renewed: clients whose clock is ahead are served by it until then,
/// and whoever pinned it has had it for twelve days.
pub const RENEWED_BEFORE: Duration = Duration::from_hours(24);

/// How far a clock may be set back before a certificate of ours is made anew for that: its life starts earlier than it is
/// made by more than this, and those who pinned it should not lose it for each correction.
const SET_BACK: Duration = Duration::from_hours(1);

/// For how long such a clock has to stay before it is believed. It may as well be the one that is wrong: a machine that
/// keeps no time while it is off starts in the past, and has its time from the network minutes later.
const BELIEVED_AFTER: Duration = Duration::from_mins(10);

/// The certificate of a relay that runs, and where it comes from.
#[derive(Debug)]
pub struct Certificate {
    tls: ServerTls,
    source: Source,
}

enum Source {
    /// The operator looks after it; `seen` is a digest of what was in the files when they were last tried.
    Given {
        cert: Pem,
        key: Pem,
        seen: Option<[u8; 32]>,
        /// Why they could not be used, if that was told.
        troubled: bool,
    },
    /// Ours.
    Made {
        key_pem: String,
        ends: SystemTime,
        /// Where it is kept; none when it is lost with the process.
        file: Option<PathBuf>,
        /// Since when looks find that the clock was set back behind it.
        set_back: Option<Instant>,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Given { .. } => "Given",
            Self::Made { .. } => "Made",
        })
    }
}

/// What became of a look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// All is as it was.
    Same,
    /// Another certificate is shown from now on; with what is not as it should be about that, if anything.
    Renewed(Option<String>),
    /// The one before is shown on; why. Told once.
    Trouble(String),
}

impl Certificate {
    /// Loads the pair that is given; without one what is kept in `folder`, or makes what is kept there from now on. With
    /// what is wrong with the folder, if anything: the certificate is then lost with the process.
    ///
    /// # Errors
    /// When the given pair cannot be used, or the system has no random numbers.
    pub fn open(
        given: Option<(Pem, Pem)>,
        folder: Option<PathBuf>,
        now: SystemTime,
    ) -> Result<(Self, Option<String>), Failure> {
        if let Some((cert, key)) = given {
            let seen = digest(&cert, &key).ok();
            let tls = ServerTls::load(&cert, &key, &moqt_alpn()).map_err(|error| {
                let remedy = "check --cert and --key, or `laps cert` makes a pair";
                Failure::run("certificate", error.to_string(), remedy)
            })?;
            let source = Source::Given {
                cert,
                key,
                seen,
                troubled: false,
            };
            return Ok((Self { tls, source }, None));
        }
        let impossible = |error: TlsError| {
            Failure::run("certificate", error.to_string(), "give one with --cert and --key")
        };
        let file = folder.map(|folder| folder.join(FILE));
        // The clock of a machine that has just started is not believed where it says that this one is too new.
        let is_due = |ends| is_over(ends, now);
        let (made, trouble) = ours(file.clone(), None, now, is_due).map_err(impossible)?;
        let tls = ServerTls::load(&text(&made.cert_pem), &text(&made.key_pem), &moqt_alpn());
        let source = Source::Made {
            ends: cert::ends(&made.cert_pem).unwrap_or(now),
            key_pem: made.key_pem,
            file: file.filter(|_| trouble.as_ref().is_none_or(|trouble| trouble.kept)),
            set_back: None,
        };
        let tls = tls.map_err(impossible)?;
        Ok((Self { tls, source }, trouble.map(|trouble| trouble.what)))
    }

    /// What the relay shows; changes made here are made there.
    #[must_use]
    pub const fn tls(&self) -> &ServerTls {
        &self.tls
    }

    /// Where it comes from, for the operator.
    #[must_use]
    pub fn origin(&self) -> String {
        match &self.source {
            Source::Given { .. } => "from file".to_owned(),
            Source::Made { file: Some(file), .. } => {
                format!("kept in {}, renewed within 13 days", file.display())
            }
            Source::Made { file: None, .. } => "made for this run, renewed within 13 days".to_owned(),
        }
    }

    /// SHA-256 of the public key, where that is what clients had better remember: it is ours, and is kept.
    #[must_use]
    pub fn lasting(&self) -> Option<[u8; 32]> {
        matches!(&self.source, Source::Made { file: Some(_), .. }).then(|| self.tls.known_by().key)
    }

    /// When it is valid, where it is for the operator to renew it.
    #[must_use]
    pub fn to_be_renewed(&self) -> Option<Lifetime> {
        matches!(&self.source, Source::Given { .. })
            .then(|| self.tls.lifetime())
            .flatten()
    }

    /// Looks whether it is time to renew it, or its files are others now, and does what is to be done about that. `at` is
    /// the time of a clock that nobody sets.
    pub fn look(&mut self, now: SystemTime, at: Instant) -> Look {
        match &mut self.source {
            Source::Given {
                cert,
                key,
                seen,
                troubled,
            } => {
                let is = digest(cert, key);
                if is.is_ok() && is.as_ref().ok() == seen.as_ref() {
                    return Look::Same;
                }
                // Files that are written one after the other do not fit for a moment, and are looked at again.
                let before = *seen;
                *seen = is.as_ref().ok().copied();
                let renewed = is.and_then(|_| self.tls.renew(cert, key));
                let told = std::mem::replace(troubled, renewed.is_err());
                match renewed {
                    Ok(()) => Look::Renewed(None),
                    Err(_) if told && before == *seen => Look::Same,
                    Err(error) => Look::Trouble(error.to_string()),
                }
            }
            Source::Made {
                key_pem,
                ends,
                file,
                set_back,
            } => {
                *set_back = is_too_new(*ends, now).then(|| set_back.unwrap_or(at));
                let believed =
                    set_back.is_some_and(|since| at.saturating_duration_since(since) >= BELIEVED_AFTER);
                let is_due = |ends| is_over(ends, now) || believed && is_too_new(ends, now);
                if !is_due(*ends) {
                    return Look::Same;
                }
                match ours(file.clone(), Some(key_pem), now, is_due) {
                    Ok((made, trouble)) => {
                        if let Err(error) = self.tls.renew(&text(&made.cert_pem), &text(&made.key_pem)) {
                            return Look::Trouble(error.to_string());
                        }
                        *ends = cert::ends(&made.cert_pem).unwrap_or(now);
                        *key_pem = made.key_pem;
                        *set_back = None;
                        Look::Renewed(trouble.map(|trouble| trouble.what))
                    }
                    Err(error) => Look::Trouble(error.to_string()),
                }
            }
        }
    }
}

/// Whether the end of a certificate of ours is so near that another is to follow it.
fn is_over(ends: SystemTime, now: SystemTime) -> bool {
    ends <= now + RENEWED_BEFORE
}

/// Whether a certificate of ours with this end was made by a clock that is ahead of this one. If this one is right, whoever
/// has the right time finds that it is not valid yet, for as long as that was ahead.
fn is_too_new(ends: SystemTime, now: SystemTime) -> bool {
    ends > now + VALIDITY + SET_BACK
}

/// Something about the folder is not as it should be.
struct Trouble {
    what: String,
    /// The key is kept there nevertheless.
    kept: bool,
}

/// A certificate of ours that is valid for a while after `now`: the kept one, or one that is made, for the kept key or
/// for this one, and kept. `is_due` is whether one with this end is to be followed by another.
fn ours(
    file: Option<PathBuf>,
    key_pem: Option<&str>,
    now: SystemTime,
    is_due: impl Fn(SystemTime) -> bool,
) -> Result<(SelfSigned, Option<Trouble>), TlsError> {
    let make = |key: Option<&str>| cert::make::<&str>(&[], key, now);
    let Some(file) = file else {
        let what =
            "there is no folder to keep a certificate in; set STATE_DIRECTORY or XDG_STATE_HOME".to_owned();
        // Said once, at the start.
        let trouble = key_pem.is_none().then_some(Trouble { what, kept: false });
        return make(key_pem).map(|made| (made, trouble));
    };
    let shown = file.display();
    let is_due = |pem: &str| cert::ends(pem).is_none_or(&is_due);
    let (key, replace, mut trouble) = match kept::read(&file) {
        // Another relay of this machine may have renewed it.
        Ok(Found::Pair(made)) if !is_due(&made.cert_pem) && key_pem.is_none_or(|key| key == made.key_pem) => {
            return Ok((made, None));
        }
        Ok(Found::Pair(made)) => (Some(key_pem.unwrap_or(&made.key_pem).to_owned()), true, None),
        Ok(Found::Nothing) => (key_pem.map(str::to_owned), false, None),
        Ok(Found::Damaged(why)) => {
            let aside = kept::set_aside(&file);
            let what = format!("{shown} cannot be used ({why}); it was {aside} and another key was made");
            let trouble = Trouble { what, kept: true };
            (key_pem.map(str::to_owned), true, Some(trouble))
        }
        Err(error) => {
            let what = format!("{shown} cannot be read ({error}); the certificate is lost with this process");
            return Ok((make(key_pem)?, Some(Trouble { what, kept: false })));
        }
    };
    let made = make(key.as_deref())?;
    match kept::write(&file, &made, replace) {
        Ok(None) => {}
        // Somebody else was first.
        Ok(Some(theirs)) => return Ok((theirs, None)),
        Err(error) => {
            let what =
                format!("{shown} cannot be written ({error}); the certificate is lost with this process");
            let kept = key.is_some() && replace && trouble.is_none();
            trouble = Some(Trouble { what, kept });
        }
    }
    Ok((made, trouble))
}

fn text(pem: &str) -> Pem {
    Pem::Text(pem.to_owned())
}

/// What tells one content of the files from another.
fn digest(cert: &Pem, key: &Pem) -> Result<[u8; 32], TlsError> {
    let mut digest = Sha256::new();
    for (pem, what) in [(cert, "certificate"), (key, "private key")] {
        let text = pem.read_text(what)?;
        digest.update(u64::try_from(text.len()).unwrap_or_default().to_be_bytes());
        digest.update(text);
    }
    Ok(digest.finalize().into())
}

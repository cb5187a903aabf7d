//! The folder in which the relay keeps its key and its certificate.

use super::Finding;
use crate::certificate::state_folder;
use crate::config::Config;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

/// `var` gives variables of the environment. Nothing to say where a certificate is configured: then nothing is kept.
pub(super) fn checks(config: &Config, var: impl Fn(&str) -> Option<OsString>) -> Vec<Finding> {
    if config.tls.pair().is_some() {
        return Vec::new();
    }
    vec![state_folder(var).map_or_else(nowhere, |folder| judge(&folder))]
}

fn nowhere() -> Finding {
    let found = "there is none: the relay has another key after each start";
    Finding::warn(CHECK, found, "set XDG_STATE_HOME, or HOME")
}

fn judge(folder: &Path) -> Finding {
    let shown = folder.display();
    match try_write(folder) {
        Ok(()) => Finding::ok(
            CHECK,
            format!("{shown} can be written: the key of the relay stays"),
        ),
        // It serves all the same.
        Err(error) => Finding::warn(
            CHECK,
            format!("{shown} cannot be written ({error}): the relay has another key after each start"),
            "let this user write there, or set XDG_STATE_HOME to a folder of its own",
        ),
    }
}

const CHECK: &str = "state folder";

/// Makes a file there, and leaves everything as it was: of a folder that is still to be made the nearest one above it that
/// there is has to let a folder be made.
fn try_write(folder: &Path) -> io::Result<()> {
    let exists = |folder: &&Path| fs::symlink_metadata(folder).is_ok();
    let nearest = folder.ancestors().find(exists).unwrap_or(folder);
    let probe = nearest.join(format!(".laps-doctor-{}", std::process::id()));
    if nearest == folder {
        fs::File::create_new(&probe)?;
        fs::remove_file(&probe)
    } else {
        fs::create_dir(&probe)?;
        fs::remove_dir(&probe)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("laps-doctor-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// Issue 7, "Bad input": an unwritable state folder.
    #[test]
    fn a_folder_that_cannot_be_written_is_told() {
        let place = folder("state");
        let there = |name: &str| judge(&place.join(name));
        assert_eq!(judge(&place).state, State::Ok);
        // It has yet to be made, as before the first start.
        assert_eq!(there("a/b").state, State::Ok);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "nothing is left");
        // Not even root writes into a file.
        fs::write(place.join("file"), "").unwrap();
        for name in ["file", "file/laps"] {
            let finding = there(name);
            assert_eq!(finding.state, State::Warn, "{name}");
            assert!(finding.found.contains(name) && !finding.advice.is_empty());
        }
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn only_what_is_kept_needs_a_folder() {
        let none = |_: &str| None;
        let found = checks(&Config::default(), none);
        assert_eq!(found[0].state, State::Warn);
        let mut given = Config::default();
        (given.tls.cert, given.tls.key) = ("c".into(), "k".into());
        assert_eq!(checks(&given, none), []);
    }
}

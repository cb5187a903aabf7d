use super::*;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A folder that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("laps-certificate-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn open(&self, now: SystemTime) -> (Certificate, Option<String>) {
        Certificate::open(None, Some(self.state()), now).unwrap()
    }

    fn state(&self) -> PathBuf {
        self.0.join("state/laps")
    }

    fn file(&self) -> PathBuf {
        self.state().join(FILE)
    }

    /// A pair that an operator gives.
    fn give(&self) -> ((Pem, Pem), SelfSigned) {
        let made = cert::generate::<&str>(&[]).unwrap();
        let (cert, key) = (self.0.join("cert.pem"), self.0.join("key.pem"));
        fs::write(&cert, &made.cert_pem).unwrap();
        fs::write(&key, &made.key_pem).unwrap();
        ((Pem::File(cert), Pem::File(key)), made)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Certificate {
    fn look_at(&mut self, now: SystemTime) -> Look {
        self.look(now, Instant::now())
    }

    /// What becomes of it when the clock says this for as long as it takes to be believed.
    fn stays(&mut self, now: SystemTime) -> Look {
        let at = Instant::now();
        assert_eq!(self.look(now, at), Look::Same);
        self.look(now, at + BELIEVED_AFTER)
    }
}

/// A day of this year or a later one, so that a verifier would take what is made then.
fn day(number: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours((21_000 + number) * 24)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_outlives_the_process() {
    let dir = Scratch::new("outlives");
    let (first, trouble) = dir.open(day(0));
    assert_eq!(
        (trouble, mode(&dir.file()), mode(&dir.state())),
        (None, 0o600, 0o700)
    );
    let (second, trouble) = dir.open(day(11));
    assert_eq!(trouble, None);
    assert_eq!(first.tls().known_by(), second.tls().known_by());
    assert_eq!(first.lasting(), Some(first.tls().known_by().key));
    assert!(first.origin().contains(&dir.file().display().to_string()));
    let left: Vec<_> = fs::read_dir(dir.state()).unwrap().collect();
    assert_eq!(left.len(), 1, "no half of anything is left");
}

#[test]
fn it_is_renewed_a_day_before_its_end_and_its_key_stays() {
    let dir = Scratch::new("renewed");
    let (mut certificate, _) = dir.open(day(0));
    let (mut other, _) = dir.open(day(0));
    let first = certificate.tls().known_by();
    let due = day(0) + VALIDITY - RENEWED_BEFORE;
    assert_eq!(certificate.look_at(due - Duration::from_secs(1)), Look::Same);
    assert_eq!(certificate.look_at(due), Look::Renewed(None));
    let second = certificate.tls().known_by();
    assert_ne!(first.certificate, second.certificate);
    assert_eq!(first.key, second.key);
    assert_eq!(certificate.look_at(due), Look::Same);
    // Another relay beside it takes the same one, and so does the next run.
    assert_eq!(other.look_at(due + Duration::from_secs(1)), Look::Renewed(None));
    assert_eq!(other.tls().known_by(), second);
    assert_eq!(dir.open(due).0.tls().known_by(), second);
    // One that is over when the relay starts is renewed then; a clock that is set years ahead is no trouble.
    let (late, trouble) = dir.open(day(4000));
    assert_eq!((late.tls().known_by().key, trouble), (first.key, None));
    assert_ne!(late.tls().known_by().certificate, second.certificate);
    assert_eq!(certificate.look_at(day(4000)), Look::Renewed(None));
    assert_eq!(certificate.tls().known_by(), late.tls().known_by());
}

#[test]
fn one_that_was_made_by_a_clock_ahead_is_renewed_when_the_clock_is_right() {
    let dir = Scratch::new("ahead");
    let (mut certificate, _) = dir.open(day(4000));
    let ahead = certificate.tls().known_by();
    let corrected = day(4000) - SET_BACK;
    assert_eq!(certificate.stays(corrected), Look::Same, "a correction");
    assert_eq!(dir.open(corrected).0.tls().known_by(), ahead);
    assert_eq!(certificate.stays(day(12)), Look::Renewed(None));
    let right = certificate.tls().known_by();
    assert_ne!(right.certificate, ahead.certificate);
    assert_eq!(right.key, ahead.key);
    let pem = fs::read_to_string(dir.file()).unwrap();
    assert_eq!(cert::ends(&pem), Some(day(12) + VALIDITY));
    assert_eq!(certificate.stays(day(12)), Look::Same);
    // And so is one that the relay finds when it starts.
    let dir = Scratch::new("ahead-kept");
    let ahead = dir.open(day(4000)).0.tls().known_by();
    let (mut found, trouble) = dir.open(day(12));
    assert_eq!((found.tls().known_by(), trouble), (ahead, None));
    assert_eq!(found.stays(day(12)), Look::Renewed(None));
    assert_eq!(found.tls().known_by().key, ahead.key);
    assert_ne!(found.tls().known_by().certificate, ahead.certificate);
}

#[test]
fn a_clock_that_is_behind_for_minutes_costs_nobody_the_certificate() {
    for behind in [day(0), SystemTime::UNIX_EPOCH] {
        let dir = Scratch::new("behind");
        let kept = dir.open(day(12)).0.tls().known_by();
        let (mut certificate, trouble) = dir.open(behind);
        assert_eq!((certificate.tls().known_by(), trouble), (kept, None));
        let began = Instant::now();
        let nearly = BELIEVED_AFTER - Duration::from_secs(1);
        assert_eq!(certificate.look(behind, began), Look::Same);
        assert_eq!(certificate.look(behind, began + nearly), Look::Same);
        // The time comes, and goes wrong again: it is doubted for as long again.
        assert_eq!(certificate.look(day(12), began + BELIEVED_AFTER), Look::Same);
        let again = began + 2 * BELIEVED_AFTER;
        assert_eq!(certificate.look(behind, again), Look::Same);
        assert_eq!(certificate.look(behind, again + nearly), Look::Same);
        assert_eq!(certificate.tls().known_by(), kept);
        assert_eq!(
            certificate.look(behind, again + BELIEVED_AFTER),
            Look::Renewed(None)
        );
        assert_eq!(certificate.tls().known_by().key, kept.key);
        assert_ne!(certificate.tls().known_by().certificate, kept.certificate);
    }
}

#[test]
fn a_browser_takes_it_at_any_time() {
    let dir = Scratch::new("browser");
    let mut at = day(0);
    let (mut certificate, _) = dir.open(at);
    for _ in 0..100 {
        let pem = fs::read_to_string(dir.file()).unwrap();
        let ends = cert::ends(&pem).unwrap();
        assert!(
            ends > at && ends <= at + VALIDITY,
            "it is valid, and not for more than 14 days"
        );
        at += Duration::from_hours(7);
        assert!(matches!(
            certificate.look_at(at),
            Look::Same | Look::Renewed(None)
        ));
    }
}

#[test]
fn without_a_folder_it_is_as_good_for_this_run() {
    let dir = Scratch::new("unwritable");
    // Not even root can make a folder below a file.
    fs::write(dir.0.join("state"), "").unwrap();
    let (mut certificate, trouble) = dir.open(day(0));
    let trouble = trouble.unwrap();
    assert!(trouble.contains(&dir.file().display().to_string()), "{trouble}");
    assert!(trouble.contains("is lost with this process"), "{trouble}");
    assert_eq!(certificate.lasting(), None);
    let first = certificate.tls().known_by();
    assert_eq!(
        certificate.look_at(day(13)),
        Look::Renewed(None),
        "and nobody is told of the folder again"
    );
    assert_eq!(certificate.tls().known_by().key, first.key);

    let (certificate, trouble) = Certificate::open(None, None, day(0)).unwrap();
    assert!(trouble.unwrap().contains("STATE_DIRECTORY"));
    assert!(certificate.origin().contains("made for this run"));
}

#[test]
fn a_folder_that_goes_away_is_told_of_when_it_is_needed() {
    let dir = Scratch::new("goes");
    let (mut certificate, _) = dir.open(day(0));
    let first = certificate.tls().known_by();
    fs::remove_dir_all(dir.0.join("state")).unwrap();
    fs::write(dir.0.join("state"), "").unwrap();
    let Look::Renewed(Some(trouble)) = certificate.look_at(day(13)) else {
        panic!("it is renewed, and there is trouble")
    };
    assert!(trouble.contains(FILE), "{trouble}");
    assert_eq!(certificate.tls().known_by().key, first.key);
    // Back again, it gets the next one.
    fs::remove_file(dir.0.join("state")).unwrap();
    assert_eq!(certificate.look_at(day(26)), Look::Renewed(None));
    assert_eq!(dir.open(day(26)).0.tls().known_by(), certificate.tls().known_by());
}

#[test]
fn a_damaged_file_is_kept_aside() {
    let dir = Scratch::new("damaged");
    let (before, _) = dir.open(day(0));
    let whole = fs::read(dir.file()).unwrap();
    let stranger = cert::generate::<&str>(&[]).unwrap();
    let mixed = [stranger.key_pem.as_bytes(), whole.get(241..).unwrap()].concat();
    for damaged in [&whole[..whole.len() / 2], &whole[..100], b"", b"\xff\xfe", &mixed] {
        fs::write(dir.file(), damaged).unwrap();
        let (after, trouble) = dir.open(day(1));
        let trouble = trouble.unwrap();
        assert!(trouble.contains("certificate.damaged"), "{trouble}");
        assert_eq!(fs::read(dir.file().with_extension("damaged")).unwrap(), damaged);
        assert_ne!(after.tls().known_by().key, before.tls().known_by().key);
        assert_eq!(after.lasting(), Some(after.tls().known_by().key));
        assert_eq!(dir.open(day(1)).0.tls().known_by(), after.tls().known_by());
    }
    assert_eq!(mode(&dir.file()), 0o600);
}

#[test]
fn of_two_first_starts_at_once_one_wins() {
    let dir = Scratch::new("race");
    let made = cert::make::<&str>(&[], None, day(0)).unwrap();
    assert!(kept::write(&dir.file(), &made, false).unwrap().is_none());
    let late = cert::make::<&str>(&[], None, day(0)).unwrap();
    let winner = kept::write(&dir.file(), &late, false).unwrap().unwrap();
    assert_eq!((winner.sha256, winner.key_pem), (made.sha256, made.key_pem));
}

#[test]
fn given_files_are_loaded_again_when_they_are_others() {
    let dir = Scratch::new("given");
    let (pair, first) = dir.give();
    let (mut certificate, trouble) = Certificate::open(Some(pair), None, day(0)).unwrap();
    assert_eq!((trouble, certificate.lasting()), (None, None));
    assert_eq!(
        certificate.look_at(day(4000)),
        Look::Same,
        "its end is the operator's"
    );
    // One file comes before the other.
    let second = cert::generate::<&str>(&[]).unwrap();
    fs::write(dir.0.join("cert.pem"), &second.cert_pem).unwrap();
    let Look::Trouble(why) = certificate.look_at(day(0)) else {
        panic!("they do not fit")
    };
    assert!(why.contains("does not match"), "{why}");
    assert_eq!(certificate.look_at(day(0)), Look::Same, "told once");
    assert_eq!(certificate.tls().known_by().certificate, first.sha256);
    fs::write(dir.0.join("key.pem"), &second.key_pem).unwrap();
    assert_eq!(certificate.look_at(day(0)), Look::Renewed(None));
    assert_eq!(certificate.tls().known_by().certificate, second.sha256);
    assert_eq!(certificate.look_at(day(0)), Look::Same);
    // Gone for a moment, and back as it was.
    fs::rename(dir.0.join("key.pem"), dir.0.join("away")).unwrap();
    assert!(matches!(certificate.look_at(day(0)), Look::Trouble(_)));
    assert_eq!(certificate.look_at(day(0)), Look::Same);
    fs::rename(dir.0.join("away"), dir.0.join("key.pem")).unwrap();
    assert_eq!(certificate.look_at(day(0)), Look::Renewed(None));
    assert_eq!(certificate.tls().known_by().certificate, second.sha256);
}

#[test]
fn a_pair_that_does_not_fit_is_refused_at_the_start() {
    let dir = Scratch::new("misfit");
    let (pair, _) = dir.give();
    let stranger = cert::generate::<&str>(&[]).unwrap();
    fs::write(dir.0.join("key.pem"), &stranger.key_pem).unwrap();
    let failure = Certificate::open(Some(pair), None, day(0))
        .unwrap_err()
        .to_string();
    assert!(
        failure.contains("key.pem does not match the certificate in"),
        "{failure}"
    );
    assert!(failure.contains("check --cert and --key"), "{failure}");
}

#[test]
fn the_folder_is_where_others_keep_theirs() {
    let found = |vars: &[(&str, &str)]| {
        let var = |name: &str| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        };
        state_folder(var).map(|path| path.display().to_string())
    };
    let home = ("HOME", "/home/me");
    let xdg = ("XDG_STATE_HOME", "/x");
    for (vars, folder) in [
        (&[home][..], Some("/home/me/.local/state/laps")),
        (&[home, xdg], Some("/x/laps")),
        (
            &[home, xdg, ("STATE_DIRECTORY", "/var/lib/laps:/other")],
            Some("/var/lib/laps"),
        ),
        // The specification wants what is not absolute to be passed over.
        (
            &[home, ("XDG_STATE_HOME", "here"), ("STATE_DIRECTORY", "")],
            Some("/home/me/.local/state/laps"),
        ),
        (&[("HOME", "")], None),
        (&[], None),
    ] {
        assert_eq!(found(vars).as_deref(), folder, "{vars:?}");
    }
}

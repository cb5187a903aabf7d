//! Certificate, key and clock.

use super::Finding;
use crate::config::Config;
use laps_actors::transport::{CertFacts, ServerTls, moqt_alpn};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);
/// How long before its end a certificate is told of.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// A clock may be so far off before anything depends on it.
const SLACK: Duration = Duration::from_secs(3_600);

/// `now` is what the system's clock says.
pub(super) fn checks(config: &Config, now: SystemTime) -> Vec<Finding> {
    let certificate = "certificate";
    let Some((cert, key)) = config.tls.pair() else {
        let found = "none configured: the relay makes one and renews it; the SHA-256 of its key, which it prints, stays";
        return vec![Finding::ok(certificate, found), clock(now, None)];
    };
    let remedy = "check tls.cert and tls.key; `laps cert` makes a pair";
    let read = ServerTls::load(&cert, &key, &moqt_alpn()).and_then(|_| CertFacts::of(&cert));
    match read {
        Ok(facts) => vec![judge(&facts, now), clock(now, Some(facts.from))],
        Err(error) => vec![
            Finding::fail(certificate, error.to_string(), remedy),
            clock(now, None),
        ],
    }
}

fn judge(facts: &CertFacts, now: SystemTime) -> Finding {
    let certificate = "certificate";
    let Ok(left) = facts.until.duration_since(now) else {
        let ago = days(now, facts.until);
        return Finding::fail(
            certificate,
            format!("expired {ago} day(s) ago"),
            "put a new one in its place, and start the relay again",
        );
    };
    let left_days = left.as_secs() / DAY.as_secs();
    if left < SOON {
        return Finding::warn(
            certificate,
            format!("expires in {left_days} day(s)"),
            "put a new one in its place before, and start the relay again",
        );
    }
    if facts.names.is_empty() {
        return Finding::warn(
            certificate,
            format!("matches its key, valid for {left_days} days, and for no host name"),
            "clients need its SHA-256, or one that names the host they ask for",
        );
    }
    let names = facts.names.join(", ");
    Finding::ok(
        certificate,
        format!("matches its key, valid for {left_days} days, for {names}"),
    )
}

/// A clock that is wrong shows in what cannot be in the future: this program, and a certificate that somebody uses.
fn clock(now: SystemTime, cert_from: Option<SystemTime>) -> Finding {
    let program = std::env::current_exe().and_then(std::fs::metadata);
    let built = program.and_then(|program| program.modified()).ok();
    judge_clock(now, built, cert_from)
}

fn judge_clock(now: SystemTime, built: Option<SystemTime>, cert_from: Option<SystemTime>) -> Finding {
    let ahead = |of: Option<SystemTime>| of.filter(|of| *of > now + SLACK);
    let remedy = "set the clock, for good with NTP (timedatectl set-ntp true)";
    if let Some(from) = ahead(cert_from) {
        let found = format!("the certificate is valid only in {} day(s)", days(from, now));
        return Finding::fail("clock", found, remedy);
    }
    if let Some(built) = ahead(built) {
        let found = format!(
            "this program was installed in {} day(s) by this clock",
            days(built, now)
        );
        return Finding::warn("clock", found, remedy);
    }
    Finding::ok("clock", "after this program and the certificate were made")
}

/// Whole days between the two, at least one where there is any time between them.
fn days(later: SystemTime, earlier: SystemTime) -> u64 {
    let between = later.duration_since(earlier).unwrap_or_default();
    between.as_secs().div_ceil(DAY.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use std::time::UNIX_EPOCH;

    fn facts(names: &[&str]) -> CertFacts {
        CertFacts {
            from: UNIX_EPOCH + 1000 * DAY,
            until: UNIX_EPOCH + 1100 * DAY,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_certificate_is_judged_by_its_time_and_its_names() {
        let at = |day: u32, names: &[&str]| {
            let finding = judge(&facts(names), UNIX_EPOCH + day * DAY);
            (finding.state, finding.found)
        };
        assert_eq!(at(1050, &["a"]).0, State::Ok);
        assert!(at(1050, &["a", "b"]).1.contains("50 days, for a, b"));
        assert_eq!(at(1050, &[]).0, State::Warn);
        assert_eq!(at(1090, &["a"]), (State::Warn, "expires in 10 day(s)".to_owned()));
        assert_eq!(at(1101, &["a"]), (State::Fail, "expired 1 day(s) ago".to_owned()));
    }

    #[test]
    fn a_clock_behind_what_exists_is_wrong() {
        let at = |day: u32| Some(UNIX_EPOCH + day * DAY);
        let now = UNIX_EPOCH + 1000 * DAY;
        assert_eq!(judge_clock(now, at(900), at(1000)).state, State::Ok);
        assert_eq!(judge_clock(now, None, None).state, State::Ok);
        assert_eq!(judge_clock(now, at(1001), at(900)).state, State::Warn);
        assert_eq!(judge_clock(now, at(900), at(1002)).state, State::Fail);
    }
}

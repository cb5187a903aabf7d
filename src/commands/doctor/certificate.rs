//! Certificate, key and clock.

use super::Finding;
use crate::config::Config;
use laps_actors::transport::{CertFacts, Pem, ServerTls, Stage, moqt_alpn};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);
/// A clock may be so far off before anything depends on it.
const SLACK: Duration = Duration::from_secs(3_600);

/// `now` is what the system's clock says.
pub(super) fn checks(config: &Config, now: SystemTime) -> Vec<Finding> {
    let certificate = "certificate";
    let remedy = "check tls.cert and tls.key; `laps cert` makes a pair";
    let (found, from) = match config.tls.pair() {
        None => {
            let found = "none configured: the relay makes one and renews it; the SHA-256 of its key, which it prints, stays";
            (Finding::ok(certificate, found), None)
        }
        Some((cert, key)) => {
            match ServerTls::load(&cert, &key, &moqt_alpn()).and_then(|_| CertFacts::of(&cert)) {
                Ok(facts) => (judge(&facts, now), Some(facts.lifetime.from)),
                Err(error) => (Finding::fail(certificate, error.to_string(), remedy), None),
            }
        }
    };
    let found = std::iter::once(found).chain(of_mesh(config, now));
    found.chain([clock(now, from)]).collect()
}

/// That with which the relay proves to other relays which node it is; none where it does not.
fn of_mesh(config: &Config, now: SystemTime) -> Option<Finding> {
    let (peering, check) = (&config.peering, "peering certificate");
    if peering.ca.is_empty() || peering.insecure {
        return None;
    }
    let read = CertFacts::of(&Pem::File(peering.cert.as_str().into()));
    let ended = |facts: &CertFacts| facts.lifetime.stage(now) == Stage::Over;
    // What has expired is also refused as one of no member, in words that do not say when it did.
    let member = match &read {
        Ok(facts) if ended(facts) => Ok(()),
        _ => config
            .relay
            .node_id()
            .map_err(|error| error.to_string())
            .and_then(|node| peering.tls(node).map(drop).map_err(|failure| failure.to_string())),
    };
    let remedy = "`laps cert ca` makes one for each node of a mesh, of one CA";
    Some(match (member, read) {
        (Err(why), _) => Finding::fail(check, why, remedy),
        (_, Err(error)) => Finding::fail(check, error.to_string(), remedy),
        (Ok(()), Ok(facts)) => timely(check, &facts, now, "start the relay again").unwrap_or_else(|| {
            let left = days_left(&facts, now);
            Finding::ok(check, format!("lets the relay into its mesh for {left} days"))
        }),
    })
}

/// What is wrong with the time of a certificate; `then` is what is to be done once there is another one.
fn timely(check: &'static str, facts: &CertFacts, now: SystemTime, then: &str) -> Option<Finding> {
    let advice = format!("put another one in its place, and {then}");
    let words = facts.lifetime.words(now)?;
    Some(match facts.lifetime.stage(now) {
        Stage::Over => Finding::fail(check, words, advice),
        // The clock may be what is wrong, and there is a check of its own for that.
        Stage::Early => Finding::warn(check, words, "see the clock"),
        Stage::Soon | Stage::Good => Finding::warn(check, words, advice),
    })
}

fn days_left(facts: &CertFacts, now: SystemTime) -> i64 {
    facts.lifetime.left(now) / 86_400
}

fn judge(facts: &CertFacts, now: SystemTime) -> Finding {
    let certificate = "certificate";
    let then = "newcomers get it within 5 s";
    if let Some(finding) = timely(certificate, facts, now, then) {
        return finding;
    }
    let left_days = days_left(facts, now);
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
    use laps_actors::transport::Lifetime;
    use laps_actors::transport::cert::VALIDITY;
    use std::time::UNIX_EPOCH;

    fn facts(names: &[&str]) -> CertFacts {
        CertFacts {
            lifetime: Lifetime {
                from: UNIX_EPOCH + 1000 * DAY,
                until: UNIX_EPOCH + 1100 * DAY,
            },
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
        assert_eq!(at(999, &["a"]).0, State::Warn);
    }

    /// What `laps cert` has just made is no reason to do anything, and what is to be done later is no restart.
    #[test]
    fn a_certificate_of_ours_is_well_until_its_last_days() {
        let life = |made: SystemTime| Lifetime {
            from: made,
            until: made + VALIDITY,
        };
        let facts = CertFacts {
            lifetime: life(UNIX_EPOCH + 1000 * DAY),
            ..facts(&["localhost"])
        };
        let fresh = judge(&facts, UNIX_EPOCH + 1001 * DAY);
        assert_eq!(fresh.state, State::Ok, "{fresh:?}");
        let late = judge(&facts, UNIX_EPOCH + 1011 * DAY);
        assert_eq!(late.state, State::Warn, "{late:?}");
        assert!(
            !late.advice.contains("start") && late.advice.contains("5 s"),
            "{late:?}"
        );
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

//! When a certificate is valid, and for which names: for whoever tells a person, not for who decides whom to trust.

use super::error::TlsError;
use super::lifetime::Lifetime;
use super::tls::{Pem, certificates};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webpki::EndEntityCert;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFacts {
    /// When it is valid.
    pub lifetime: Lifetime,
    /// The host names that it is for; addresses are not among them.
    pub names: Vec<String>,
}

impl CertFacts {
    /// Reads the first certificate of a chain.
    ///
    /// # Errors
    /// [`TlsError`] when it cannot be read, or is none that this can make out.
    pub fn of(cert: &Pem) -> Result<Self, TlsError> {
        let chain = certificates(cert)?;
        let unusable = |detail: &str| TlsError::Unusable {
            origin: cert.origin(),
            detail: detail.to_owned(),
        };
        let leaf = chain.first().ok_or_else(|| unusable("there is no certificate"))?;
        let lifetime = validity(leaf).ok_or_else(|| unusable("its times cannot be read"))?;
        let parsed = EndEntityCert::try_from(leaf).map_err(|error| unusable(&error.to_string()))?;
        Ok(Self {
            lifetime,
            names: parsed.valid_dns_names().map(str::to_owned).collect(),
        })
    }
}

/// One DER value.
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
}

// codepoint-free: tags of X.690, not of a protocol of ours.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0; // codepoint-free: X.690
const UTC_TIME: u8 = 0x17; // codepoint-free: X.690
const GENERALIZED_TIME: u8 = 0x18; // codepoint-free: X.690

/// Takes the first value off `input`. X.690 §8.1, with lengths of at most four bytes.
fn take<'a>(input: &mut &'a [u8]) -> Option<Value<'a>> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 128 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first - 128);
        let digits = rest.get(..count).filter(|_| count <= 4)?;
        let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest.get(count..)?)
    };
    let content = rest.get(..length)?;
    *input = rest.get(length..)?;
    Some(Value { tag, content })
}

fn sequence<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    take(input)
        .filter(|value| value.tag == SEQUENCE)
        .map(|value| value.content)
}

/// RFC 5280 §4.1: the validity is the fourth field of what is signed, behind a version that may be left out.
pub(super) fn validity(mut cert: &[u8]) -> Option<Lifetime> {
    let mut signed = sequence(&mut sequence(&mut cert)?)?;
    let first = take(&mut signed)?;
    if first.tag == VERSION {
        take(&mut signed)?;
    }
    let (_algorithm, _issuer) = (take(&mut signed)?, take(&mut signed)?);
    let mut times = sequence(&mut signed)?;
    Some(Lifetime {
        from: time(&take(&mut times)?)?,
        until: time(&take(&mut times)?)?,
    })
}

/// RFC 5280 §4.1.2.5: `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` from then on.
fn time(value: &Value<'_>) -> Option<SystemTime> {
    let text = std::str::from_utf8(value.content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match value.tag {
        UTC_TIME => {
            let year: u64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let field = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (field(0)?, field(2)?);
    let (hour, minute, second) = (field(4)?, field(6)?, field(8)?);
    if rest.len() != 10 || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Days from 1970 to a day from then on, in the Gregorian calendar: years are counted from March, so that the day that is
/// put in is their last.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::cert::generate;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn parsed(tag: u8, text: &str) -> Option<SystemTime> {
        let content = text.as_bytes();
        time(&Value { tag, content })
    }

    #[test]
    fn times_of_both_forms_are_read() {
        assert_eq!(parsed(UTC_TIME, "700101000000Z"), Some(at(0)));
        assert_eq!(parsed(UTC_TIME, "000229235959Z"), Some(at(951_868_799)));
        assert_eq!(parsed(UTC_TIME, "261122233000Z"), Some(at(1_795_390_200)));
        assert_eq!(
            parsed(GENERALIZED_TIME, "20500101000000Z"),
            Some(at(2_524_608_000))
        );
        for wrong in [
            "",
            "Z",
            "261122233000",
            "261322233000Z",
            "26112223300Z",
            "2611222330000Z",
            "äääääZ",
        ] {
            assert_eq!(parsed(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_certificate_says_is_read() {
        let made = generate(&["relay.example", "127.0.0.1"]).unwrap();
        let facts = CertFacts::of(&Pem::Text(made.cert_pem)).unwrap();
        assert!(
            facts.names.iter().any(|name| name == "relay.example"),
            "{facts:?}"
        );
        let now = SystemTime::now();
        assert!(
            facts.lifetime.from < now && facts.lifetime.until > now + Duration::from_secs(86_400 * 10),
            "{facts:?}"
        );
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.not_before = date_time_ymd(2000, 3, 1);
        params.not_after = date_time_ymd(2077, 2, 28);
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = CertFacts::of(&Pem::Text(cert.pem())).unwrap();
        let Lifetime { from, until } = facts.lifetime;
        assert_eq!((from, until), (at(951_868_800), at(3_381_696_000)));
        assert!(facts.names.is_empty());
    }

    #[test]
    fn what_is_none_is_refused() {
        for cut in [0, 1, 2, 5, 40, 100] {
            let made = generate(&["x"]).unwrap();
            let der = certificates(&Pem::Text(made.cert_pem)).unwrap();
            assert!(validity(&der[0][..cut]).is_none(), "{cut}");
        }
        // Lengths that lead beyond the end, or have too many digits.
        let lengths: [&[u8]; 3] = [
            &[SEQUENCE, 127],
            &[SEQUENCE, 132, 255, 255, 255, 255],
            &[SEQUENCE, 137],
        ];
        for mut lies in lengths {
            assert!(take(&mut lies).is_none());
        }
    }
}

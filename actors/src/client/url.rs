//! Where a relay is: `moqt://host[:port][/path][?query]`. MOQT-14 §3.1.2.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Port of a URL that names none.
///
/// MOQT-14 §3.1.2 [D14-SETUP-5]: draft-14 defines no default; 443 is what later drafts say.
pub const DEFAULT_PORT: u16 = 443;

/// A checked URL of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MoqtUrl {
    scheme: Scheme,
    host: Host,
    port: Option<u16>,
    path: String,
    query: Option<String>,
}

/// How the URL was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `moqt`, the draft's.
    Moqt,
    /// `moq`, as laps writes it; means the same.
    Moq,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to look up, which is also the name the certificate must carry.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// What is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `scheme://`.
    #[error("no scheme; write moqt://host:port/path")]
    NoScheme,
    /// A scheme we do not speak.
    #[error("scheme `{0}` is not known; write moqt://host:port/path")]
    UnknownScheme(String),
    /// Nothing where the host should be. MOQT-14 §3.1.2 [D14-SETUP-5].
    #[error("the host is empty; write moqt://host:port/path")]
    EmptyHost,
    /// A host with characters that no host has.
    #[error("`{0}` is not a host; write a name, an IPv4 address, or an IPv6 address in brackets")]
    BadHost(String),
    /// `[` without an IPv6 address and `]`.
    #[error("`{0}` is not an IPv6 address in brackets, such as [::1]")]
    BadBrackets(String),
    /// Not a number from 1 to 65535.
    #[error("port `{0}` is not a number from 1 to 65535")]
    BadPort(String),
    /// User and password have no meaning here.
    #[error("a user name has no meaning in a moqt URL; remove what stands before `@`")]
    UserInfo,
    /// A fragment never reaches the relay.
    #[error("a fragment has no meaning in a moqt URL; remove `#` and what follows, or write %23")]
    Fragment,
    /// A character that RFC 3986 does not allow in this part.
    #[error("`{1}` must be written as %xx in the {0}")]
    BadCharacter(&'static str, char),
    /// `%` without two hexadecimal digits.
    #[error("`%` in the {0} is not followed by two hexadecimal digits; write %25 for the sign itself")]
    BadEscape(&'static str),
}

impl MoqtUrl {
    /// How it was written.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The host as the TLS server name: without brackets.
    #[must_use]
    pub fn server_name(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// The port, [`DEFAULT_PORT`] when none was written.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self.port {
            Some(port) => port,
            None => DEFAULT_PORT,
        }
    }

    /// The authority as written, the value of AUTHORITY. MOQT-14 §9.3.2.1 [D14-SETUP-16].
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }

    /// Path and query as written, the value of PATH; empty when there is neither. MOQT-14 §9.3.2.2 [D14-SETUP-15].
    #[must_use]
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// A hint for the user about how the URL was written, if there is one.
    #[must_use]
    pub const fn note(&self) -> Option<&'static str> {
        match self.scheme {
            Scheme::Moqt => None,
            Scheme::Moq => Some("moq:// is taken as moqt://, raw QUIC"),
        }
    }
}

impl FromStr for MoqtUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        // RFC 3986 §3.1: schemes are case-insensitive.
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "moqt" => Scheme::Moqt,
            "moq" => Scheme::Moq,
            _ => return Err(UrlError::UnknownScheme(scheme.to_owned())),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_authority(authority)?;
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        check_characters("path", path, "/")?;
        check_characters("query", query.as_deref().unwrap_or_default(), "/?")?;
        Ok(Self {
            scheme,
            host,
            port,
            path: path.to_owned(),
            query,
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for MoqtUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "moqt://{}{}", self.authority(), self.path_and_query())
    }
}

fn split_authority(authority: &str) -> Result<(Host, Option<u16>), UrlError> {
    if let Some(inner) = authority.strip_prefix('[') {
        let bad = || UrlError::BadBrackets(authority.to_owned());
        let (address, after) = inner.split_once(']').ok_or_else(bad)?;
        let address = address.parse().map_err(|_| bad())?;
        let port = match after.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if after.is_empty() => None,
            None => return Err(bad()),
        };
        return Ok((Host::Address(IpAddr::V6(address)), port));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err(UrlError::EmptyHost);
    }
    if let Ok(address) = host.parse() {
        return Ok((Host::Address(IpAddr::V4(address)), port));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    // A name of digits and dots alone is a mistyped address, never a host name: RFC 1123 §2.1.
    if !host.chars().all(legal) || host.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(UrlError::BadHost(host.to_owned()));
    }
    Ok((Host::Name(host.to_ascii_lowercase()), port))
}

/// RFC 3986 §3.2.3: the port may be empty after its colon.
fn parse_port(text: &str) -> Result<Option<u16>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad = || UrlError::BadPort(text.to_owned());
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(bad()),
        Ok(port) => Ok(Some(port)),
    }
}

/// RFC 3986 §3.3: pchar, plus what `extra` allows.
fn check_characters(part: &'static str, text: &str, extra: &str) -> Result<(), UrlError> {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '%' {
            let digits = [rest.next(), rest.next()];
            if !digits.iter().all(|d| d.is_some_and(|d| d.is_ascii_hexdigit())) {
                return Err(UrlError::BadEscape(part));
            }
        } else if !c.is_ascii_alphanumeric() && !"-._~!$&'()*+,;=:@".contains(c) && !extra.contains(c) {
            return Err(UrlError::BadCharacter(part, c));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            drop(text.parse::<MoqtUrl>());
        }
    }

    /// text, server name, port, AUTHORITY, PATH
    const GOOD: &[(&str, &str, u16, &str, &str)] = &[
        (
            "moqt://relay.example:33435",
            "relay.example",
            33435,
            "relay.example:33435",
            "",
        ),
        ("moqt://relay.example", "relay.example", 443, "relay.example", ""),
        ("moqt://relay.example:", "relay.example", 443, "relay.example", ""),
        ("moqt://h/", "h", 443, "h", "/"),
        (
            "MOQT://H:1/Live/a%20b?x=1&y=/?",
            "h",
            1,
            "h:1",
            "/Live/a%20b?x=1&y=/?",
        ),
        ("moqt://h?q", "h", 443, "h", "?q"),
        (
            "moqt://127.0.0.1:65535/p",
            "127.0.0.1",
            65535,
            "127.0.0.1:65535",
            "/p",
        ),
        ("moqt://[::1]:33435/p", "::1", 33435, "[::1]:33435", "/p"),
        ("moqt://[2001:db8::1]", "2001:db8::1", 443, "[2001:db8::1]", ""),
        (
            "moq://relay.example:33437",
            "relay.example",
            33437,
            "relay.example:33437",
            "",
        ),
    ];

    /// D14-SETUP-5 D14-SETUP-15 D14-SETUP-16
    #[test]
    fn good_urls_come_apart() {
        // MOQT-14 §3.1.2 [D14-SETUP-5], §9.3.2 [D14-SETUP-15] [D14-SETUP-16]
        for &(text, name, port, authority, path) in GOOD {
            let url: MoqtUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.server_name(), name, "{text}");
            assert_eq!(url.port(), port, "{text}");
            assert_eq!(url.authority(), authority, "{text}");
            assert_eq!(url.path_and_query(), path, "{text}");
            assert_eq!(
                url.to_string().parse::<MoqtUrl>().unwrap().authority(),
                authority,
                "{text}"
            );
            assert_eq!(url.note().is_some(), text.starts_with("moq:"), "{text}");
        }
    }

    /// D14-SETUP-5
    #[test]
    fn bad_urls_name_what_is_wrong() {
        // MOQT-14 §3.1.2 [D14-SETUP-5]: the host must not be empty.
        for (text, error) in [
            ("relay.example:1", UrlError::NoScheme),
            ("https://h/", UrlError::UnknownScheme("https".into())),
            ("moqt://", UrlError::EmptyHost),
            ("moqt://:33435/", UrlError::EmptyHost),
            ("moqt:///p", UrlError::EmptyHost),
            ("moqt://u@h:1", UrlError::UserInfo),
            ("moqt://h#x", UrlError::Fragment),
            ("moqt://h:0", UrlError::BadPort("0".into())),
            ("moqt://h:65536", UrlError::BadPort("65536".into())),
            ("moqt://h:+1", UrlError::BadPort("+1".into())),
            ("moqt://h:p", UrlError::BadPort("p".into())),
            ("moqt://::1:5", UrlError::BadHost("::1".into())),
            ("moqt://300.1.1.1:5", UrlError::BadHost("300.1.1.1".into())),
            ("moqt://a b", UrlError::BadHost("a b".into())),
            ("moqt://[::1", UrlError::BadBrackets("[::1".into())),
            ("moqt://[1.2.3.4]", UrlError::BadBrackets("[1.2.3.4]".into())),
            ("moqt://[::1]x", UrlError::BadBrackets("[::1]x".into())),
            ("moqt://h/a b", UrlError::BadCharacter("path", ' ')),
            ("moqt://h/?ä", UrlError::BadCharacter("query", 'ä')),
            ("moqt://h/%2", UrlError::BadEscape("path")),
            ("moqt://h/?%zz", UrlError::BadEscape("query")),
        ] {
            assert_eq!(text.parse::<MoqtUrl>(), Err(error), "{text}");
        }
    }
}

//! The parts of a URI that SETUP carries. RFC 3986 §3.2, §3.3.

/// Whether `bytes` are a path-abempty with an optional query. RFC 3986 §3.3, §3.4.
pub(super) fn is_path(bytes: &[u8]) -> bool {
    let mut halves = bytes.splitn(2, |byte| *byte == b'?');
    let path = halves.next().unwrap_or_default();
    let query = halves.next().unwrap_or_default();
    (path.is_empty() || path.starts_with(b"/")) && is_encoded(path, b":@/") && is_encoded(query, b":@/?")
}

/// Whether `bytes` are an authority with a host. RFC 3986 §3.2; the host of a moqt URI is never empty
/// (MOQT-14 §3.1.3 [D14-SETUP-5]).
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let mut halves = bytes.rsplitn(2, |byte| *byte == b'@');
    let host_port = halves.next().unwrap_or_default();
    let user = halves.next().unwrap_or_default();
    if !is_encoded(user, b":") {
        return false;
    }
    if let Some(rest) = host_port.strip_prefix(b"[") {
        let mut halves = rest.splitn(2, |byte| *byte == b']');
        let literal = halves.next().unwrap_or_default();
        let Some(after) = halves.next() else {
            return false;
        };
        let port = after.strip_prefix(b":");
        return !literal.is_empty()
            && is_encoded(literal, b":")
            && (after.is_empty() || port.is_some_and(is_port));
    }
    let mut halves = host_port.splitn(2, |byte| *byte == b':');
    let host = halves.next().unwrap_or_default();
    !host.is_empty() && is_encoded(host, b"") && halves.next().is_none_or(is_port)
}

/// RFC 3986 §3.2.3: digits, perhaps none.
fn is_port(bytes: &[u8]) -> bool {
    bytes.len() <= 5 && bytes.iter().all(u8::is_ascii_digit)
}

/// Unreserved characters, sub-delimiters, those of `more`, and whole percent triplets. RFC 3986 §2.
fn is_encoded(bytes: &[u8], more: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            (b'%', _) => return false,
            _ if first.is_ascii_alphanumeric()
                || b"-._~!$&'()*+,;=".contains(first)
                || more.contains(first) =>
            {
                tail
            }
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-SETUP-15
    #[test]
    fn paths_follow_the_grammar() {
        for good in ["", "/", "/a/b", "/a?x=1&y=/?", "/%41", "//", "?q", "/a:b@c"] {
            assert!(is_path(good.as_bytes()), "{good}");
        }
        for bad in ["a", "/ ", "/%4", "/%zz", "/a#b", "/\u{e9}", "/a[", "/\0"] {
            assert!(!is_path(bad.as_bytes()), "{bad}");
        }
    }

    /// D14-SETUP-16
    #[test]
    fn authorities_follow_the_grammar() {
        for good in [
            "a",
            "a.b:443",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:4433",
            "u:p@h",
            "h:",
            "%41",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":1", "a:b", "a:123456", "[::1", "[]", "[::1]x", "a b", "a/b", "@", "u@", "::1",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}

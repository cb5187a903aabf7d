//! Words of a peer, as a log or a terminal may have them.

/// Most characters of them that are shown: what says why something ended is shorter.
const MAX_CHARS: usize = 256;

/// What a peer has written, on one line and without what a terminal would obey: it could forge lines of the log, or
/// move the cursor of who reads them. What is longer than 256 characters is cut off.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    for (n, letter) in text.chars().enumerate() {
        if n == MAX_CHARS {
            shown.push('\u{2026}');
            break;
        }
        match letter {
            '"' | '\'' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_on_their_line() {
        assert_eq!(shown("it's \"h\u{fc}bsch\"".as_bytes()), "it's \"h\u{fc}bsch\"");
        assert_eq!(
            shown(b"a\nCRIT b\r\x1b[31m\\n\x00\xff"),
            "a\\nCRIT b\\r\\u{1b}[31m\\\\n\\0\u{fffd}"
        );
        assert_eq!(shown("\u{202e}gpj.exe".as_bytes()), "\\u{202e}gpj.exe");
        assert_eq!(shown(&[b'x'; 256]), "x".repeat(256));
        assert_eq!(shown(&[b'x'; 70_000]), format!("{}\u{2026}", "x".repeat(256)));
    }
}

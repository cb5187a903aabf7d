//! The table of vectors, as text.

use bytes::Bytes;

/// One line of the table.
pub(crate) struct Vector {
    pub(crate) id: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) bytes: Bytes,
}

/// Every vector in the order of the table.
pub(crate) fn all() -> Vec<Vector> {
    include_str!("draft14.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            Vector {
                id: words.next().unwrap(),
                kind: words.next().unwrap(),
                bytes: words.flat_map(unhex).collect(),
            }
        })
        .collect()
}

/// The bytes of one vector.
pub(crate) fn bytes(id: &str) -> Bytes {
    let found = all().into_iter().find(|vector| vector.id == id);
    found.unwrap_or_else(|| panic!("{id} is not in the table")).bytes
}

/// Hex digits, or `NxHH` for N times the same byte.
fn unhex(word: &str) -> Vec<u8> {
    if let Some((count, byte)) = word.split_once('x') {
        return vec![u8::from_str_radix(byte, 16).unwrap(); count.parse().unwrap()];
    }
    (0..word.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&word[at..at + 2], 16).unwrap())
        .collect()
}

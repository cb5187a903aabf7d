//! Writing pieces on a stream, no more of them than may leave.

use crate::transport::{SendGuard, StreamError};
use bytes::Bytes;
use std::task::{Context, Poll, ready};

/// Writes the first of `out`, at most `most` bytes and no more than the peer's window for the stream takes; what was
/// written is no longer in `out`. The value is how many bytes, none only when `most` is or `out` has none.
///
/// MOQT-14 §7.1 [D14-PRIO-7]: it waits when flow control lets nothing leave, and then holds up nobody else.
pub(super) fn poll_write(
    stream: &mut SendGuard,
    out: &mut Vec<Bytes>,
    most: u64,
    cx: &mut Context<'_>,
) -> Poll<Result<u64, StreamError>> {
    // The stack takes empty pieces for a question.
    out.retain(|piece| !piece.is_empty());
    if out.is_empty() || most == 0 {
        return Poll::Ready(Ok(0));
    }
    let window = ready!(stream.poll_window(cx))?;
    let count = split_at(out, most.min(window));
    let Some(first) = out.get_mut(..count) else {
        return Poll::Ready(Ok(0));
    };
    let before = size(first);
    let done = ready!(stream.poll_send_vectored(first, cx))?;
    let written = before - size(first);
    out.drain(..done.min(count));
    Poll::Ready(Ok(written))
}

/// How many of the first pieces have `most` bytes, the last of them being cut if need be.
fn split_at(out: &mut Vec<Bytes>, most: u64) -> usize {
    let mut left = usize::try_from(most).unwrap_or(usize::MAX);
    let mut count = 0;
    while let Some(piece) = out.get_mut(count) {
        if piece.len() > left {
            if left > 0 {
                let head = piece.split_to(left);
                out.insert(count, head);
                count += 1;
            }
            break;
        }
        left -= piece.len();
        count += 1;
    }
    count
}

fn size(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(sizes: &[usize]) -> Vec<Bytes> {
        sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect()
    }

    fn sizes(out: &[Bytes]) -> Vec<usize> {
        out.iter().map(Bytes::len).collect()
    }

    #[test]
    fn the_last_piece_is_cut_where_the_bytes_end() {
        for (before, most, count, after) in [
            (vec![3, 4, 5], 12, 3, vec![3, 4, 5]),
            (vec![3, 4, 5], 100, 3, vec![3, 4, 5]),
            (vec![3, 4, 5], 7, 2, vec![3, 4, 5]),
            (vec![3, 4, 5], 8, 3, vec![3, 4, 1, 4]),
            (vec![3, 4, 5], 1, 1, vec![1, 2, 4, 5]),
            (vec![3], 0, 0, vec![3]),
            (vec![], 9, 0, vec![]),
        ] {
            let mut out = pieces(&before);
            assert_eq!(split_at(&mut out, most), count, "{before:?} {most}");
            assert_eq!(sizes(&out), after, "{before:?} {most}");
        }
    }
}

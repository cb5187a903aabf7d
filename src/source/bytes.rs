//! From a reader to objects: bytes in, what a [`Cutter`] makes of them out.

use super::{Source, SourceError, Step};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read};

/// Bytes asked of the reader at a time.
const READ_BYTES: usize = 64 << 10;

/// Cuts a byte stream into objects. Any split of the bytes over calls gives the same objects.
pub trait Cutter {
    /// Takes the next bytes and puts out what they complete.
    ///
    /// # Errors
    /// When the bytes cannot be what they should be, or one object would be too large.
    fn push(&mut self, input: &[u8], out: &mut VecDeque<Step>) -> Result<(), SourceError>;

    /// The input is over: puts out what is left.
    ///
    /// # Errors
    /// When the end leaves something incomplete that cannot stand as it is.
    fn finish(&mut self, out: &mut VecDeque<Step>) -> Result<(), SourceError>;
}

/// A source over a reader, such as a file. Blocks when the reader does, so it belongs on a thread of its own.
#[derive(Debug)]
pub struct ReadSource<R, C> {
    reader: R,
    cutter: C,
    buffer: Vec<u8>,
    out: VecDeque<Step>,
    finished: bool,
}

impl<R: Read, C: Cutter> ReadSource<R, C> {
    /// What `cutter` makes of the bytes of `reader`.
    pub fn new(reader: R, cutter: C) -> Self {
        Self {
            reader,
            cutter,
            buffer: vec![0; READ_BYTES],
            out: VecDeque::new(),
            finished: false,
        }
    }
}

impl<R: Read, C: Cutter> Source for ReadSource<R, C> {
    fn next(&mut self, _now_unix_nanos: u64) -> Result<Step, SourceError> {
        loop {
            if let Some(step) = self.out.pop_front() {
                return Ok(step);
            }
            if self.finished {
                return Ok(Step::End);
            }
            let read = match self.reader.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.inspect_err(|_| self.finished = true)?,
            };
            let result = match self.buffer.get(..read) {
                None | Some([]) => {
                    self.finished = true;
                    self.cutter.finish(&mut self.out)
                }
                Some(input) => self.cutter.push(input, &mut self.out),
            };
            // Objects that the same read completed are worth less than a prompt fault.
            if let Err(error) = result {
                self.finished = true;
                self.out.clear();
                return Err(error);
            }
        }
    }
}

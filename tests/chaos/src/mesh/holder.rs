//! A process of many sessions, of which only streams are counted.

use crate::Failure;
use crate::process::Process;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::ChildStdout;

/// Sessions that hold subscriptions, and count streams.
#[derive(Debug)]
pub(crate) struct Holder {
    process: Process,
    said: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    /// Of the process of a peer that holds; returns when it has its tracks.
    pub(super) fn of(mut process: Process) -> Result<Self, Failure> {
        let said = BufReader::new(process.output()?).lines();
        Ok(Self { process, said })
    }

    /// The next line that it says.
    pub(super) fn line(&mut self) -> Result<String, Failure> {
        match self.said.next() {
            Some(line) => Ok(line?.trim().to_owned()),
            None => Err(std::fs::read_to_string(self.process.log())?.into()),
        }
    }

    /// Streams of objects that have come since the last time, to the session with the fewest and to that with the most.
    pub(crate) fn streams(&mut self) -> Result<[u64; 2], Failure> {
        writeln!(self.process.input()?)?;
        let line = self.line()?;
        let (least, most) = line.split_once(' ').ok_or("no counts")?;
        Ok([least.parse()?, most.parse()?])
    }
}

//! Where received objects go: a thread that writes, and a bound on what may wait for it.

use crate::cli::OutputFormat;
use crate::exit::Failure;
use bytes::Bytes;
use laps_actors::client::ReceivedObject;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bytes that may wait for a slow file or pipe before the subscriber stops reading.
const WAITING_BYTES: u32 = 16 << 20;
/// What a piece of output counts beside its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 256;

/// What is written in one go: the pieces of one object.
pub(super) type Pieces = Vec<Bytes>;

/// An object's payload as it is written.
pub(super) fn pieces(object: &ReceivedObject, format: OutputFormat) -> Pieces {
    let mut pieces = object.payload.clone();
    if format == OutputFormat::Lines {
        pieces.push(Bytes::from_static(b"\n"));
    }
    pieces
}

/// How the writing ended.
#[derive(Debug)]
pub(super) enum Written {
    /// Everything is written.
    All,
    /// The reader of our pipe went away, as `head` does.
    PipeClosed,
    /// It cannot be written.
    Failed(Failure),
}

/// The end that objects are given to.
///
/// Whoever reads a session reads on only while [`Output::is_free`]: so what waits here is what one step of it gave, and
/// the log of the track bounds the rest.
#[derive(Debug)]
pub(super) struct Output {
    sender: Option<UnboundedSender<(Pieces, OwnedSemaphorePermit)>>,
    /// What there is no room for yet.
    waiting: VecDeque<Pieces>,
    room: Arc<Semaphore>,
    done: oneshot::Receiver<Written>,
}

impl Output {
    /// Writes to the file, which is made or emptied, or to standard output.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let (name, target): (String, Box<dyn Write + Send>) = match path {
            None => ("standard output".to_owned(), Box::new(std::io::stdout())),
            Some(path) => {
                let name = path.display().to_string();
                let file = File::create(path)
                    .map_err(|error| Failure::run(&name, error.to_string(), "choose another --output"))?;
                (name, Box::new(file))
            }
        };
        Self::over(name, target)
    }

    fn over(name: String, target: Box<dyn Write + Send>) -> Result<Self, Failure> {
        // Bounded by the bytes that the semaphore lets in, each piece counting at least its overhead.
        let (sender, receiver) = mpsc::unbounded_channel();
        let (tell, done) = oneshot::channel();
        let thread = std::thread::Builder::new().name("laps-output".to_owned());
        // Not joined: it tells its end, and one that waits for a stuck pipe ends with the process.
        drop(
            thread
                .spawn(move || drop(tell.send(write_all(&name, target, receiver))))
                .map_err(|error| Failure::run("output", error.to_string(), ""))?,
        );
        Ok(Self {
            sender: Some(sender),
            waiting: VecDeque::new(),
            room: Arc::new(Semaphore::new(WAITING_BYTES as usize)),
            done,
        })
    }

    /// Gives it an object, to be written after those before it.
    pub(super) fn give(&mut self, pieces: Pieces) {
        self.waiting.push_back(pieces);
    }

    /// Nothing waits for room.
    pub(super) fn is_free(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Brings the object that waits longest to the writer, as soon as there is room; then it gives none. What it gives
    /// otherwise is the end of the writer, which comes by itself only when it cannot write. May be dropped and called
    /// again.
    pub(super) async fn pump(&mut self) -> Option<Written> {
        let Some(bytes) = self.waiting.front().map(|pieces| size(pieces)) else {
            return Some(self.ended().await);
        };
        let room = Self::room(&self.room, bytes);
        tokio::select! {
            biased;
            written = self.ended() => return Some(written),
            room = room => {
                // A writer that has ended says so by `ended`.
                if let (Some(sender), Some(room), Some(pieces)) = (&self.sender, room, self.waiting.pop_front()) {
                    drop(sender.send((pieces, room)));
                }
            }
        }
        None
    }

    /// Waits until everything is written. Nothing is given to it any more.
    pub(super) async fn finish(&mut self) -> Written {
        while !self.is_free() {
            if let Some(written) = self.pump().await {
                return written;
            }
        }
        self.sender = None;
        self.ended().await
    }

    fn room(
        room: &Arc<Semaphore>,
        bytes: usize,
    ) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<> {
        let bytes = u32::try_from(bytes.saturating_add(OVERHEAD)).unwrap_or(u32::MAX);
        let room = Arc::clone(room).acquire_many_owned(bytes.min(WAITING_BYTES));
        async move { room.await.ok() }
    }

    async fn ended(&mut self) -> Written {
        match (&mut self.done).await {
            Ok(written) => written,
            Err(_) => Written::Failed(Failure::run("output", "its thread ended", "")),
        }
    }
}

fn size(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

fn write_all(
    name: &str,
    target: Box<dyn Write + Send>,
    mut receiver: UnboundedReceiver<(Pieces, OwnedSemaphorePermit)>,
) -> Written {
    let mut target = BufWriter::with_capacity(64 << 10, target);
    let mut write = || -> std::io::Result<()> {
        while let Some((pieces, _room)) = receiver.blocking_recv() {
            for piece in &pieces {
                target.write_all(piece)?;
            }
            // Flushed when nothing follows at once: a person sees each line as it comes, a file gets large writes.
            if receiver.is_empty() {
                target.flush()?;
            }
        }
        target.flush()
    };
    let written = write();
    // Taken apart, because dropping it would try once more what has failed.
    drop(target.into_parts());
    match written {
        Ok(()) => Written::All,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Written::PipeClosed,
        Err(error) => Written::Failed(Failure::run(name, error.to_string(), "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc as std_mpsc;

    /// Takes a write when it is told to, and gives back what it took.
    struct Gate(std_mpsc::Receiver<std::io::Result<()>>, std_mpsc::Sender<usize>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().unwrap_or(Ok(()))?;
            self.1.send(bytes.len()).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[allow(clippy::type_complexity, reason = "a test's three ends")]
    fn gated() -> (
        Output,
        std_mpsc::Sender<std::io::Result<()>>,
        std_mpsc::Receiver<usize>,
    ) {
        let (go, wait) = std_mpsc::channel();
        let (took, taken) = std_mpsc::channel();
        let output = Output::over("gate".into(), Box::new(Gate(wait, took))).unwrap();
        (output, go, taken)
    }

    #[actix_rt::test]
    async fn a_slow_file_holds_up_its_giver_at_the_bound() {
        let (mut output, go, taken) = gated();
        let piece = Bytes::from(vec![1; WAITING_BYTES as usize / 2 - OVERHEAD]);
        for piece in [&piece, &piece, &Bytes::new()] {
            output.give(vec![piece.clone()]);
        }
        assert!(!output.is_free());
        assert!(output.pump().await.is_none() && output.pump().await.is_none());
        // The bound is reached: no room until something is written.
        assert!(futures::poll!(std::pin::pin!(output.pump())).is_pending());
        assert!(!output.is_free());
        go.send(Ok(())).unwrap();
        assert_eq!(taken.recv().unwrap(), piece.len());
        assert!(output.pump().await.is_none() && output.is_free());
        drop(go);
        assert!(matches!(output.finish().await, Written::All));
        assert_eq!(taken.iter().sum::<usize>(), piece.len());
    }

    #[actix_rt::test]
    async fn the_end_writes_what_waits() {
        let (mut output, go, taken) = gated();
        drop(go);
        let piece = Bytes::from(vec![1; WAITING_BYTES as usize]);
        (0..3).for_each(|_| output.give(vec![piece.clone()]));
        assert!(matches!(output.finish().await, Written::All));
        assert_eq!(taken.iter().sum::<usize>(), 3 * piece.len());
    }

    #[actix_rt::test]
    async fn a_reader_that_leaves_is_no_failure_but_a_full_disk_is() {
        for (kind, clean) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let (mut output, go, _taken) = gated();
            go.send(Err(kind.into())).unwrap();
            output.give(vec![Bytes::from_static(b"x")]);
            assert!(output.pump().await.is_none());
            let ended = output.pump().await;
            assert_eq!(matches!(ended, Some(Written::PipeClosed)), clean, "{ended:?}");
            assert_eq!(matches!(ended, Some(Written::Failed(_))), !clean, "{ended:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let failure = Output::open(Some(Path::new("/no/such/dir/x"))).unwrap_err();
        assert!(failure.to_string().starts_with("/no/such/dir/x: "));
    }
}

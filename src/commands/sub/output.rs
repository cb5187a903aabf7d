//! Where a subscriber's objects go: a thread that writes, and a bound on what may wait for it.

use crate::exit::Failure;
use bytes::Bytes;
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
#[derive(Debug)]
pub(super) struct Output {
    sender: Option<UnboundedSender<(Pieces, OwnedSemaphorePermit)>>,
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
            room: Arc::new(Semaphore::new(WAITING_BYTES as usize)),
            done,
        })
    }

    /// Waits for room for an object of so many bytes. May be dropped and asked again.
    pub(super) fn room(&self, bytes: usize) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<> {
        let bytes = u32::try_from(bytes.saturating_add(OVERHEAD)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes.min(WAITING_BYTES));
        async move { room.await.ok() }
    }

    /// Gives an object to the writer.
    pub(super) fn write(&self, pieces: Pieces, room: OwnedSemaphorePermit) {
        if let Some(sender) = &self.sender {
            // A writer that has ended says so by `ended`.
            drop(sender.send((pieces, room)));
        }
    }

    /// Resolves when the writer ends, which it does on its own only when it cannot write.
    pub(super) async fn ended(&mut self) -> Written {
        match (&mut self.done).await {
            Ok(written) => written,
            Err(_) => Written::Failed(Failure::run("output", "its thread ended", "")),
        }
    }

    /// Waits until everything is written.
    pub(super) async fn finish(mut self) -> Written {
        self.sender = None;
        self.ended().await
    }
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
        let (output, go, taken) = gated();
        let piece = Bytes::from(vec![1; WAITING_BYTES as usize / 2]);
        let room = output.room(piece.len() - OVERHEAD).await.unwrap();
        output.write(vec![piece.clone()], room);
        let room = output.room(piece.len() - OVERHEAD).await.unwrap();
        output.write(vec![piece.clone()], room);
        // The bound is reached: no room until something is written.
        assert!(futures::poll!(std::pin::pin!(output.room(0))).is_pending());
        go.send(Ok(())).unwrap();
        assert_eq!(taken.recv().unwrap(), piece.len());
        let room = output.room(0).await.unwrap();
        output.write(Vec::new(), room);
        drop(go);
        assert!(matches!(output.finish().await, Written::All));
        assert_eq!(taken.iter().sum::<usize>(), piece.len());
    }

    #[actix_rt::test]
    async fn a_reader_that_leaves_is_no_failure_but_a_full_disk_is() {
        for (kind, clean) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let (mut output, go, _taken) = gated();
            go.send(Err(kind.into())).unwrap();
            let room = output.room(1).await.unwrap();
            output.write(vec![Bytes::from_static(b"x")], room);
            let ended = output.ended().await;
            assert_eq!(matches!(ended, Written::PipeClosed), clean, "{ended:?}");
            assert_eq!(matches!(ended, Written::Failed(_)), !clean, "{ended:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let failure = Output::open(Some(Path::new("/no/such/dir/x"))).unwrap_err();
        assert!(failure.to_string().starts_with("/no/such/dir/x: "));
    }
}

//! Watching: the namespaces and tracks that a relay knows below a prefix, over all sessions that it takes.

use super::again::Tries;
use super::connect::{ClientError, Node, Options, Target};
use super::journey::{Journey, Next};
use super::moving::Way;
use super::sight::{MIN_WINDOW, Sight};
use super::silence;
use crate::shard::Env;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use slog::info;
use std::collections::VecDeque;

/// A change below the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A namespace is announced.
    Namespace(TrackNamespace),
    /// Nobody announces the namespace any more.
    NamespaceGone(TrackNamespace),
    /// A track is published, and not only by SUBSCRIBE to be had.
    Track(FullTrackName),
}

/// Watches one prefix. When its session fails it comes back, as far as [`Moving`](super::Moving) wants it, and tells what
/// has changed meanwhile.
#[derive(Debug)]
pub struct Watcher {
    options: Options,
    env: Env,
    target: Target,
    tries: Tries,
    prefix: Option<TrackNamespace>,
    /// The session of now.
    sight: Sight,
    /// What was different when the session of now began.
    ready: VecDeque<Change>,
}

impl Watcher {
    /// Connects and completes SETUP.
    ///
    /// # Errors
    /// [`ClientError`] says what stood in the way.
    pub async fn connect(target: &Target, mut options: Options) -> Result<Self, ClientError> {
        options.session.lists_namespaces = true;
        options.session.core.max_request_id = options.session.core.max_request_id.max(MIN_WINDOW);
        let env = Node::env(&options);
        let sight = Sight::connect(env.clone(), &options, target).await?;
        Ok(Self {
            options,
            env,
            target: target.clone(),
            tries: Tries::new(),
            prefix: None,
            sight,
            ready: VecDeque::new(),
        })
    }

    /// Watches the prefix, which one watcher does once.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the relay refuses, or why it could not be asked.
    pub async fn watch(&mut self, prefix: TrackNamespace) -> Result<(), ClientError> {
        self.sight.watch(prefix.clone()).await?;
        self.prefix = Some(prefix);
        Ok(())
    }

    /// The next change; first what is there already. Poll it to its end: dropped while another session is being made, it
    /// begins that anew when it is called again.
    ///
    /// # Errors
    /// Why the session ended for good, or [`ClientError::AskedAway`]: a watcher does not move, since what it was told here
    /// may not be so there.
    pub async fn next(&mut self) -> Result<Change, ClientError> {
        loop {
            if let Some(change) = self.take_ready() {
                return Ok(change);
            }
            self.sight.check()?;
            let (lot, conn) = (self.sight.lot(), self.sight.conn().clone());
            let gone = {
                let Self {
                    options,
                    env,
                    target,
                    tries,
                    prefix,
                    sight,
                    ..
                } = self;
                let journey = Journey {
                    moving: &options.moving,
                    tries,
                    from: target,
                    conn: &conn,
                    log: &options.log,
                };
                let arrive = async |way: &Way| arrive(way, (env, options, tries), prefix.as_ref()).await;
                let mut going = std::pin::pin!(journey.next(&lot, arrive));
                tokio::select! {
                    biased;
                    heard = sight.hear() => match heard {
                        Ok(_) => continue,
                        Err(ended) => match going.await {
                            Ok(None) => return Err(ended),
                            gone => gone,
                        },
                    },
                    gone = &mut going => gone,
                }
            };
            match gone {
                Ok(Some(next)) => self.take_over(next),
                Ok(None) => return Err(lot.ended().await.into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// A change that came already.
    pub fn take_ready(&mut self) -> Option<Change> {
        self.ready.pop_front().or_else(|| self.sight.ready.pop_front())
    }

    /// Waits until the relay has told everything that was there when this was asked, in this session.
    ///
    /// # Errors
    /// The end of the session, silence of the relay, or [`ClientError::AskedAway`].
    pub async fn settled(&mut self) -> Result<(), ClientError> {
        self.sight.settled().await
    }

    /// The connection, for its figures.
    #[must_use]
    pub fn conn(&self) -> crate::transport::ConnHandle {
        self.sight.conn().clone()
    }

    /// Ends the session in an orderly way and waits until the relay was told.
    pub async fn close(mut self) {
        self.sight.close().await;
    }

    /// Another session goes on; what it has told is all there is, and what differs from before is news.
    fn take_over(&mut self, next: Next<Sight>) {
        info!(self.options.log, "another session goes on"; "step" => ?next.step());
        self.options.moving.notice.tell(next.step());
        let old = std::mem::replace(&mut self.sight, next.there);
        let sight = &mut self.sight;
        sight.ready.clear();
        let gone = old.there.keys().filter(|name| !sight.there.contains_key(name));
        self.ready.extend(gone.cloned().map(Change::NamespaceGone));
        let new = sight.there.keys().filter(|name| !old.there.contains_key(name));
        self.ready.extend(new.cloned().map(Change::Namespace));
        let new = sight.tracks.difference(&old.tracks);
        self.ready.extend(new.cloned().map(Change::Track));
        // Offered again it has begun anew, which is no change to somebody who lists.
        sight.tracks.extend(old.tracks.iter().cloned());
    }
}

/// A session at `way` that has been told all there is below the prefix.
async fn arrive(
    way: &Way,
    (env, options, tries): (&Env, &Options, &Tries),
    prefix: Option<&TrackNamespace>,
) -> Result<Sight, ClientError> {
    let connect = || way.connect(|target| async move { Sight::connect(env.clone(), options, &target).await });
    loop {
        let mut sight = tries.race(connect).await?;
        let conn = sight.conn().clone();
        let told = async {
            if let Some(prefix) = prefix {
                sight.watch(prefix.clone()).await?;
            }
            sight.settled().await
        };
        let told = tokio::select! {
            told = told => told,
            () = silence::suspected(&conn) => Err(ClientError::Timeout),
        };
        match told {
            Ok(()) => {
                tries.succeeded();
                return Ok(sight);
            }
            Err(error) if error.is_lasting() => return Err(error),
            Err(error) => tries.note(error),
        }
        drop(sight);
        tokio::time::sleep(tries.pause()).await;
    }
}

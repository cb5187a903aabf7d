//! Publishing: tracks of this process, offered to a relay, and to the next one when that relay asks to leave.

use super::connect::{ClientError, Ended, Node, Options, Target};
use super::moving;
use super::voice::{Offer, Voice};
use super::writer::TrackWriter;
use crate::registry::RegisterTrack;
use crate::shard::Env;
use crate::track::handle::LogId;
use crate::track::{self, Source, SourceId, TrackActor, TrackRef, UpstreamTerms};
use actix::Actor;
use actix_rt::task::JoinHandle;
use bytes::Bytes;
use laps_protocol::moqt::name::FullTrackName;
use slog::{info, warn};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the relay may take to answer a request.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// How a track is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// PUBLISH_NAMESPACE, and the relay subscribes.
    #[default]
    Announce,
    /// PUBLISH.
    Publish,
}

/// Where a publisher stands.
#[derive(Clone, Debug)]
enum Standing {
    /// With the relay that it has moved to so many times.
    At(u64),
    /// Its session is over, and why.
    Over(Ended),
}

/// What the publisher shares with the task that follows GOAWAY.
#[derive(Debug)]
struct Inner {
    options: Options,
    env: Env,
    /// The session that new tracks are offered in.
    voice: RefCell<Rc<Voice>>,
    /// Everything that was offered.
    offers: RefCell<Vec<Offer>>,
    /// Sessions of relays before, until nobody reads there.
    parting: RefCell<Vec<Rc<Voice>>>,
    standing: watch::Sender<Standing>,
}

/// A session that publishes. When its relay says GOAWAY it moves: it offers its tracks at the relay it is sent to, and
/// leaves the old one when nobody reads there any more.
#[derive(Debug)]
pub struct Publisher {
    inner: Rc<Inner>,
    standing: watch::Receiver<Standing>,
    follower: JoinHandle<()>,
}

impl Publisher {
    /// Connects and completes SETUP.
    ///
    /// # Errors
    /// [`ClientError`] says what stood in the way.
    pub async fn connect(target: &Target, options: Options) -> Result<Self, ClientError> {
        let env = Node::env(&options);
        let voice = Voice::connect(&env, &options, target).await?;
        let (told, standing) = watch::channel(Standing::At(0));
        let inner = Rc::new(Inner {
            options,
            env,
            voice: RefCell::new(Rc::new(voice)),
            offers: RefCell::default(),
            parting: RefCell::default(),
            standing: told,
        });
        let follower = actix_rt::spawn(follow(Rc::clone(&inner)));
        Ok(Self {
            inner,
            standing,
            follower,
        })
    }

    /// Offers a track; objects are written to what is returned.
    ///
    /// # Errors
    /// [`ClientError`] when the relay refuses.
    pub async fn publish(&mut self, name: FullTrackName, flow: Flow) -> Result<TrackWriter, ClientError> {
        let (wanted, wants) = watch::channel(false);
        let (new_group, new_groups) = watch::channel(0);
        let source = SourceId::next();
        let env = &self.inner.env;
        let actor = TrackActor::new(track::Birth {
            name: name.clone(),
            epoch: 0,
            config: Arc::clone(&env.track),
            registry: env.registry.clone(),
            log: env.log.clone(),
            faults: env.faults.clone(),
            guard: None,
            terms: UpstreamTerms::default(),
            source: (source, Source::Local { wanted, new_group }),
        });
        let log = actor.log_id();
        let home = actor.start();
        let track = TrackRef {
            name,
            shard: 0,
            home: home.clone(),
            epoch: 0,
        };
        env.registry.signal(RegisterTrack(track.clone()));
        self.offer(Offer { track, log, flow }).await?;
        Ok(TrackWriter::new(home, log, source, wants, new_groups))
    }

    async fn offer(&mut self, offer: Offer) -> Result<(), ClientError> {
        let voice = self.inner.voice();
        let moves = match &*self.standing.borrow_and_update() {
            Standing::At(moves) => *moves,
            Standing::Over(ended) => return Err(ended.clone().into()),
        };
        // From here on the follower offers it too, wherever it goes.
        self.inner.offers.borrow_mut().push(offer.clone());
        match voice.offer(&offer).await {
            Err(error) if voice.is_asked_away() => {
                info!(self.inner.options.log, "offered at the next relay"; "here" => %error);
                let there = |standing: &Standing| !matches!(standing, Standing::At(now) if *now == moves);
                match self.standing.wait_for(there).await.as_deref() {
                    Ok(Standing::At(_)) => Ok(()),
                    Ok(Standing::Over(ended)) => Err(ended.clone().into()),
                    Err(_) => Err(error),
                }
            }
            Err(error) => {
                let mut offers = self.inner.offers.borrow_mut();
                offers.retain(|other| other.track.home != offer.track.home);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Resolves when the session is over and no other took its place, with why.
    pub async fn closed(&mut self) -> ClientError {
        let over = |standing: &Standing| matches!(standing, Standing::Over(_));
        match self.standing.wait_for(over).await.as_deref() {
            Ok(Standing::Over(ended)) => ended.clone().into(),
            Ok(Standing::At(_)) | Err(_) => ClientError::Closed("the session failed".to_owned()),
        }
    }

    /// The connection, for its figures.
    #[must_use]
    pub fn conn(&self) -> crate::transport::ConnHandle {
        self.inner.voice().conn().clone()
    }

    /// Withdraws what was announced, ends the session in an orderly way and waits until the relay was told.
    pub async fn close(self) {
        self.follower.abort();
        let parting = self.inner.parting.take();
        let now = std::iter::once(self.inner.voice());
        let all: Vec<_> = parting.into_iter().chain(now).collect();
        futures::future::join_all(all.iter().map(|voice| voice.leave())).await;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Inner {
    fn voice(&self) -> Rc<Voice> {
        Rc::clone(&self.voice.borrow())
    }

    fn next_offer(&self, offered: &HashSet<LogId>) -> Option<Offer> {
        next_offer(&mut self.offers.borrow_mut(), offered)
    }

    /// A session at the next relay, in which everything is offered.
    async fn move_from(&self, old: &Voice, uri: &Bytes) -> Result<(Rc<Voice>, String), ClientError> {
        let way = moving::Way::to(uri, old.target())?;
        let patience = self.options.moving.patience;
        let there = moving::keep_trying(patience, old.over(), || async {
            let voice = way
                .connect(|target| async move { Voice::connect(&self.env, &self.options, &target).await })
                .await?;
            // One by one, since meanwhile one may be added and another be over.
            let mut offered = HashSet::new();
            while let Some(offer) = self.next_offer(&offered) {
                if let Err(error) = voice.offer(&offer).await {
                    voice.leave().await;
                    return Err(error);
                }
                offered.insert(offer.log);
            }
            Ok(Rc::new(voice))
        });
        Ok((there.await?, way.name()))
    }
}

/// The first of the tracks that is not over and not among those that were offered.
fn next_offer(offers: &mut Vec<Offer>, offered: &HashSet<LogId>) -> Option<Offer> {
    offers.retain(|offer| offer.track.home.connected());
    offers.iter().find(|offer| !offered.contains(&offer.log)).cloned()
}

/// Moves to the next relay each time that the one of now asks for it.
async fn follow(inner: Rc<Inner>) {
    let mut moves = 0;
    loop {
        let old = inner.voice();
        let Some(uri) = old.asked_away().await else {
            inner.standing.send_replace(Standing::Over(old.closed().await));
            return;
        };
        match inner.move_from(&old, &uri).await {
            Ok((voice, name)) => {
                info!(inner.options.log, "moved because the relay asked for it"; "to" => &name);
                inner.options.moving.notice.tell(&name);
                *inner.voice.borrow_mut() = voice;
                moves += 1;
                inner.standing.send_replace(Standing::At(moves));
                // MOQT-14 §8.4.2 [D14-GOAWAY-3]: who has not moved yet is served at the old relay too.
                inner.parting.borrow_mut().push(Rc::clone(&old));
                let left = Rc::clone(&inner);
                drop(actix_rt::spawn(async move {
                    old.unread().await;
                    old.leave().await;
                    left.parting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &old));
                }));
            }
            Err(error) => {
                warn!(inner.options.log, "cannot move where the relay sends us"; "error" => %error);
                let why = old.closed().await.why;
                let ended = Ended::new(format!("{why}; before that, {error}"), None);
                inner.standing.send_replace(Standing::Over(ended));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegistryActor;
    use crate::supervise::inject::Faults;
    use actix::{Addr, Context};
    use laps_protocol::moqt::name::TrackNamespace;
    use slog::{Discard, Logger, o};

    /// A track whose actor is there as long as `home` is.
    fn offer(registry: &Addr<RegistryActor>, home: &Context<TrackActor>) -> Offer {
        let namespace = TrackNamespace::new([Bytes::from_static(b"ns")]).unwrap();
        let name = FullTrackName::new(namespace, Bytes::from_static(b"track")).unwrap();
        let actor = TrackActor::new(track::Birth {
            name: name.clone(),
            epoch: 0,
            config: Arc::default(),
            registry: registry.clone().into(),
            log: Logger::root(Discard, o!()),
            faults: Faults::default(),
            guard: None,
            terms: UpstreamTerms::default(),
            source: (
                SourceId::next(),
                Source::Local {
                    wanted: watch::Sender::new(false),
                    new_group: watch::Sender::new(0),
                },
            ),
        });
        let track = TrackRef {
            name,
            shard: 0,
            home: actix::AsyncContext::address(home),
            epoch: 0,
        };
        let (log, flow) = (actor.log_id(), Flow::Announce);
        Offer { track, log, flow }
    }

    /// D14-GOAWAY-2: a track that ends while the others are offered at the next relay does not hide one of them.
    #[actix::test]
    async fn each_track_is_offered_though_one_ends_meanwhile() {
        let registry = actix::AsyncContext::address(&Context::<RegistryActor>::new());
        let mut homes: Vec<_> = (0..3).map(|_| Context::new()).collect();
        let mut offers: Vec<_> = homes.iter().map(|home| offer(&registry, home)).collect();
        let logs: Vec<_> = offers.iter().map(|offer| offer.log).collect();
        let mut offered = HashSet::new();
        let mut order = Vec::new();
        while let Some(next) = next_offer(&mut offers, &offered) {
            offered.insert(next.log);
            order.push(next.log);
            if order.len() == 1 {
                drop(homes.remove(0));
            }
        }
        assert_eq!(order, logs);
    }
}

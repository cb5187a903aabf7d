//! Publishing: tracks of this process, offered to a relay, and to the next one when that relay asks to leave. When the
//! session fails they are offered again in another one.

use super::again::Tries;
use super::connect::{ClientError, Ended, Node, Options, Target};
use super::journey::{Fate, Journey, Next};
use super::moving::Way;
use super::tether::Tether;
use super::voice::{Offer, Voice};
use super::writer::TrackWriter;
use crate::registry::RegisterTrack;
use crate::shard::Env;
use crate::track::handle::LogId;
use crate::track::{self, Source, SourceId, TrackActor, TrackRef, UpstreamTerms};
use actix::Actor;
use actix_rt::task::JoinHandle;
use laps_protocol::moqt::name::FullTrackName;
use slog::{info, warn};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the relay may take to answer a request.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// How long a session that is only suspected to be over is kept beside the one that took its place: what it has sent may
/// still arrive, and what comes twice is passed on once.
const BESIDE: Duration = Duration::from_secs(5);

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
    /// In the session of this number.
    At(u64),
    /// Its session is over, and why.
    Over(Rc<ClientError>),
}

/// What the publisher shares with the task that makes the next session.
#[derive(Debug)]
struct Inner {
    options: Options,
    env: Env,
    tries: Tries,
    tether: Tether,
    /// The number of the last session that was tried.
    sessions: Cell<u64>,
    /// The session that new tracks are offered in.
    voice: RefCell<Rc<Voice>>,
    /// Everything that was offered.
    offers: RefCell<Vec<Offer>>,
    /// Sessions of relays before, until nobody reads there.
    parting: RefCell<Vec<Rc<Voice>>>,
    standing: watch::Sender<Standing>,
}

/// A session that publishes. When its relay says GOAWAY it moves: it offers its tracks at the relay it is sent to, and
/// leaves the old one when nobody reads there any more. When its session fails it comes back, as far as
/// [`Moving`](super::Moving) wants it.
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
        let tether = Tether::new(options.moving.comes_back());
        let voice = Voice::connect(&env, &options, target, (tether.clone(), 0)).await?;
        let (told, standing) = watch::channel(Standing::At(0));
        let inner = Rc::new(Inner {
            options,
            env,
            tries: Tries::new(),
            tether,
            sessions: Cell::new(0),
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
        let hold = self.inner.tether.hold();
        Ok(TrackWriter::new(home, log, source, (wants, hold), new_groups))
    }

    async fn offer(&mut self, offer: Offer) -> Result<(), ClientError> {
        let voice = self.inner.voice();
        let moves = match &*self.standing.borrow_and_update() {
            Standing::At(moves) => *moves,
            Standing::Over(why) => return Err(again(why)),
        };
        // From here on the follower offers it too, wherever it goes.
        self.inner.offers.borrow_mut().push(offer.clone());
        match voice.offer(&offer).await {
            Err(error) if voice.is_left(self.inner.options.moving.comes_back()) => {
                info!(self.inner.options.log, "offered in the next session"; "here" => %error);
                let there = |standing: &Standing| !matches!(standing, Standing::At(now) if *now == moves);
                match self.standing.wait_for(there).await.as_deref() {
                    Ok(Standing::At(_)) => Ok(()),
                    Ok(Standing::Over(why)) => Err(again(why)),
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
            Ok(Standing::Over(why)) => again(why),
            Ok(Standing::At(_)) | Err(_) => Ended::unsaid().into(),
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

    /// One for each attempt: of several at once one is taken, and what becomes of the others says nothing of that one.
    fn next_number(&self) -> u64 {
        let number = self.sessions.get() + 1;
        self.sessions.set(number);
        number
    }

    /// A session at `way`, in which everything is offered.
    async fn arrive(&self, way: &Way) -> Result<Rc<Voice>, ClientError> {
        let connect = || {
            way.connect(|target| async move {
                let tie = (self.tether.clone(), self.next_number());
                Voice::connect(&self.env, &self.options, &target, tie).await
            })
        };
        loop {
            let voice = self.tries.race(connect).await?;
            match self.offer_all(&voice).await {
                Ok(()) => {
                    self.tries.succeeded();
                    return Ok(Rc::new(voice));
                }
                Err(error) => {
                    voice.leave().await;
                    if error.is_lasting() {
                        return Err(error);
                    }
                    self.tries.note(error);
                }
            }
            tokio::time::sleep(self.tries.pause()).await;
        }
    }

    async fn offer_all(&self, voice: &Voice) -> Result<(), ClientError> {
        // One by one, since meanwhile one may be added and another be over.
        let mut offered = HashSet::new();
        while let Some(offer) = self.next_offer(&offered) {
            voice.offer_awake(&offer).await?;
            offered.insert(offer.log);
        }
        Ok(())
    }

    /// The next session takes the place of `old`.
    fn take_over(self: &Rc<Self>, old: Rc<Voice>, next: Next<Rc<Voice>>) {
        info!(self.options.log, "another session goes on"; "step" => ?next.step());
        self.options.moving.notice.tell(next.step());
        let number = next.there.number;
        let (failed, suspected) = (next.lost.is_some(), next.suspected);
        if failed {
            self.tether.back(number);
        } else {
            self.tether.moved(number);
        }
        *self.voice.borrow_mut() = next.there;
        self.standing.send_replace(Standing::At(number));
        // MOQT-14 §8.4.2 [D14-GOAWAY-3]: who has not moved yet is served at the old relay too.
        self.parting.borrow_mut().push(Rc::clone(&old));
        let left = Rc::clone(self);
        drop(actix_rt::spawn(async move {
            if suspected {
                drop(tokio::time::timeout(BESIDE, old.over()).await);
            } else if !failed {
                old.unread().await;
            }
            old.leave().await;
            left.parting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &old));
        }));
    }
}

/// The first of the tracks that is not over and not among those that were offered.
fn next_offer(offers: &mut Vec<Offer>, offered: &HashSet<LogId>) -> Option<Offer> {
    offers.retain(|offer| offer.track.home.connected());
    offers.iter().find(|offer| !offered.contains(&offer.log)).cloned()
}

/// Goes on in the next session each time that the one of now is to be left.
async fn follow(inner: Rc<Inner>) {
    let why = loop {
        let old = inner.voice();
        let journey = Journey {
            moving: &inner.options.moving,
            tries: &inner.tries,
            from: old.target(),
            conn: old.conn(),
            log: &inner.options.log,
        };
        let next = journey.next(&*old, async |way| inner.arrive(way).await);
        match next.await {
            Ok(Some(next)) => inner.take_over(Rc::clone(&old), next),
            Ok(None) => break old.closed().await.into(),
            Err(error @ ClientError::Lost { .. }) => break error,
            Err(error) => {
                warn!(inner.options.log, "no other session can be had"; "error" => %error);
                let why = old.closed().await.why;
                break if matches!(error, ClientError::NotLetIn(_) | ClientError::Rejected(_)) {
                    error
                } else {
                    ClientError::Closed(format!("{why}; before that, {error}"))
                };
            }
        }
    };
    inner.tether.over();
    inner.standing.send_replace(Standing::Over(Rc::new(why)));
}

/// What each who asks is told.
fn again(why: &ClientError) -> ClientError {
    match why {
        ClientError::NotLetIn(why) => ClientError::NotLetIn(why.clone()),
        ClientError::Broken(why) => ClientError::Broken(why.clone()),
        ClientError::Closed(why) => ClientError::Closed(why.clone()),
        ClientError::Rejected(error) => ClientError::Rejected(error.clone()),
        ClientError::Lost { why, tried, last } => ClientError::Lost {
            why: why.clone(),
            tried: *tried,
            last: Arc::clone(last),
        },
        ClientError::Tls(_)
        | ClientError::Start(_)
        | ClientError::Connect(_)
        | ClientError::Unresolved(_)
        | ClientError::Elsewhere { .. }
        | ClientError::AskedAway(_)
        | ClientError::Token(_)
        | ClientError::Command(_)
        | ClientError::Timeout => ClientError::Broken(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegistryActor;
    use crate::supervise::inject::Faults;
    use actix::{Addr, Context};
    use bytes::Bytes;
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

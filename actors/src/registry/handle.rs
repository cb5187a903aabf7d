//! The registry of now, for everybody who asks it or tells it something.

use super::RegistryActor;
use super::messages::Reregister;
use super::roll::RollCall;
use crate::supervise::mailbox::{self, AskError, LONGEST_ASK, Mailbox};
use actix::{Addr, Message, Recipient};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Lives of the registry in which one question is asked at most. A question that ends each registry that hears it is
/// given up before it has used up what the registry may fail.
const LIVES: u32 = 3;
/// The pause before a registry is asked again that lives, or is still being taken down, and gave no answer.
const PAUSE: Duration = Duration::from_millis(10);

/// One life of the registry.
#[derive(Clone, Debug)]
struct Life {
    epoch: u32,
    registry: Addr<RegistryActor>,
}

#[derive(Debug)]
struct Inner {
    life: watch::Sender<Life>,
    /// Who is told of a new life, by number of the shard.
    shards: watch::Sender<BTreeMap<usize, Recipient<Reregister>>>,
    /// A registry that is lost comes back.
    supervised: bool,
}

/// Where the registry is. Clones share it, on all threads.
///
/// A registry that failed is replaced by one that knows nothing and asks everybody to say again what is theirs
/// ([`Reregister`]). So a question may be asked again in the next life, and a signal that was lost with a life needs
/// no repetition: what it told is true of whoever re-registers.
#[derive(Clone, Debug)]
pub struct RegistryHandle(Arc<Inner>);

impl Default for RegistryHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Addr<RegistryActor>> for RegistryHandle {
    /// A registry that nobody starts again, as that of a client: without it questions fail at once.
    fn from(registry: Addr<RegistryActor>) -> Self {
        Self::with(registry, false)
    }
}

impl RegistryHandle {
    /// A handle that waits for its first registry, which [`Self::renew`] brings.
    #[must_use]
    pub fn new() -> Self {
        // An address whose mailbox is closed.
        let nobody = actix::AsyncContext::address(&actix::Context::<RegistryActor>::new());
        Self::with(nobody, true)
    }

    fn with(registry: Addr<RegistryActor>, supervised: bool) -> Self {
        Self(Arc::new(Inner {
            life: watch::Sender::new(Life { epoch: 0, registry }),
            shards: watch::Sender::default(),
            supervised,
        }))
    }

    fn life(&self) -> Life {
        self.0.life.borrow().clone()
    }

    /// The address of the registry of now. It is worth nothing when that registry fails, so nobody keeps it.
    #[must_use]
    pub fn now(&self) -> Addr<RegistryActor> {
        self.0.life.borrow().registry.clone()
    }

    /// Which life of the registry this is; 0 for the first.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.0.life.borrow().epoch
    }

    /// Waits for a life after number `epoch`, which may be there already, and gives its number.
    ///
    /// For watchers that live beside the shards: those on a shard are told by [`Reregister`]. None when no registry can
    /// follow any more.
    pub async fn life_after(&self, epoch: u32) -> Option<u32> {
        let mut lives = self.0.life.subscribe();
        let next = lives.wait_for(|now| now.epoch > epoch).await;
        next.ok().map(|life| life.epoch)
    }

    /// Whether a registry that is lost is followed by another one.
    #[must_use]
    pub fn comes_back(&self) -> bool {
        self.0.supervised
    }

    /// From now on this is the registry, in its life number `epoch`; every shard is asked to say again what is its own.
    ///
    /// The registry hears of the end of that, however it ends.
    pub fn renew(&self, registry: Addr<RegistryActor>, epoch: u32) {
        let roll = RollCall::of(registry.clone(), epoch);
        // First the life, then the shards: whoever begins after its shard was asked already finds this registry.
        self.0.life.send_replace(Life { epoch, registry });
        let shards = self.0.shards.borrow().clone();
        for (shard, told) in shards {
            let roll = roll.clone();
            mailbox::signal(&told, Reregister { epoch, shard, roll });
        }
    }

    /// This shard wants to be told of new lives, instead of the one that had its number before.
    pub fn enlist(&self, shard: usize, told: Recipient<Reregister>) {
        if self.0.supervised {
            self.0.shards.send_modify(|shards| {
                shards.insert(shard, told);
            });
        }
    }

    /// Tells the registry of now; false when there is none. See [`mailbox::signal`].
    pub fn signal<M>(&self, message: M) -> bool
    where
        Addr<RegistryActor>: Mailbox<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        mailbox::signal(&self.now(), message)
    }

    /// Asks the registry, and the next one when it is lost over the question, all within one deadline. See
    /// [`mailbox::ask`]: the message is placed when this is called.
    ///
    /// Only for questions that may be asked twice: what the first registry did about it is either lost with it, or told
    /// to the next one by whoever it was done to.
    ///
    /// # Errors
    /// [`AskError::Deadline`] when time runs out, [`AskError::MailboxClosed`] when the registry does not come back or
    /// was lost several times.
    pub fn ask<M>(
        &self,
        question: M,
        deadline: Duration,
    ) -> impl Future<Output = Result<M::Result, AskError>> + use<M>
    where
        Addr<RegistryActor>: Mailbox<M>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
    {
        let until = Instant::now() + deadline.min(LONGEST_ASK);
        let handle = self.clone();
        let mut life = handle.life();
        let mut asked = mailbox::ask(&life.registry, question.clone(), deadline);
        async move {
            let mut lives = 1;
            loop {
                match asked.await {
                    Err(AskError::MailboxClosed) if handle.0.supervised && lives < LIVES => {}
                    answer => return answer,
                }
                let next = handle.after(&life, until).await?;
                lives += u32::from(next.registry != life.registry);
                life = next;
                let left = until.saturating_duration_since(Instant::now());
                asked = mailbox::ask(&life.registry, question.clone(), left);
            }
        }
    }

    /// The life to ask after this one gave no answer: the next one, or this one again when it is still there.
    async fn after(&self, life: &Life, until: Instant) -> Result<Life, AskError> {
        let mut lives = self.0.life.subscribe();
        let lives_on = life.registry.connected();
        let patience = if lives_on {
            until.min(Instant::now() + PAUSE)
        } else {
            until
        };
        let next = lives.wait_for(|now| now.registry != life.registry);
        match timeout_at(patience, next).await {
            Ok(Ok(next)) => Ok(next.clone()),
            Ok(Err(_)) => Err(AskError::MailboxClosed),
            Err(_) if patience < until => Ok(life.clone()),
            Err(_) => Err(AskError::Deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ResolveTrack;
    use crate::track::ReaderId;
    use actix::{Actor, AsyncContext, Context};
    use bytes::Bytes;
    use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
    use slog::{Discard, Logger, o};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn question() -> ResolveTrack {
        let namespace = TrackNamespace::new([Bytes::from_static(b"live")]).unwrap();
        ResolveTrack {
            name: FullTrackName::new(namespace, Bytes::new()).unwrap(),
            reader: ReaderId::next(),
            stale: None,
            wait: false,
            except: None,
            seek: true,
        }
    }

    /// A registry that reads nothing until it is dropped.
    fn silent(handle: &RegistryHandle, epoch: u32) -> Context<RegistryActor> {
        let context = Context::new();
        handle.renew(context.address(), epoch);
        context
    }

    fn running(handle: &RegistryHandle, epoch: u32) {
        let registry = RegistryActor::new(Logger::root(Discard, o!()), 1, None);
        handle.renew(registry.start(), epoch);
    }

    #[actix::test]
    async fn a_question_is_answered_by_the_next_life() {
        let handle = RegistryHandle::new();
        let first = silent(&handle, 0);
        let asked = handle.ask(question(), PATIENCE);
        let later = async {
            drop(first);
            tokio::task::yield_now().await;
            running(&handle, 1);
        };
        let (answer, ()) = futures::join!(asked, later);
        assert!(
            answer.unwrap().is_err_and(|why| why.for_now),
            "nobody publishes it"
        );
        assert_eq!(handle.epoch(), 1);
    }

    #[actix::test]
    async fn a_question_waits_for_the_first_life() {
        let handle = RegistryHandle::new();
        let asked = handle.ask(question(), PATIENCE);
        let (answer, ()) = futures::join!(asked, async { running(&handle, 0) });
        assert!(answer.is_ok());
    }

    #[actix::test]
    async fn all_lives_share_one_deadline() {
        tokio::time::pause();
        let handle = RegistryHandle::new();
        drop(silent(&handle, 0));
        let began = Instant::now();
        let answer = handle.ask(question(), PATIENCE).await;
        assert!(matches!(answer, Err(AskError::Deadline)));
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    }

    /// What ends each registry that hears it is not asked for ever: the registry may fail five times in ten seconds.
    #[actix::test]
    async fn a_question_that_ends_every_registry_is_given_up() {
        let handle = RegistryHandle::new();
        let mut life = Some(silent(&handle, 0));
        let asked = handle.ask(question(), PATIENCE);
        let deaths = async {
            for epoch in 1..=LIVES {
                drop(life.take());
                tokio::task::yield_now().await;
                life = Some(silent(&handle, epoch));
                tokio::task::yield_now().await;
            }
        };
        let (answer, ()) = futures::join!(asked, deaths);
        assert!(matches!(answer, Err(AskError::MailboxClosed)));
    }

    #[actix::test]
    async fn without_supervision_there_is_no_next_life() {
        let handle = RegistryHandle::from(Context::<RegistryActor>::new().address());
        let answer = handle.ask(question(), PATIENCE).await;
        assert!(matches!(answer, Err(AskError::MailboxClosed)));
    }
}

//! Finding a track and attaching to it.

use crate::limits::{Account, Kind, Lease, Questions};
use crate::owner::Owner;
use crate::registry::ResolveTrack;
use crate::shard::{Env, OpenReplica};
use crate::supervise::mailbox::{self, AskError};
use crate::track::{
    Attach, Attached, Detach, ReaderId, ReplicaActor, SetWants, TrackActor, TrackRef, Unavailable, Upstream,
    WantNewGroup, Wants, Wish,
};
use actix::Addr;
use laps_protocol::moqt::message::RequestErrorReason;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::relay::load::OVERLOADED;
use slog::Logger;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a track may turn out dead between being found and being attached to.
const ATTEMPTS: usize = 3;
/// How long the registry may take to say what it knows, whatever a subscription is to wait: a busy one must not look
/// empty. Making a track is part of it, for which a shard has five seconds.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(6);
/// The pause before a track that has just ended is asked for again: the news of its end is on its way.
const RETRY: Duration = Duration::from_millis(10);

/// A place among a session's requests that wait for a publisher.
///
/// All sessions share the registry's bound, so that one of them alone must not be able to use it up. [D14-LIM-2]
pub(super) fn waiting_place(account: &Account, log: &Logger) -> Result<Lease, Unavailable> {
    account.take(Kind::Waiting, 1).map_err(|full| {
        account.note(log, full);
        Unavailable::new(RequestErrorReason::InternalError, full.phrase())
    })
}

/// The track's copy on this arbiter.
#[derive(Clone, Debug)]
enum Local {
    Home(Addr<TrackActor>),
    Replica(Addr<ReplicaActor>),
}

/// One reader's hold on a track; letting go of it detaches.
#[derive(Debug)]
pub(crate) struct Attachment {
    local: Local,
    reader: ReaderId,
    wish: Arc<Wish>,
    new_group: WantNewGroup,
}

impl Attachment {
    pub(super) fn set_wants(&self, wants: Wants) {
        if !self.wish.set(wants) {
            return;
        }
        let msg = SetWants {
            reader: self.reader,
            wish: Arc::clone(&self.wish),
        };
        match &self.local {
            Local::Home(track) => mailbox::signal(track, msg),
            Local::Replica(track) => mailbox::signal(track, msg),
        };
    }

    pub(super) fn want_new_group(&self) {
        let Some(msg) = self.new_group.again() else {
            return;
        };
        match &self.local {
            Local::Home(track) => mailbox::signal(track, msg),
            Local::Replica(track) => mailbox::signal(track, msg),
        };
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let msg = Detach { reader: self.reader };
        match &self.local {
            Local::Home(track) => mailbox::signal(track, msg),
            Local::Replica(track) => mailbox::signal(track, msg),
        };
    }
}

/// What is looked for, and how.
#[derive(Debug)]
pub(crate) struct Search {
    /// What the shard shares.
    pub(crate) env: Env,
    /// The track.
    pub(crate) name: FullTrackName,
    /// What the asker has, of which it takes a place among those that wait.
    pub(crate) account: Account,
    /// Such a place that is kept for it already.
    pub(crate) slot: Option<Lease>,
    /// How long a publisher is waited for; none for as long as it takes.
    pub(crate) wait: Option<Duration>,
    /// The asker, when it may not have what it alone publishes.
    pub(crate) except: Option<Upstream>,
    /// The asker is a client, see [`ResolveTrack::seek`].
    pub(crate) seek: bool,
    /// Where it logs.
    pub(crate) log: Logger,
}

impl Search {
    /// A search of `owner` for something to read, with the wait that is configured.
    pub(crate) fn new(
        env: &Env,
        name: &FullTrackName,
        account: &Account,
        owner: &Owner,
        log: &Logger,
    ) -> Self {
        Self {
            env: env.clone(),
            name: name.clone(),
            account: account.clone(),
            slot: None,
            wait: env.session.subscribe_wait,
            except: owner.except(env),
            seek: owner.is_client(),
            log: log.clone(),
        }
    }
}

/// Why a track that was found is of no use to who looked for it.
#[derive(Debug)]
pub(crate) enum Missed {
    /// Nothing else helps.
    Final(Unavailable),
    /// It is over, or was on its way to its end: it is looked for again.
    Gone {
        /// The life of it that the registry should forget.
        stale: Option<u64>,
        /// What is told when it is not found again.
        why: Unavailable,
    },
}

/// Finds the track and attaches to its copy on this shard; waits for a publisher as the search says. `attach` says how it
/// attaches and whether it wants a new group.
pub(crate) async fn locate(
    search: Search,
    attach: impl Fn() -> (Attach, bool),
) -> Result<(Attachment, Attached), Unavailable> {
    let env = search.env.clone();
    let begin = || {
        let (attach, new_group) = attach();
        (attach.reader, (attach, new_group))
    };
    let take = async |track: &TrackRef, (attach, new_group): (Attach, bool)| match open(
        &env,
        track,
        attach.own,
        attach.wants,
    )
    .await
    {
        Some(local) => take_place(&env, track, local, attach, new_group).await,
        None => Err(keeps_failing(track)),
    };
    find(search, begin, take).await
}

/// Attaches to the home of a track that was found, wherever it lives: nothing is to be read.
pub(crate) async fn attach_at_home(
    env: &Env,
    track: &TrackRef,
    attach: Attach,
) -> Result<(Attachment, Attached), Missed> {
    take_place(env, track, Local::Home(track.home.clone()), attach, false).await
}

/// Finds the track and does `with` it what it is looked for, as whom `begin` says; waits for a publisher as the search says.
pub(crate) async fn find<A, T>(
    search: Search,
    begin: impl Fn() -> (ReaderId, A),
    with: impl AsyncFn(&TrackRef, A) -> Result<T, Missed>,
) -> Result<T, Unavailable> {
    let Search {
        env,
        name,
        account,
        mut slot,
        wait,
        except,
        seek,
        log,
    } = search;
    let mut stale = None;
    // [D14-REQ-10]: whoever waits for a publisher is answered by then.
    let until = wait.map(|wait| Instant::now() + wait);
    let mut attempts = 0;
    loop {
        let (reader, asker) = begin();
        let found = {
            let place = || slot.take().map_or_else(|| waiting_place(&account, &log), Ok);
            let questions = account.questions();
            resolve(
                &env,
                questions,
                Question {
                    name: &name,
                    reader,
                    stale,
                    except: except.as_ref(),
                    seek,
                },
                until,
                place,
            )
            .await
        };
        let track = match found {
            // MOQT-14 §8.4 [D14-SUB-10]: its publisher was lost with a shard and is about to be withdrawn, which is no answer
            // for those who may wait for the next.
            Err(why) if why.for_now && is_patient(until) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            found => found?,
        };
        attempts += 1;
        let failed = match with(&track, asker).await {
            Ok(done) => return Ok(done),
            Err(Missed::Final(why)) => return Err(why),
            Err(Missed::Gone { stale: life, why }) => {
                stale = life;
                why
            }
        };
        // MOQT-14 §8.4 [D14-SUB-10]: the end of one publisher is no answer for those who may wait for the next.
        let patient = failed.for_now && is_patient(until);
        if attempts >= ATTEMPTS && !patient {
            return Err(failed);
        }
        if failed.for_now {
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn take_place(
    env: &Env,
    track: &TrackRef,
    local: Local,
    attach: Attach,
    new_group: bool,
) -> Result<(Attachment, Attached), Missed> {
    let attachment = Attachment {
        local: local.clone(),
        reader: attach.reader,
        wish: Arc::default(),
        new_group: WantNewGroup::of(attach.own),
    };
    if new_group {
        attachment.want_new_group();
    }
    // The track answers when its publisher does, and bounds that itself.
    let deadline = env.track.answer_deadline();
    let (answer, home) = match &local {
        Local::Home(track) => (mailbox::ask(track, attach, deadline).await, true),
        Local::Replica(track) => (mailbox::ask(track, attach, deadline).await, false),
    };
    match answer {
        Ok(Ok(attached)) => Ok((attachment, attached)),
        Ok(Err(why)) if why.for_now => {
            // A replica may be over alone.
            let stale = if home {
                Some(track.epoch)
            } else {
                stale_epoch(track)
            };
            Err(Missed::Gone { stale, why })
        }
        Ok(Err(why)) => Err(Missed::Final(why)),
        Err(AskError::Deadline) => {
            let why = "the publisher did not answer";
            Err(Missed::Final(Unavailable::new(RequestErrorReason::Timeout, why)))
        }
        // It died in between; the registry may not know yet.
        Err(AskError::MailboxClosed) => Err(keeps_failing(track)),
    }
}

fn is_patient(until: Option<Instant>) -> bool {
    until.is_none_or(|until| Instant::now() < until)
}

/// A track that has died; the registry may not know yet.
pub(crate) fn keeps_failing(track: &TrackRef) -> Missed {
    let why = "the track keeps failing in the relay";
    Missed::Gone {
        stale: stale_epoch(track),
        why: Unavailable::new(RequestErrorReason::InternalError, why),
    }
}

/// The life of the track that the registry should forget: none while its home lives, since then only a replica died,
/// and the track goes on for everybody else.
fn stale_epoch(track: &TrackRef) -> Option<u64> {
    (!track.home.connected()).then_some(track.epoch)
}

/// What the registry is asked.
struct Question<'a> {
    name: &'a FullTrackName,
    reader: ReaderId,
    stale: Option<u64>,
    except: Option<&'a Upstream>,
    seek: bool,
}

/// Asks the registry: first for what it knows, which a deadline of its own bounds, then to wait.
async fn resolve(
    env: &Env,
    questions: &Questions,
    asked: Question<'_>,
    until: Option<Instant>,
    place: impl FnOnce() -> Result<Lease, Unavailable>,
) -> Result<TrackRef, Unavailable> {
    let question = |wait| ResolveTrack {
        name: asked.name.clone(),
        reader: asked.reader,
        stale: asked.stale,
        wait,
        except: asked.except.cloned(),
        seek: asked.seek,
    };
    // [D14-LIM-2]: a peer that does not wait for the answer goes on when the registry has given it.
    let known = questions.count(env.registry.ask(question(false), REGISTRY_DEADLINE));
    let nobody = match known.await.unwrap_or(Err(AskError::MailboxClosed)) {
        Ok(Err(why)) if why.for_now => why,
        Ok(answer) => return answer,
        Err(AskError::Deadline) => {
            return Err(Unavailable::new(RequestErrorReason::Timeout, OVERLOADED));
        }
        Err(AskError::MailboxClosed) => return Err(ending()),
    };
    let _slot = place()?;
    loop {
        // Without a bound of its own the question is asked anew after each longest ask.
        let wait = until.map_or(mailbox::LONGEST_ASK, |until| {
            until.saturating_duration_since(Instant::now())
        });
        if wait.is_zero() {
            return Err(nobody);
        }
        return match env.registry.ask(question(true), wait).await {
            Ok(answer) => answer,
            Err(AskError::Deadline) if until.is_none() => continue,
            Err(AskError::Deadline) => Err(nobody),
            Err(AskError::MailboxClosed) => Err(ending()),
        };
    }
}

fn ending() -> Unavailable {
    Unavailable::new(RequestErrorReason::InternalError, "the relay is ending")
}

/// The copy of the track on this shard; none when the track has died.
async fn open(env: &Env, track: &TrackRef, own: bool, wants: Wants) -> Option<Local> {
    if track.shard == env.shard.index {
        return Some(Local::Home(track.home.clone()));
    }
    let replicas = env.replicas.as_ref()?;
    let track = track.clone();
    let open = OpenReplica { track, own, wants };
    let opened = mailbox::ask(replicas, open, Duration::from_secs(5)).await;
    opened.ok().map(Local::Replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Limits, PerKind, Prefixes, Share, Strain, UNLIMITED};
    use crate::registry::{AnnounceId, RegisterNamespace, RegistryActor, ShardRef};
    use crate::session::SessionActor;
    use crate::shard::ShardActor;
    use crate::supervise::Faults;
    use crate::supervise::mailbox::Wake;
    use crate::track::{TrackAdvanced, TrackGone, Urgency};
    use actix::{Actor, AsyncContext, Context, Handler};
    use bytes::Bytes;
    use laps_protocol::moqt::name::TrackNamespace;

    /// Reads nothing.
    struct Reader;

    impl Actor for Reader {
        type Context = Context<Self>;
    }

    impl Handler<TrackAdvanced> for Reader {
        type Result = ();
        fn handle(&mut self, _: TrackAdvanced, _: &mut Self::Context) {}
    }

    impl Handler<TrackGone> for Reader {
        type Result = ();
        fn handle(&mut self, _: TrackGone, _: &mut Self::Context) {}
    }

    /// D14-SUB-10: a shard that fails takes its announcers with it, but they are withdrawn a moment later. Who asks in
    /// between waits as for any publisher.
    #[actix::test]
    async fn a_publisher_that_is_lost_with_its_shard_is_no_answer() {
        tokio::time::pause();
        let log = Logger::root(slog::Discard, slog::o!());
        let lost = ShardRef {
            index: 1,
            tracks: Context::<ShardActor>::new().address().recipient(),
        };
        let env = Env {
            registry: RegistryActor::new(log.clone(), 10, None).start().into(),
            shard: ShardRef {
                index: 0,
                ..lost.clone()
            },
            replicas: None,
            session: Arc::default(),
            track: Arc::default(),
            prefixes: Arc::new(Prefixes::new(Limits::NONE)),
            strain: Strain::none(),
            log: log.clone(),
            faults: Faults::default(),
        };
        let namespace = TrackNamespace::new([Bytes::from_static(b"live")]).unwrap();
        let session = Context::<SessionActor>::new().address();
        let announced = RegisterNamespace {
            id: AnnounceId(1),
            namespace: namespace.clone(),
            upstream: session.clone().into(),
            shard: lost,
        };
        env.registry.ask(announced, REGISTRY_DEADLINE).await.unwrap();
        let account = Account::new(PerKind::all(UNLIMITED), Share::unbounded());
        let name = FullTrackName::new(namespace, Bytes::new()).unwrap();
        let reader = Reader.start();
        let wait = Duration::from_secs(1);
        let search = Search {
            wait: Some(wait),
            ..Search::new(&env, &name, &account, &session.into(), &log)
        };
        let began = Instant::now();
        let found = locate(search, || {
            let attach = Attach {
                reader: ReaderId::next(),
                wake: Wake::new(reader.clone().recipient()).0,
                gone: reader.clone().recipient(),
                wants: Wants::Objects(Urgency::default()),
                own: true,
            };
            (attach, false)
        });
        let why = found.await.unwrap_err();
        assert!(why.for_now, "{why}");
        assert!(began.elapsed() >= wait, "it waits as long as it may");
        assert_eq!(account.used(Kind::Waiting), 0);
    }
}

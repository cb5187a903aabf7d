//! Whom a TRACK_STATUS asks.

use crate::peering::mesh::remote::{AskStatus, NoStatus};
use crate::shard::Env;
use crate::subscription::locate::{Missed, Search, attach_at_home, find, keeps_failing};
use crate::supervise::mailbox::{self, AskError, Wake};
use crate::track::{
    Attach, Description, Gathered, Knows, ReaderId, TrackActor, TrackAdvanced, TrackGone, TrackRef,
    Unavailable, Upstream, Wants, WhoKnows,
};
use actix::{Addr, Recipient};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use laps_protocol::moqt::message::{RequestErrorReason, Subscribe};

/// One question, to whoever can answer it.
pub(super) struct Asker {
    pub(super) env: Env,
    /// What a SUBSCRIBE would have asked for.
    pub(super) subscribe: Subscribe,
    /// See [`Attach::own`].
    pub(super) own: bool,
    pub(super) wake: Wake<TrackAdvanced>,
    pub(super) gone: Recipient<TrackGone>,
}

/// Why one of those who were asked does not say it.
enum Untold {
    /// It is to be subscribed to instead.
    Laps,
    Missed(Missed),
}

/// A new track waits for those it was found for, and would end while others are asked about it.
struct Expected<'a> {
    home: &'a Addr<TrackActor>,
    reader: ReaderId,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        mailbox::signal(self.home, Gathered { reader: self.reader });
    }
}

impl Asker {
    /// Finds the track, and how it stands.
    pub(super) async fn find(self, search: Search) -> Result<Description, Unavailable> {
        let begin = || {
            let reader = ReaderId::next();
            (reader, reader)
        };
        find(search, begin, async |track, reader| self.ask(track, reader).await).await
    }

    async fn ask(&self, track: &TrackRef, reader: ReaderId) -> Result<Description, Missed> {
        let own = self.own;
        let asked = mailbox::ask(&track.home, WhoKnows { own }, self.env.track.answer_deadline());
        match asked.await {
            Ok(Knows::Home) => self.attach(track, reader, own).await,
            Ok(Knows::Nodes { nodes, here }) => {
                let _stays = Expected {
                    home: &track.home,
                    reader,
                };
                match self.ask_all(track, reader, &nodes, here).await {
                    Ok(told) => Ok(told),
                    Err(Untold::Missed(missed)) => Err(missed),
                    // The only way to learn it.
                    Err(Untold::Laps) => self.attach(track, reader, own).await,
                }
            }
            Err(AskError::MailboxClosed) => Err(keeps_failing(track)),
            Err(AskError::Deadline) => Err(Missed::Final(late("the track did not answer"))),
        }
    }

    /// Asks all who publish the track; the first that can say it does, and how none can is said by the last.
    ///
    /// MOQT-14 §8.3 [D14-PUB-3]: an error only when every publisher refused.
    async fn ask_all(
        &self,
        track: &TrackRef,
        reader: ReaderId,
        nodes: &[Upstream],
        here: bool,
    ) -> Result<Description, Untold> {
        let mut asked: FuturesUnordered<LocalBoxFuture<'_, _>> = FuturesUnordered::new();
        for node in nodes {
            asked.push(Box::pin(self.ask_node(node)));
        }
        if here {
            // For what is published here alone.
            let attached = self.attach(track, reader, false);
            asked.push(Box::pin(async { attached.await.map_err(Untold::Missed) }));
        }
        let mut none = Untold::Laps;
        let mut laps = false;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(told) => return Ok(told),
                Err(why) => {
                    laps |= matches!(why, Untold::Laps);
                    none = why;
                }
            }
        }
        Err(if laps { Untold::Laps } else { none })
    }

    async fn ask_node(&self, node: &Upstream) -> Result<Description, Untold> {
        let ask = AskStatus(self.subscribe.clone());
        let told = node.ask_status(ask, self.env.track.answer_deadline()).await;
        told.map_err(|why| match why {
            NoStatus::NotAsked => Untold::Laps,
            NoStatus::Refused(error) => Untold::Missed(Missed::Final(Unavailable {
                phrase: error.phrase,
                ..Unavailable::new(error.reason, "")
            })),
            NoStatus::Silent(AskError::Deadline) => {
                Untold::Missed(Missed::Final(late("another relay did not answer")))
            }
            // It is no publisher any more, which the registry hears of as well.
            NoStatus::Silent(AskError::MailboxClosed) => Untold::Missed(Missed::Gone {
                stale: None,
                why: Unavailable::for_now("another relay cannot be reached any more"),
            }),
        })
    }

    /// Becomes a reader of the track for a moment.
    async fn attach(&self, track: &TrackRef, reader: ReaderId, own: bool) -> Result<Description, Missed> {
        let attach = Attach {
            reader,
            wake: self.wake.clone(),
            gone: self.gone.clone(),
            wants: Wants::Nothing,
            own,
        };
        let (_attachment, attached) = attach_at_home(&self.env, track, attach).await?;
        Ok(attached.description())
    }
}

fn late(why: &'static str) -> Unavailable {
    Unavailable::new(RequestErrorReason::Timeout, why)
}

//! One link to another relay: the actor around [`PeerSession`], its control stream, and whether it is alive.
//!
//! ```text
//!  stream task ⇢⇢▶ PeerLinkActor.Happened, awaited ──▶ PeerSession ──▶ events ⇢⇢▶ InfoBaseActor.PeerSaid, awaited
//!  InfoBaseActor ⇢⇢▶ PeerLinkActor.Say ──▶ PeerSession ──▶ one message ⇢ stream task ⇢⇢▶ Written ──▶ the next
//!  every 25 ms ──▶ Liveness: has anything been heard? is a PING due?
//!  sets of nodes ──▶ DataPlane, which gets the connection when the link stands; TellSets ──▶ PeerSession
//! ```

mod data;
mod handlers;
mod io;
mod messages;
mod standing;
mod tasks;

pub use data::{DataLink, DataPlane};
pub use io::{Arrivals, Door, Ear, LinkConn, Pen, Pipe, Reached};
pub use messages::{EndFor, MayStand, PeerLeaves, Refusal};

use super::bases::{Gauge, InfoBaseActor, LinkOver, PeerSaid, RoomBell};
use super::tally::{Counted, Entered, Tally};
use super::told::{About, Told};
use crate::supervise::guard::has_runtime;
use crate::supervise::mailbox::{ask, signal};
use crate::supervise::{ChildGuard, Faults};
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Recipient, ResponseFuture, SpawnHandle,
    WrapFuture,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::info_base::{LinkId, OwnMessage};
use laps_protocol::peering::liveness::Liveness;
use laps_protocol::peering::message::{Dialect, Message, SnsId};
use laps_protocol::peering::session::{
    Action, Command, CommandError, Config, ControlStream, Event, Input, OWN_ID, Output, PeerSession, Role,
};
use messages::Stream;
use slog::{Logger, debug, info, trace};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tasks::Task;
use tokio::sync::{mpsc, oneshot, watch};

/// How long the parent, and the information bases, may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How often the bases are told of the round trip time: more often than a node is advertised would change nothing.
const MEASURE: Duration = Duration::from_secs(1);

/// What the peer of a dead link would be told, if it heard anything.
const SILENT: &str = "nothing was heard for too long";

/// What a link is made of.
pub struct Birth<C: LinkConn> {
    /// The link, a number that no link had before.
    pub link: LinkId,
    /// Who made the connection.
    pub role: Role,
    /// What is spoken.
    pub dialect: Dialect,
    /// Of the session. Where the peer has a certificate, `expected` becomes the node that it names.
    pub session: Config,
    /// The connection.
    pub reached: Reached<C>,
    /// Who forwards data; nobody in some tests.
    pub plane: Option<Rc<dyn DataPlane<C>>>,
    /// The keep-alive of the connection.
    pub keep_alive: Duration,
    /// The information bases.
    pub bases: Addr<InfoBaseActor>,
    /// What tells them that there is room again. One for each link.
    pub bell: RoomBell,
    /// Who says whether a link may stand.
    pub parent: Recipient<MayStand>,
    /// Who is told that the peer is about to end.
    pub leaves: Recipient<PeerLeaves>,
    /// Injected faults, in tests.
    pub faults: Faults,
    /// Where it logs.
    pub log: Logger,
    /// None in a test.
    pub guard: Option<ChildGuard>,
}

/// One stream. Its tasks hold the two halves, whose drop stops and resets them.
struct Line {
    messages: mpsc::Sender<(Bytes, bool)>,
    /// Ends the writer, and the stream with this code.
    over: oneshot::Sender<u64>,
    _reader: Task,
    writer: Task,
}

impl Line {
    /// Gives the stream up. laps peering, "QUIC APP Error Codes".
    fn end(self, code: ErrorCode) {
        // A writer that is gone has reset it.
        self.over.send(code.number()).ok();
        self.writer.detach();
    }
}

/// One link.
///
/// Parent: the peering. Arbiter: a shard's. Restart: permanent where it is dialled, with back-off; temporary where the peer
/// dialled. In: `Say`, `EndLink`, [`EndFor`], and what its tasks tell. Out: [`MayStand`] and [`PeerLeaves`] to the parent;
/// `LinkStands`, [`PeerSaid`], `LinkMeasured`, [`LinkOver`], `RoomAgain` to the bases. Lost on death: the connection, which is
/// closed with CLOSE, and with it all that was learned by it.
pub struct PeerLinkActor<C: LinkConn> {
    link: LinkId,
    session: PeerSession,
    conn: C,
    door: Option<Box<dyn Door + Send>>,
    /// Until the link stands.
    arrivals: Option<C::Arrivals>,
    plane: Option<Rc<dyn DataPlane<C>>>,
    /// The set of nodes in the message that is being written to a laps relay.
    set_under_way: Option<SnsId>,
    lines: BTreeMap<ControlStream, Line>,
    next_stream: u64,
    acceptor: Option<Task>,
    keep_alive: Duration,
    liveness: Option<Liveness>,
    measured_at: Option<Instant>,
    pings: u64,
    /// Whether it was said that the peer says what is not known here.
    told_unknown: bool,
    gauge: Gauge,
    /// Messages of the bases that were given to the session and have not left: those of the session itself are not theirs.
    theirs: usize,
    bases: Addr<InfoBaseActor>,
    bell: RoomBell,
    parent: Recipient<MayStand>,
    leaves: Recipient<PeerLeaves>,
    stands: bool,
    /// Whether the bases have been told that the link stands.
    told: watch::Sender<bool>,
    /// What the peer said before that: who accepts speaks as soon as it has answered, and a dialler asks its parent then.
    early: Vec<Message>,
    /// What the bases are asked and have not answered, of the input that is being handled.
    asked: Vec<LocalBoxFuture<'static, ()>>,
    timer: Option<(Instant, SpawnHandle)>,
    tally: Tally,
    news: Told,
    counted: Counted,
    /// Among those that stand.
    entered: Option<Entered>,
    closed: bool,
    faults: Faults,
    log: Logger,
    _guard: Option<ChildGuard>,
}

impl<C: LinkConn> PeerLinkActor<C> {
    /// A link at its beginning.
    #[must_use]
    pub fn new(birth: Birth<C>) -> Self {
        let mut config = birth.session;
        // Issue 6, "mutual TLS": a valid certificate with another id is refused.
        let Reached { conn, door, arrivals } = birth.reached;
        config.expected = conn.named().or(config.expected);
        Self {
            link: birth.link,
            session: PeerSession::new(birth.role, birth.dialect, config, now()),
            conn,
            door: Some(door),
            arrivals: Some(arrivals),
            plane: birth.plane,
            set_under_way: None,
            lines: BTreeMap::new(),
            next_stream: 0,
            acceptor: None,
            keep_alive: birth.keep_alive,
            liveness: None,
            measured_at: None,
            pings: 0,
            told_unknown: false,
            gauge: Gauge::default(),
            theirs: 0,
            bases: birth.bases,
            bell: birth.bell,
            parent: birth.parent,
            leaves: birth.leaves,
            stands: false,
            told: watch::Sender::new(false),
            early: Vec::new(),
            asked: Vec::new(),
            timer: None,
            tally: Tally::default(),
            news: Told::default(),
            counted: Counted::default(),
            entered: None,
            closed: false,
            faults: birth.faults,
            log: birth.log,
            _guard: birth.guard,
        }
    }

    /// Counted with all others.
    #[must_use]
    pub fn tallied(mut self, tally: Tally) -> Self {
        self.tally = tally;
        self
    }

    /// What it tells the operator of before it stands is told once, also of later links.
    #[must_use]
    pub(super) fn telling(mut self, news: Told) -> Self {
        self.news = news;
        self
    }

    /// Gives the session one input.
    fn input(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.session.handle_input(now(), input);
        self.settle(ctx);
    }

    fn command(&mut self, command: Command, ctx: &mut Context<Self>) -> Result<(), CommandError> {
        let done = self.session.command(now(), command);
        self.settle(ctx);
        done
    }

    fn settle(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Action(action) => self.act(action, ctx),
                Output::Event(event) => {
                    if let Event::Message(message) = *event {
                        self.hand_on(message);
                    } else {
                        self.on_event(*event, ctx);
                    }
                }
                Output::Trace(traced) => {
                    trace!(self.log, "peering"; "inbound" => traced.inbound, "message" => ?traced.message);
                }
            }
        }
        self.tally.count(&self.session, &mut self.counted);
        self.wind(ctx);
    }

    /// What the peer said goes to the bases, once they know the link, and sets of nodes to who forwards data.
    fn hand_on(&mut self, message: Message) {
        if !*self.told.borrow() {
            self.early.push(message);
            return;
        }
        match (&message, &self.plane) {
            (Message::NodeSetAdvertise(set), Some(plane)) => return plane.advertised(self.link, set),
            (Message::NodeSetWithdraw(id), Some(plane)) => return plane.withdrawn(self.link, *id),
            (Message::Own(OwnMessage::Leaving), _) => {
                signal(&self.leaves, PeerLeaves(self.link));
            }
            _ => {}
        }
        let link = self.link;
        // Placed now, so in order. Whoever drops the answer takes the question back.
        let asked = ask(&self.bases, PeerSaid { link, message }, ANSWER);
        self.asked.push(asked.map(drop).boxed_local());
    }

    /// Ends when all that was said so far has been understood: no more is read of the peer until then.
    fn understood(&mut self) -> ResponseFuture<()> {
        let asked = join_all(std::mem::take(&mut self.asked));
        let mut told = self.told.subscribe();
        let early = !self.early.is_empty();
        async move {
            if early {
                // Where the link ends instead, so does its reader.
                told.wait_for(|told| *told).await.ok();
            }
            asked.await;
        }
        .boxed_local()
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::OpenControl => {
                let opening = self.conn.open().into_actor(self);
                ctx.spawn(opening.map(|pipe, link, ctx| match pipe {
                    Some((pen, ear)) => link.on_stream(Stream { ours: true, pen, ear }, ctx),
                    None => Self::end(ctx),
                }));
            }
            Action::Write(stream, bytes) => {
                // A laps relay handles one message for each chunk that arrives, so each is flushed, as laps does; and a
                // refusal has to be with the peer before the connection is closed.
                let flush = self.session.dialect() != Dialect::Own || !self.session.is_established();
                self.set_under_way = self.set_in(&bytes);
                // The session writes one message at a time, and the queue has room for one.
                if let Some(line) = self.lines.get(&stream) {
                    drop(line.messages.try_send((bytes, flush)));
                }
            }
            Action::Reset(stream, code) => {
                if let Some(line) = self.lines.remove(&stream) {
                    line.end(code);
                }
            }
            Action::Close { code, reason } => {
                self.tell_end(code, &reason);
                let reason = match reason {
                    Cow::Borrowed(reason) => reason,
                    // Words for the peer that were made here have no place in a close frame of the stack.
                    Cow::Owned(_) => code.name(),
                };
                self.close(code, reason);
                Self::end(ctx);
            }
        }
    }

    /// The link ends, and this is why.
    fn tell_end(&self, code: ErrorCode, why: &str) {
        // `laps health` asks a Via in its own name, every few seconds: that is no news.
        if why.ends_with(OWN_ID) {
            debug!(self.log, "health check"; "peer" => self.conn.peer());
        } else if !self.is_news(why) {
            debug!(self.log, "link closes again"; "peer" => self.conn.peer(), "why" => why);
        } else {
            let node = self.conn.named().map(|node| node.to_string());
            info!(self.log, "link closes"; "peer" => self.conn.peer(), "node" => node, "code" => code.name(),
                "why" => why);
        }
    }

    /// Whether the operator is to be told of this: who is not let in dials again and again.
    fn is_news(&self, what: &str) -> bool {
        let peer = About::peer(self.conn.named(), &self.conn.peer());
        self.stands || self.news.is_news(peer, what.to_owned(), now())
    }

    fn close(&mut self, code: ErrorCode, reason: &'static str) {
        if !std::mem::replace(&mut self.closed, true) {
            self.conn.close(code.number(), reason);
        }
    }

    fn close_for(&mut self, code: ErrorCode, why: &'static str, ctx: &mut Context<Self>) {
        // One that is closed already is what is wanted.
        self.command(Command::Close(code, why.into()), ctx).ok();
    }

    fn end(ctx: &mut Context<Self>) {
        ctx.stop();
    }

    fn on_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        match event {
            Event::PeerConnect(connect) => self.ask_whether(connect.node, ctx),
            Event::Established { peer, .. } if self.session.role() == Role::Dialler => {
                self.ask_whether(peer, ctx);
            }
            Event::Established { peer, .. } => self.begin(peer, ctx),
            Event::Refused(code) if self.is_news("refused") => {
                info!(self.log, "the peer refuses the link"; "peer" => self.conn.peer(), "code" => %code);
            }
            Event::Refused(code) => debug!(self.log, "the peer refuses the link again"; "code" => %code),
            Event::Unknown { message_type, length } if !std::mem::replace(&mut self.told_unknown, true) => {
                info!(self.log, "message of an unknown type, passed over"; "peer" => self.conn.peer(),
                    "type" => message_type, "bytes" => length);
            }
            Event::Unknown { message_type, length } => {
                debug!(self.log, "message of an unknown type"; "type" => message_type, "bytes" => length);
            }
            // What was under way may be lost: the bases say everything again to a link that is new to them.
            Event::ControlMoved => self.say_all_again(ctx),
            // That it came is what counts, and the connection counts it.
            Event::Pong(_) => {}
            other @ (Event::Message(_) | _) => debug!(self.log, "nothing is done"; "event" => ?other),
        }
    }

    /// Sets the one timer of the session.
    fn wind(&mut self, ctx: &mut Context<Self>) {
        let due = self.session.poll_timeout();
        if self.timer.as_ref().map(|(at, _)| *at) == due {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = due.map(|at| {
            let timer = ctx.run_later(at.saturating_duration_since(now()), |link, ctx| {
                link.timer = None;
                link.input(Input::Timeout, ctx);
            });
            (at, timer)
        });
    }

    fn on_stream(&mut self, stream: Stream, ctx: &mut Context<Self>) {
        let id = ControlStream(self.next_stream);
        self.next_stream += 1;
        let (messages, waiting) = mpsc::channel(1);
        let (over, ended) = oneshot::channel();
        let line = Line {
            messages,
            over,
            _reader: Task::start(tasks::read(stream.ear, id, ctx.address())),
            writer: Task::start(tasks::write(stream.pen, id, (waiting, ended), ctx.address())),
        };
        self.lines.insert(id, line);
        let input = if stream.ours {
            Input::StreamOpened(id)
        } else {
            Input::StreamAccepted(id)
        };
        self.input(input, ctx);
    }
}

impl<C: LinkConn> Actor for PeerLinkActor<C> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // What a link needs is not there, and a second panic would end the process.
        if !has_runtime() {
            return;
        }
        if let Some(door) = self.door.take() {
            self.acceptor = Some(Task::start(tasks::accept(door, ctx.address())));
        }
        self.settle(ctx);
    }
}

impl<C: LinkConn> Drop for PeerLinkActor<C> {
    fn drop(&mut self) {
        // However it ends, the peer is not left with half a link, nor are the bases.
        self.close(ErrorCode::Close, "the link ends");
        if self.stands {
            info!(self.log, "link is over"; "said" => %self.session.sent(), "heard" => %self.session.received());
            signal(&self.bases, LinkOver(self.link));
            if let Some(plane) = &self.plane {
                plane.link_down(self.link);
            }
        }
    }
}

/// tokio's clock, so that virtual time reaches the machines too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

//! The five ways to put a message into a mailbox.
//!
//! | verb | for | bound of what it can queue |
//! |---|---|---|
//! | [`ask`] | request and response, back-pressure | one message per caller that waits |
//! | [`offer`] | a message its sender can do without | the mailbox's capacity |
//! | [`Wake`] | "look at the state again" | one message per receiver's credit |
//! | [`Notify`] | the end of something | one message per sender's life |
//! | [`signal`] | a step in the life of a request | a handful per request |
//!
//! The capacity of an `actix` mailbox is a promise per sender, not a total: each clone of an address may place one
//! message beyond it. Whoever offers keeps one address and offers through it; a fresh clone for each offer is never
//! refused. A capacity of 0 means no bound at all, so no actor sets it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::dev::{RecipientRequest, Request, SendError, ToEnvelope};
use actix::{Actor, Addr, Handler, MailboxError, Message, Recipient};
use tokio::time::{Instant, timeout_at};

use super::counters::COUNTERS;

/// Longest deadline [`ask`] keeps; a longer one is cut to it. One day outlives every exchange of a relay and is
/// far from the end of the clock.
pub const LONGEST_ASK: Duration = Duration::from_hours(24);

/// Why [`ask`] has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The deadline passed. The receiver may still have acted on the message: only a message it had not begun to
    /// handle is withdrawn.
    #[error("no answer within the deadline")]
    Deadline,
    /// The receiver is gone, or ended before it answered.
    #[error("the receiver is gone")]
    MailboxClosed,
}

/// Why [`offer`] did not deliver. The message comes back with it.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError<M> {
    /// The mailbox holds as many messages as it may.
    #[error("the mailbox is full")]
    Full(M),
    /// The receiver is gone.
    #[error("the receiver is gone")]
    Closed(M),
}

impl<M> OfferError<M> {
    /// The message that was not delivered.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }

    /// Whether a later offer can succeed.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<M> std::fmt::Debug for OfferError<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

/// What takes messages of type `M`: an `Addr` or a `Recipient`.
pub trait Mailbox<M>: Clone + sealed::Sealed
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// The pending answer.
    type Request: Future<Output = Result<M::Result, MailboxError>> + 'static;

    /// Places `message` and returns the pending answer.
    #[doc(hidden)]
    fn request(&self, message: M) -> Self::Request;

    /// Places `message` if there is room.
    #[doc(hidden)]
    fn try_place(&self, message: M) -> Result<(), SendError<M>>;

    /// Places `message` whatever the mailbox holds.
    #[doc(hidden)]
    fn place(&self, message: M);

    /// The receiver still has a mailbox.
    #[doc(hidden)]
    fn is_open(&self) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl<A: actix::Actor> Sealed for actix::Addr<A> {}
    impl<M> Sealed for actix::Recipient<M>
    where
        M: actix::Message + Send,
        M::Result: Send,
    {
    }
}

impl<A, M> Mailbox<M> for Addr<A>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    type Request = Request<A, M>;

    fn request(&self, message: M) -> Self::Request {
        self.send(message)
    }

    fn try_place(&self, message: M) -> Result<(), SendError<M>> {
        self.try_send(message)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the one that may place without asking for room"
    )]
    fn place(&self, message: M) {
        self.do_send(message);
    }

    fn is_open(&self) -> bool {
        self.connected()
    }
}

impl<M> Mailbox<M> for Recipient<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    type Request = RecipientRequest<M>;

    fn request(&self, message: M) -> Self::Request {
        self.send(message)
    }

    fn try_place(&self, message: M) -> Result<(), SendError<M>> {
        self.try_send(message)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the one that may place without asking for room"
    )]
    fn place(&self, message: M) {
        self.do_send(message);
    }

    fn is_open(&self) -> bool {
        self.connected()
    }
}

/// Sends `message` and waits for the answer, at most `deadline` from this call on (cut to [`LONGEST_ASK`]).
///
/// The message is placed when `ask` is called; the future it returns borrows nothing, so a context can own it. A
/// caller that awaits before it asks again has one message in flight, which is the back-pressure: not answered
/// means not asked again. Dropping the future withdraws a message that is not yet being handled.
///
/// # Errors
/// [`AskError::Deadline`] when time runs out, [`AskError::MailboxClosed`] when no answer can come any more.
pub fn ask<M, T>(
    to: &T,
    message: M,
    deadline: Duration,
) -> impl Future<Output = Result<M::Result, AskError>> + use<M, T>
where
    T: Mailbox<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    COUNTERS.asked.add();
    // An address that met a full mailbox would place the message at the first poll only. A fresh clone has a slot of
    // its own, so requests are handled in the order in which they were made.
    let request = to.clone().request(message);
    let until = Instant::now() + deadline.min(LONGEST_ASK);
    async move {
        match timeout_at(until, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(MailboxError::Closed)) => {
                COUNTERS.ask_closed.add();
                Err(AskError::MailboxClosed)
            }
            Ok(Err(MailboxError::Timeout)) | Err(_) => {
                COUNTERS.ask_expired.add();
                Err(AskError::Deadline)
            }
        }
    }
}

/// Sends `message` if the mailbox has room, without waiting.
///
/// # Errors
/// [`OfferError::Full`] when it has none, [`OfferError::Closed`] when the receiver is gone. Both hand the message
/// back and are counted.
pub fn offer<M, T>(to: &T, message: M) -> Result<(), OfferError<M>>
where
    T: Mailbox<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    match to.try_place(message) {
        Ok(()) => {
            COUNTERS.offered.add();
            Ok(())
        }
        Err(SendError::Full(message)) => {
            COUNTERS.offer_full.add();
            Err(OfferError::Full(message))
        }
        Err(SendError::Closed(message)) => {
            COUNTERS.offer_closed.add();
            Err(OfferError::Closed(message))
        }
    }
}

/// Tells `to` of one step in the life of something it knows: a request made, answered or ended.
///
/// Such a message may not be lost, and its sender may be dying, so it goes in whatever the mailbox holds. What bounds
/// it is what it is about: a request takes a handful of such steps, and a session's requests are bounded by its
/// request ids. Does not fail and does not panic, also while the thread unwinds. Answers whether the receiver was
/// still there.
pub fn signal<M, T>(to: &T, message: M) -> bool
where
    T: Mailbox<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let open = to.is_open();
    if open {
        to.place(message);
        COUNTERS.notified.add();
    } else {
        COUNTERS.notify_closed.add();
    }
    open
}

/// What [`Wake::wake`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The message is on its way.
    Sent,
    /// An earlier message is still waiting to be read; the receiver will see the newer state with it.
    Coalesced,
    /// The receiver is gone.
    Closed,
}

/// Wakes one receiver with `M`, one message at a time however often it is asked to.
///
/// Made by the receiver together with its [`Credit`] and given away. Clones share the one credit.
pub struct Wake<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    to: Recipient<M>,
    credit: Arc<AtomicBool>,
}

/// The receiver's half of a [`Wake`]: says when the message has been read.
#[derive(Clone, Debug)]
pub struct Credit(Arc<AtomicBool>);

impl<M> Wake<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// A waker for `to`, and the credit that `to` keeps.
    #[must_use]
    pub fn new(to: Recipient<M>) -> (Self, Credit) {
        let credit = Arc::new(AtomicBool::new(true));
        (
            Self {
                to,
                credit: Arc::clone(&credit),
            },
            Credit(credit),
        )
    }

    /// A further waker on a credit that exists, for a second message type or a second giver.
    #[must_use]
    pub fn sharing(to: Recipient<M>, credit: &Credit) -> Self {
        Self {
            to,
            credit: Arc::clone(&credit.0),
        }
    }

    /// Sends `message` unless the previous one has not been consumed yet. Call it after changing what the receiver
    /// will look at: `message` is dropped when an earlier one is still waiting, so it may only be a hint.
    pub fn wake(&self, message: M) -> Woken {
        if !self.to.connected() {
            COUNTERS.wake_closed.add();
            return Woken::Closed;
        }
        // Pairs with the swap in `Credit::consumed`: whoever finds the credit spent knows that the receiver will
        // swap later than this, and therefore sees what was written before.
        if self.credit.swap(false, Ordering::AcqRel) {
            place(&self.to, message);
            COUNTERS.woken.add();
            Woken::Sent
        } else {
            COUNTERS.wake_coalesced.add();
            Woken::Coalesced
        }
    }

    /// Whether the receiver still has a mailbox.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.to.connected()
    }
}

impl<M> Clone for Wake<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self {
            to: self.to.clone(),
            credit: Arc::clone(&self.credit),
        }
    }
}

impl<M> std::fmt::Debug for Wake<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wake")
            .field("credit", &self.credit)
            .finish_non_exhaustive()
    }
}

impl Credit {
    /// Gives the credit back. First thing in the handler, before the state is looked at, or a change made in
    /// between would wake nobody.
    pub fn consumed(&self) {
        self.0.swap(true, Ordering::AcqRel);
    }
}

/// The right to send one life-cycle message to one receiver, whatever the state of its mailbox.
///
/// It is used up by sending, so the receiver's queue grows by at most one message per holder.
pub struct Notify<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    to: Recipient<M>,
}

impl<M> Notify<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// The right to notify `to` once.
    #[must_use]
    pub const fn new(to: Recipient<M>) -> Self {
        Self { to }
    }

    /// Sends `message`. Does not fail and does not panic, also while the thread unwinds; answers whether the
    /// receiver was still there.
    pub fn send(self, message: M) -> bool {
        let open = self.to.connected();
        if open {
            place(&self.to, message);
            COUNTERS.notified.add();
        } else {
            COUNTERS.notify_closed.add();
        }
        open
    }
}

impl<M> std::fmt::Debug for Notify<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

/// Places `message` whatever the mailbox already holds.
#[expect(
    clippy::disallowed_methods,
    reason = "both callers bound themselves: a wake by its credit, a notice by being used up"
)]
fn place<M>(to: &Recipient<M>, message: M)
where
    M: Message + Send,
    M::Result: Send,
{
    to.do_send(message);
}

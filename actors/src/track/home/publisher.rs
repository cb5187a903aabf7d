//! One publisher of a track, as the home copy sees it.

use super::demand::Demand;
use super::fetching::now;
use super::word::Word;
use crate::session::ReleaseUpstream;
use crate::track::Upstream;
use crate::track::messages::{Source, TrackMeta};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::{GroupId, Location};
use laps_protocol::moqt::message::{PublishDone, RequestId};
use laps_protocol::relay::silence::Pulse;
use laps_protocol::relay::track_log::{Append, StreamEnd, StreamKey};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A way that is cut was dead for less than this when that is noticed: of the groups that began since, some may lack.
const DOUBTED: Duration = Duration::from_secs(5);
/// Groups that are looked at for that.
const DOUBTED_GROUPS: usize = 1024;
/// Groups behind the newest that came, which are asked for where nobody says how far a publisher is.
const AHEAD: u64 = 64;

/// Where a publisher stands with its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is asked of it.
    Resting,
    /// Our SUBSCRIBE is on its way.
    Asked,
    /// Its objects are taken.
    Serving,
    /// It refused, or ended what was asked of it. It is asked again when the track wakes up, or it announces again.
    Over,
    /// Its session reads the track, and somebody else feeds it.
    Reads,
    /// It brought nothing, and gave its place to another one. It is asked again when there is a place.
    Quiet,
    /// It broke the rules for tracks, and is asked for nothing any more.
    Shunned,
}

/// How a publisher is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its session is gone.
    Gone,
    /// It refused, did not answer, or ended the track.
    Over,
    /// Its session reads the track.
    Reads,
    /// It brings nothing, and somebody else waits for its place.
    Quiet,
    /// It broke the rules for tracks.
    Shunned,
}

/// Something of these groups, or of those between them, was lost on the way from a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    /// Of this group a stream was cut short.
    pub(super) from: GroupId,
    /// With this one it goes on.
    pub(super) to: GroupId,
}

impl Torn {
    /// Both, and what lies between.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }
}

/// One publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) source: Source,
    pub(super) standing: Standing,
    /// Which of the track's SUBSCRIBEs it was sent last; 0 when that is over.
    pub(super) attempt: u64,
    /// The request that carries its objects: our SUBSCRIBE or its PUBLISH.
    pub(super) request: Option<RequestId>,
    /// It serves, and has withdrawn its announcement since.
    pub(super) withdrawn: bool,
    /// It is asked even though its session reads the track.
    pub(super) insisted: bool,
    /// What it said last, while its streams are awaited.
    pub(super) done: Option<PublishDone>,
    /// When it said that.
    done_at: Option<Instant>,
    /// Somebody looks later whether its streams have come.
    pub(super) watched: bool,
    /// What it was told of the readers' wishes.
    pub(super) demand: Demand,
    /// Whether it has said that it does what it was told.
    pub(super) word: Word,
    /// What it said of the track, and when.
    said: Option<(TrackMeta, Instant)>,
    /// When it last brought something, or was told to.
    pub(super) heard: Instant,
    /// Its pace, by which it is silent or not.
    pub(super) pulse: Pulse,
    /// The largest place that it told.
    pub(super) largest: Option<Location>,
    /// It left a FETCH without any answer.
    pub(super) cannot_fetch: bool,
    open: HashMap<StreamKey, GroupId>,
    closed: u64,
    /// A stream was cut short on the way, so that the streams which come are others than those that were opened.
    cut: bool,
    /// The largest group that it has begun.
    newest: Option<GroupId>,
    /// Groups that it began of late, and when.
    begun: VecDeque<(Instant, GroupId)>,
    /// The first group of which a stream was cut short on the way.
    torn: Option<GroupId>,
    /// The group with which it went on after that.
    on: Option<GroupId>,
    /// The first group of which a stream did not come to its end, for whatever reason, since a later one did.
    unfinished: Option<GroupId>,
}

impl Publisher {
    pub(super) fn new(source: Source, window: Duration, silent_after: Duration) -> Self {
        let request = match source {
            Source::Published { request, .. } => Some(request),
            Source::Announced { .. } | Source::Local { .. } => None,
        };
        let word = first_word(&source);
        Self {
            source,
            standing: Standing::Resting,
            attempt: 0,
            request,
            withdrawn: false,
            insisted: false,
            done: None,
            done_at: None,
            watched: false,
            demand: Demand::new(window),
            word,
            said: None,
            heard: now(),
            pulse: Pulse::new(silent_after),
            largest: None,
            cannot_fetch: false,
            open: HashMap::new(),
            closed: 0,
            cut: false,
            newest: None,
            begun: VecDeque::new(),
            torn: None,
            on: None,
            unfinished: None,
        }
    }

    pub(super) const fn is_published(&self) -> bool {
        matches!(self.source, Source::Published { .. })
    }

    pub(super) const fn is_announced(&self) -> bool {
        matches!(self.source, Source::Announced { .. })
    }

    pub(super) const fn is_local(&self) -> bool {
        matches!(self.source, Source::Local { .. })
    }

    /// Who it is; none when this process makes the objects.
    pub(super) const fn upstream(&self) -> Option<&Upstream> {
        match &self.source {
            Source::Announced { upstream } | Source::Published { upstream, .. } => Some(upstream),
            Source::Local { .. } => None,
        }
    }

    /// It publishes at this relay or at a stub of it, and not at another node of the mesh.
    pub(super) fn is_here(&self) -> bool {
        self.upstream().is_none_or(Upstream::is_ours)
    }

    /// It publishes in this process, or by a session of this relay.
    pub(super) fn is_of_a_client(&self) -> bool {
        self.upstream().is_none_or(Upstream::is_local)
    }

    pub(super) fn is_announced_by(&self, upstream: &Upstream) -> bool {
        matches!(&self.source, Source::Announced { upstream: other } if other == upstream)
    }

    pub(super) fn is_serving(&self) -> bool {
        self.standing == Standing::Serving
    }

    /// It feeds the track, or is asked to.
    pub(super) const fn is_active(&self) -> bool {
        matches!(self.standing, Standing::Asked | Standing::Serving)
    }

    /// It feeds the track from now on.
    pub(super) fn serves(&mut self, at: Instant, meta: TrackMeta, largest: Option<Location>) {
        self.standing = Standing::Serving;
        self.said = Some((meta, at));
        self.heard = now();
        if self.is_announced() || self.demand.is_forwarded() {
            self.pulse.resumed(now());
        }
        self.largest = largest;
    }

    /// It sends what it was asked for, and says this of the track.
    pub(super) fn gives_word(&mut self, meta: TrackMeta, largest: Option<Location>) {
        self.word = Word::Given;
        self.said = Some((meta, Instant::now()));
        self.largest = self.largest.max(largest);
    }

    /// What it said of the track, as it holds at `now`.
    pub(super) fn meta(&self, now: Instant) -> Option<TrackMeta> {
        let (meta, since) = self.said.as_ref()?;
        Some(meta.after(now.saturating_duration_since(*since)))
    }

    /// Lets go of what was asked of it; it stands so from now on.
    pub(super) fn let_go(&mut self, standing: Standing, window: Duration) {
        release(&self.source, self.request.take());
        self.standing = standing;
        self.attempt = 0;
        (self.done, self.done_at) = (None, None);
        self.demand = Demand::new(window);
        self.word = first_word(&self.source);
        self.pulse.paused();
        self.said = None;
        self.open.clear();
        self.closed = 0;
        (self.cut, self.torn, self.on, self.unfinished) = (false, None, None, None);
        self.newest = None;
        self.begun.clear();
    }

    /// It brings something.
    pub(super) fn brings(&mut self) {
        self.heard = now();
        self.pulse.brought(self.heard);
    }

    /// When it is expected to have brought something, at its own pace.
    pub(super) fn due(&self) -> Instant {
        let due = self.heard.checked_add(self.pulse.usual());
        due.unwrap_or(self.heard)
    }

    /// Keeps count of streams, for the end of the subscription.
    pub(super) fn observe(&mut self, chunk: &Append) {
        match chunk {
            Append::SubgroupOpened { stream, group, .. } => {
                self.open.insert(*stream, *group);
                self.begins(*group);
            }
            Append::SubgroupClosed { stream, end } => {
                let group = self.open.remove(stream);
                self.closed += 1;
                match end {
                    StreamEnd::Fin if group >= self.unfinished => self.unfinished = None,
                    StreamEnd::Fin => {}
                    StreamEnd::Reset(_) => self.unfinished = self.unfinished.into_iter().chain(group).min(),
                }
                if was_cut(*end) && !self.is_here() {
                    self.cut = true;
                    self.torn = self.torn.into_iter().chain(group).min();
                }
            }
            Append::Datagram(datagram) => self.begins(datagram.location.group),
            Append::ObjectStarted { .. } | Append::Payload { .. } | Append::Missing { .. } => {}
        }
    }

    fn begins(&mut self, group: GroupId) {
        self.newest = self.newest.max(Some(group));
        if self.torn.is_some() {
            self.on = self.on.max(Some(group));
        }
        // No link is on the way from a client.
        if !self.is_of_a_client() && self.begun.back().is_none_or(|(_, last)| *last != group) {
            if self.begun.len() >= DOUBTED_GROUPS {
                self.begun.pop_front();
            }
            self.begun.push_back((now(), group));
        }
    }

    /// The first group of which something may be missing where the way from it is cut: that before the first one that should
    /// have begun of late and did not, or the newest.
    fn doubted(&mut self) -> Option<GroupId> {
        let now = now();
        self.begun
            .retain(|(at, _)| now.saturating_duration_since(*at) < DOUBTED);
        let mut begun: Vec<_> = self.begun.iter().map(|(_, group)| *group).collect();
        begun.sort_unstable();
        let following = begun.iter().skip(1);
        let mut pairs = begun.iter().zip(following);
        let gap = pairs.find(|(group, next)| **next > group.saturating_add(1));
        gap.map(|(group, _)| *group).or(self.newest)
    }

    /// What was missing until now is fetched.
    fn has_asked(&mut self) {
        let keep = self.begun.len().saturating_sub(1);
        self.begun.drain(..keep);
    }

    /// The way from it was cut. Where nothing was open just then, what it began next is missing all the same.
    pub(super) fn was_cut_off(&mut self) {
        self.cut = true;
        self.torn = self.torn.into_iter().chain(self.doubted()).min();
    }

    /// What was cut short is not followed by anything.
    pub(super) fn stays_cut_off(&mut self) -> Option<Torn> {
        let from = self.torn.take()?;
        self.on = None;
        self.has_asked();
        let to = self.newest.unwrap_or(from).max(from).saturating_add(AHEAD);
        Some(Torn { from, to })
    }

    pub(super) const fn is_torn(&self) -> bool {
        self.torn.is_some()
    }

    /// It said PUBLISH_DONE.
    pub(super) fn ends(&mut self, done: PublishDone) {
        (self.done, self.done_at) = (Some(done), Some(now()));
    }

    /// For how long nothing has come since it said PUBLISH_DONE.
    pub(super) fn quiet_since_done(&self) -> Duration {
        let since = self.done_at.map(|at| at.max(self.heard));
        since.map_or(Duration::ZERO, |since| now().saturating_duration_since(since))
    }

    /// After PUBLISH_DONE: every stream it announced has come and gone.
    ///
    /// MOQT-14 §9.12 [D14-SUB-20], [D14-SUB-21] [D14-LIB-5]: an unknown count is settled by time only.
    pub(super) fn is_drained(&self) -> bool {
        if self.is_local() {
            return self.done.is_some() && self.open.is_empty();
        }
        self.done
            .as_ref()
            .and_then(|done| done.stream_count)
            // A count of 0 says nothing about streams: datagram tracks have it, and some peers always send it.
            .is_some_and(|count| count > 0 && !self.cut && self.open.is_empty() && self.closed >= count)
    }

    /// After something was cut short on its way here, it sends again.
    pub(super) fn goes_on(&mut self) -> Option<Torn> {
        let to = self.on.take()?;
        let from = self.torn.take()?;
        self.has_asked();
        Some(Torn {
            from: from.min(to),
            to: from.max(to),
        })
    }

    /// It begins anew behind `largest`: what was made until then, and is neither `here` nor on its way.
    ///
    /// A relay that ended in an orderly way has given up what was open itself, so that nothing of it was cut short on the
    /// way. What it said before of the end of the track was its own end, where it is in another life.
    pub(super) fn serves_again(
        &mut self,
        largest: Option<Location>,
        here: Option<Location>,
        anew: bool,
    ) -> Option<Torn> {
        self.cut = true;
        if anew {
            (self.done, self.done_at) = (None, None);
        }
        self.largest = self.largest.max(largest);
        let to = largest?.group;
        let open = self.open.values().copied().min();
        let first = self
            .torn
            .take()
            .into_iter()
            .chain(self.unfinished.take())
            .chain(open)
            .chain(self.doubted())
            .min();
        let from = first.or_else(|| here.map(|here| here.group))?;
        self.on = None;
        self.has_asked();
        Some(Torn {
            from: from.min(to),
            to,
        })
    }

    pub(super) fn has_open_streams(&self) -> bool {
        !self.open.is_empty()
    }

    /// A stream of it brings this group.
    pub(super) fn is_in(&self, group: GroupId) -> bool {
        self.open.values().any(|open| *open == group)
    }
}

/// Who was not asked for objects yet: of all that publish only other nodes say that they send them.
const fn first_word(source: &Source) -> Word {
    match source {
        Source::Published { upstream, .. } if !upstream.is_local() => Word::Unasked,
        // Those who announce are subscribed to, and serve when they have accepted that.
        Source::Published { .. } | Source::Announced { .. } | Source::Local { .. } => Word::Needless,
    }
}

/// A stream ended like this because something failed on the way, and not because its objects are of no use any more.
const fn was_cut(end: StreamEnd) -> bool {
    !matches!(
        end,
        StreamEnd::Fin | StreamEnd::Reset(ResetCode::Cancelled | ResetCode::DeliveryTimeout)
    )
}

/// Ends what was asked of a publisher.
pub(super) fn release(source: &Source, request: Option<RequestId>) {
    if let (Source::Announced { upstream } | Source::Published { upstream, .. }, Some(request)) =
        (source, request)
    {
        upstream.signal(ReleaseUpstream { request });
    }
}

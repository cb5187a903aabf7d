//! The publishers of one track, as its home sees them: all of them feed it at once, within a bound (decision 0015).

use super::publisher::{Publisher, Standing, release};
use crate::track::Upstream;
use crate::track::messages::{Source, SourceId, TrackMeta};
use laps_protocol::moqt::location::Location;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// All of them, the oldest first.
#[derive(Debug)]
pub(super) struct Sources {
    publishers: BTreeMap<SourceId, Publisher>,
    /// How many may feed the track at once. [D14-PUB-2]
    max: usize,
    window: Duration,
    silent_after: Duration,
}

impl Sources {
    /// None yet; `max` of them may feed the track at once, each is told of changes once in a `window` at most, and is
    /// silent when it says nothing for so much longer than usual.
    pub(super) const fn new(max: usize, window: Duration, silent_after: Duration) -> Self {
        Self {
            publishers: BTreeMap::new(),
            max,
            window,
            silent_after,
        }
    }

    pub(super) fn add(&mut self, id: SourceId, source: Source) {
        // Whoever was shunned is remembered for as long as it lasts.
        self.publishers.retain(|_, publisher| {
            publisher.standing != Standing::Shunned || publisher.upstream().is_some_and(Upstream::connected)
        });
        let publisher = Publisher::new(source, self.window, self.silent_after);
        self.publishers.insert(id, publisher);
    }

    pub(super) fn remove(&mut self, id: SourceId) -> Option<Publisher> {
        self.publishers.remove(&id)
    }

    pub(super) fn get(&self, id: SourceId) -> Option<&Publisher> {
        self.publishers.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SourceId) -> Option<&mut Publisher> {
        self.publishers.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SourceId, &Publisher)> {
        self.publishers.iter().map(|(id, publisher)| (*id, publisher))
    }

    fn values(&self) -> impl Iterator<Item = &Publisher> {
        self.publishers.values()
    }

    /// Those that feed the track or are asked to.
    pub(super) fn active_mut(&mut self) -> impl Iterator<Item = &mut Publisher> {
        self.publishers
            .values_mut()
            .filter(|publisher| publisher.is_active())
    }

    /// Those that feed the track.
    pub(super) fn serving(&self) -> impl Iterator<Item = (SourceId, &Publisher)> {
        self.iter().filter(|(_, publisher)| publisher.is_serving())
    }

    /// Something that this one sends may be of use, now or soon.
    pub(super) fn may_bring(&self, id: SourceId) -> bool {
        let publisher = self.get(id);
        publisher.is_some_and(|publisher| publisher.is_active() || publisher.standing == Standing::Resting)
    }

    pub(super) fn any_serving(&self) -> bool {
        self.values().any(Publisher::is_serving)
    }

    pub(super) fn any_active(&self) -> bool {
        self.values().any(Publisher::is_active)
    }

    /// Somebody else than `id` feeds the track or is asked to.
    pub(super) fn any_active_beside(&self, id: SourceId) -> bool {
        self.iter()
            .any(|(other, publisher)| other != id && publisher.is_active())
    }

    /// A SUBSCRIBE of ours is open.
    pub(super) fn any_subscribed(&self) -> bool {
        self.values()
            .any(|publisher| publisher.is_announced() && publisher.is_active())
    }

    /// A publisher of this relay feeds the track or is asked to.
    pub(super) fn any_active_here(&self) -> bool {
        self.values()
            .any(|publisher| publisher.is_active() && publisher.is_here())
    }

    /// A SUBSCRIBE of ours is open with another node.
    pub(super) fn any_asked_elsewhere(&self) -> bool {
        self.values()
            .any(|publisher| publisher.is_announced() && publisher.is_active() && !publisher.is_here())
    }

    /// Somebody could be asked.
    pub(super) fn any_resting(&self) -> bool {
        self.values()
            .any(|publisher| publisher.standing == Standing::Resting)
    }

    /// Somebody left streams open that may still bring objects.
    pub(super) fn any_open_streams(&self) -> bool {
        self.values().any(Publisher::has_open_streams)
    }

    /// Whether somebody sent PUBLISH, and was not shunned.
    pub(super) fn has_published(&self) -> bool {
        self.values()
            .any(|publisher| publisher.is_published() && publisher.standing != Standing::Shunned)
    }

    /// A further PUBLISH would be beyond the bound. [D14-PUB-2]
    pub(super) fn is_full(&self) -> bool {
        let counts = |publisher: &&Publisher| {
            publisher.is_active() || (publisher.is_published() && publisher.standing == Standing::Resting)
        };
        self.values().filter(counts).count() >= self.max
    }

    /// Whom to ask next: who sent PUBLISH first, then the oldest announcer when `subscribes`. Of other nodes those only
    /// when `elsewhere`.
    pub(super) fn next_to_ask(&self, subscribes: bool, elsewhere: bool) -> Option<SourceId> {
        let resting = |publisher: &Publisher| publisher.standing == Standing::Resting;
        let published =
            |(_, publisher): &(SourceId, &Publisher)| !publisher.is_announced() && resting(publisher);
        if let Some((id, _)) = self.iter().find(published) {
            return Some(id);
        }
        if !subscribes || self.places_left().is_none_or(|left| left == 0) {
            return None;
        }
        let waiting = |standing| self.waiting(standing, elsewhere).next();
        waiting(Standing::Resting).or_else(|| waiting(Standing::Quiet))
    }

    /// Announcers that stand so and may be asked, the oldest first.
    fn waiting(&self, standing: Standing, elsewhere: bool) -> impl Iterator<Item = SourceId> {
        let announced = move |(_, publisher): &(SourceId, &Publisher)| {
            publisher.is_announced()
                && publisher.standing == standing
                && (elsewhere || publisher.is_here())
                && !self.publishes(publisher)
                // MOQT-14 §2.5 [D14-MAL-1]: it may be here under its PUBLISH too.
                && publisher.upstream().is_none_or(|upstream| !self.is_shunned(upstream))
        };
        self.iter().filter(announced).map(|(id, _)| id)
    }

    /// Who feeds the track or is asked to takes all places, or more.
    fn places_left(&self) -> Option<usize> {
        let active = self.values().filter(|publisher| publisher.is_active()).count();
        self.max.checked_sub(active)
    }

    /// Somebody waits for a place.
    pub(super) fn any_waiting(&self, elsewhere: bool) -> bool {
        let waits = || self.waiting(Standing::Resting, elsewhere).next().is_some();
        self.places_left().is_none_or(|left| left == 0) && waits()
    }

    /// More feed the track than may. [D14-PUB-2]
    pub(super) fn is_over(&self) -> bool {
        self.places_left().is_none()
    }

    /// Who of those that were told to send objects has brought nothing for the longest time, and since when: from when
    /// on its own pace would have had it bring something.
    pub(super) fn quietest(&self) -> Option<(SourceId, Instant)> {
        let told = |(_, publisher): &(SourceId, &Publisher)| {
            publisher.is_serving() && !publisher.is_local() && publisher.demand.is_forwarded()
        };
        let heard = self
            .iter()
            .filter(told)
            .map(|(id, publisher)| (id, publisher.due()));
        heard.min_by_key(|(_, heard)| *heard)
    }

    /// The same, if that is since `then` or longer.
    pub(super) fn quiet_since(&self, then: Option<Instant>) -> Option<SourceId> {
        let (id, heard) = self.quietest()?;
        then.is_some_and(|then| heard <= then).then_some(id)
    }

    /// This announcer feeds the track by PUBLISH: nobody has a track twice. [D14-VAL-15]
    fn publishes(&self, announcer: &Publisher) -> bool {
        self.values().any(|publisher| {
            publisher.is_published() && publisher.is_active() && publisher.upstream() == announcer.upstream()
        })
    }

    /// Whether this one broke the rules for tracks here.
    pub(super) fn is_shunned(&self, upstream: &Upstream) -> bool {
        self.values().any(|publisher| {
            publisher.standing == Standing::Shunned && publisher.upstream() == Some(upstream)
        })
    }

    /// Whether the announcement of this one brought it here already. It holds again, if it was withdrawn; and whoever
    /// refused before may be asked again.
    pub(super) fn knows(&mut self, upstream: &Upstream) -> bool {
        let mut publishers = self.publishers.values_mut();
        let Some(known) = publishers.find(|publisher| publisher.is_announced_by(upstream)) else {
            return false;
        };
        known.withdrawn = false;
        if matches!(known.standing, Standing::Over | Standing::Quiet) {
            known.standing = Standing::Resting;
        }
        true
    }

    /// Lets go of other nodes that announced; the value is who was let go of.
    pub(super) fn rest_elsewhere(&mut self) -> Vec<SourceId> {
        self.rest(|publisher| !publisher.is_here())
    }

    /// Lets go of these of all who announced, so that nothing is subscribed; the value is who was let go of.
    pub(super) fn rest(&mut self, whom: impl Fn(&Publisher) -> bool) -> Vec<SourceId> {
        let mut let_go = Vec::new();
        for (id, publisher) in self.publishers.iter_mut() {
            if !publisher.is_announced() || publisher.standing == Standing::Shunned || !whom(publisher) {
                continue;
            }
            if publisher.is_active() {
                let_go.push(*id);
            }
            publisher.let_go(Standing::Resting, self.window);
            publisher.insisted = false;
        }
        self.publishers
            .retain(|_, publisher| !publisher.withdrawn || publisher.standing != Standing::Resting);
        let_go
    }

    /// Whoever was passed over because its session reads the track is asked all the same; false when there is nobody.
    pub(super) fn insist(&mut self) -> bool {
        let mut any = false;
        for publisher in self.publishers.values_mut() {
            if publisher.standing == Standing::Reads {
                (publisher.standing, publisher.insisted, any) = (Standing::Resting, true, true);
            }
        }
        any
    }

    /// This announcer withdrew the namespace: those that did are forgotten as soon as they feed nothing.
    ///
    /// MOQT-14 §6.2 [D14-NS-12]: a subscription that exists goes on without the announcement, and no other follows it.
    pub(super) fn withdraw(&mut self, upstream: &Upstream) {
        self.publishers.retain(|_, publisher| {
            publisher.withdrawn |= publisher.is_announced_by(upstream);
            !publisher.withdrawn || publisher.is_active() || publisher.standing == Standing::Shunned
        });
    }

    /// What they say of the track together, with this order of groups: see [`TrackMeta::with`].
    pub(super) fn meta(&self, now: Instant) -> Option<TrackMeta> {
        let said = self.serving().filter_map(|(_, publisher)| publisher.meta(now));
        said.reduce(|all, one| all.with(&one))
    }

    /// The largest place that any of them told. MOQT-14 §9.8 [D14-PUB-3]
    pub(super) fn largest(&self) -> Option<Location> {
        self.serving()
            .filter_map(|(_, publisher)| publisher.largest)
            .max()
    }

    /// Whom a FETCH may be sent to, the best first: who feeds the track, who is known to answer, and who is not silent by
    /// its own pace. One that roams says nothing for a while, and is preferred again as soon as it speaks. Other nodes only
    /// when `elsewhere`.
    pub(super) fn to_fetch_from(&self, now: Instant, elsewhere: bool) -> Vec<SourceId> {
        let can = |(_, publisher): &(SourceId, &Publisher)| {
            publisher.upstream().is_some()
                && publisher.standing != Standing::Shunned
                && (elsewhere || publisher.is_here())
        };
        let mut all: Vec<_> = self.iter().filter(can).collect();
        all.sort_by_key(|(_, publisher)| {
            let silent = publisher.pulse.is_silent(now);
            (publisher.cannot_fetch, !publisher.is_serving(), silent)
        });
        all.into_iter().map(|(id, _)| id).collect()
    }

    /// Who is asked how the track stands, the oldest first: stubs, and other nodes when `elsewhere`; and whether clients of
    /// this relay publish it, who are subscribed to instead.
    pub(super) fn to_tell(&self, elsewhere: bool) -> (Vec<Upstream>, bool) {
        let (mut nodes, mut here) = (Vec::new(), false);
        for publisher in self.values() {
            if publisher.withdrawn || publisher.standing == Standing::Shunned {
                continue;
            }
            match publisher.upstream() {
                Some(upstream) if !upstream.is_local() => {
                    // One that announced, and published.
                    let asked = (elsewhere || upstream.is_ours()) && !nodes.contains(upstream);
                    if asked && nodes.len() < self.max {
                        nodes.push(upstream.clone());
                    }
                }
                Some(_) | None => here = true,
            }
        }
        (nodes, here)
    }

    /// Ends what was asked of all of them.
    pub(super) fn release_all(&mut self) {
        for publisher in self.publishers.values_mut() {
            release(&publisher.source, publisher.request.take());
        }
    }

    /// How many feed the track.
    pub(super) fn count(&self) -> usize {
        self.serving().count()
    }
}

//! The relays of a network, out of what multicast DNS says of them.

use super::instance::Instance;
use super::offer::{Offer, Oversized};
use crate::peering::node::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

/// Relays that are kept. Whoever is on the network can make up any number; a home has a few, a floor some dozens.
pub const MAX_RELAYS: usize = 256;
/// Addresses of one relay that are kept: a few interfaces with both families and temporary addresses.
pub const MAX_ADDRESSES: usize = 16;
/// Names of which it is remembered that their fault was told.
pub const MAX_FAULTS: usize = 64;
/// How long a relay is kept of which somewhere was said that it is gone: an interface that went away says so of every
/// relay seen through it, and who is there on another answers a question well within this.
pub const IN_DOUBT: Duration = Duration::from_secs(5);

/// One address of one relay, as a browser tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting<A> {
    /// The instance's name.
    pub name: String,
    /// The name of its machine, such as `relay-1.local`; empty when it is not known.
    pub host: String,
    /// Its addresses, those that can be reached from here; may be empty.
    pub addresses: Vec<A>,
    /// These are all it has, so that others known of it are old.
    pub complete: bool,
    /// The port of the SRV record.
    pub port: u16,
    /// Its TXT record, read.
    pub offer: Result<Offer, Oversized>,
}

/// A relay on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour<A> {
    /// What it is called.
    pub instance: Instance,
    /// The name of its machine; empty when it is not known.
    pub host: String,
    /// Where it is reached, the best first; never empty in what [`News`] tells.
    pub addresses: BTreeSet<A>,
    /// The UDP port for clients.
    pub port: NonZeroU16,
    /// What it says it has.
    pub offer: Offer,
}

/// Who we are, so that we do not find ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ourselves {
    /// The name under which we are advertised; changes when somebody else has it already.
    pub instance: Instance,
    /// The port that we advertise.
    pub port: u16,
    /// What we offer; its id is ours.
    pub offer: Offer,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News<A> {
    /// A relay is there, or something about it is new.
    Found(Neighbour<A>),
    /// The relay of this name is there no more.
    Lost(Instance),
    /// A record is not taken; told once for each name until it is gone.
    Faulty(Instance, Fault),
}

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// RFC 6763 §6.2
    #[error(transparent)]
    Oversized(#[from] Oversized),
    /// Port 0, which nobody can reach.
    #[error("its port is 0")]
    NoPort,
    /// Somebody else advertises our name or node id.
    #[error("it claims to be this relay: another relay has the same endpoint id, or somebody pretends to")]
    ClaimsOurId,
    /// More relays than are kept.
    #[error("there are more than {MAX_RELAYS} relays")]
    TooMany,
}

/// What is known of the relays around. `A` is an address; the smaller is the better.
///
/// One input, then [`Self::poll`] until it has no more. It holds at most [`MAX_RELAYS`] relays with [`MAX_ADDRESSES`]
/// each; one input makes no more news than there are relays, and news of a relay replaces what waits of it.
#[derive(Debug)]
pub struct Neighbours<A> {
    us: Option<Ourselves>,
    /// What we offered before, which somebody may still repeat.
    offered: Option<Offer>,
    known: BTreeMap<Instance, Known<A>>,
    faults: BTreeMap<Instance, Fault>,
    news: VecDeque<(Instance, Pending)>,
    /// Sightings of relays for which there was no room.
    refused: u64,
}

#[derive(Debug)]
struct Known<A> {
    relay: Neighbour<A>,
    /// Somebody was told of it.
    told: bool,
    /// Until then it is kept though it was said to be gone.
    doubted: Option<Instant>,
    /// Addresses that were seen since it was doubted; they replace the others when it is seen again.
    renewed: BTreeSet<A>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Found,
    Lost,
    Faulty,
}

impl<A: Ord + Clone> Neighbours<A> {
    /// Nobody yet. `us` is who must not be found, for a relay; a client has nobody.
    #[must_use]
    pub const fn new(us: Option<Ourselves>) -> Self {
        Self {
            us,
            offered: None,
            known: BTreeMap::new(),
            faults: BTreeMap::new(),
            news: VecDeque::new(),
            refused: 0,
        }
    }

    /// We are advertised under another name now.
    pub fn renamed(&mut self, instance: Instance) {
        if let Some(us) = &mut self.us {
            us.instance = instance.clone();
        }
        self.forget(&instance);
    }

    /// We offer something else now. What we offered until now is still ours when it is seen.
    pub fn offers(&mut self, offer: Offer) {
        if let Some(us) = &mut self.us
            && us.offer != offer
        {
            self.offered = Some(std::mem::replace(&mut us.offer, offer));
        }
    }

    /// A relay was seen.
    pub fn seen(&mut self, sighting: Sighting<A>) {
        // A name that is none is not worth a line: no resolver hands one out.
        let Some(instance) = Instance::new(&sighting.name) else {
            return;
        };
        let (offer, port) = match self.judge(&instance, &sighting) {
            Ok(Some(good)) => good,
            Ok(None) => return,
            // A flood of them is one piece of news.
            Err(Fault::TooMany) if self.refused > 1 => return,
            Err(fault) => return self.fault(instance, fault),
        };
        self.faults.remove(&instance);
        let known = self.known.entry(instance.clone()).or_insert_with(|| Known {
            relay: Neighbour {
                instance: instance.clone(),
                host: String::new(),
                addresses: BTreeSet::new(),
                port,
                offer: Offer::default(),
            },
            told: false,
            doubted: None,
            renewed: BTreeSet::new(),
        });
        let before = known.relay.clone();
        if known.doubted.is_some() {
            extend(&mut known.renewed, &sighting.addresses);
        }
        if sighting.complete && !sighting.addresses.is_empty() {
            known.relay.addresses.clear();
        }
        extend(&mut known.relay.addresses, &sighting.addresses);
        known.relay.port = port;
        known.relay.offer = offer;
        if !sighting.host.is_empty() {
            known.relay.host = sighting.host;
        }
        if !known.relay.addresses.is_empty() && (!known.told || known.relay != before) {
            known.told = true;
            self.tell(instance, Pending::Found);
        }
    }

    /// The relay of this name is gone everywhere.
    pub fn gone(&mut self, name: &str) {
        if let Some(instance) = Instance::new(name) {
            self.forget(&instance);
        }
    }

    /// The relay of this name is gone somewhere, or what was known of it is old: unless it is seen again within
    /// [`IN_DOUBT`] of `now`, it is gone, and so are those of its addresses that are not.
    pub fn doubt(&mut self, name: &str, now: Instant) {
        let known = Instance::new(name).and_then(|instance| self.known.get_mut(&instance));
        if let Some(known) = known {
            known.doubt(now);
        }
    }

    /// What multicast DNS says begins anew, as after a restart of its daemon: everybody is in doubt, and has all of
    /// [`IN_DOUBT`] to be seen, whatever was doubted before.
    pub fn doubt_all(&mut self, now: Instant) {
        for known in self.known.values_mut() {
            known.doubted = None;
            known.doubt(now);
        }
    }

    /// The next time at which [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.known.values().filter_map(|known| known.doubted).min()
    }

    /// Time has passed: who was in doubt and was not seen again is gone.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |(_, known): &(&Instance, &Known<A>)| known.doubted.is_some_and(|until| until <= now);
        let due: Vec<Instance> = self
            .known
            .iter()
            .filter(due)
            .map(|(instance, _)| instance.clone())
            .collect();
        for instance in due {
            let Some(known) = self.known.get_mut(&instance) else {
                continue;
            };
            known.doubted = None;
            let left = std::mem::take(&mut known.renewed);
            if left.is_empty() {
                self.forget(&instance);
            } else if left != known.relay.addresses {
                known.relay.addresses = left;
                self.tell(instance, Pending::Found);
            }
        }
    }

    /// What is new, the oldest first.
    pub fn poll(&mut self) -> Option<News<A>> {
        while let Some((instance, pending)) = self.news.pop_front() {
            let news = match pending {
                Pending::Found => self
                    .known
                    .get(&instance)
                    .map(|known| News::Found(known.relay.clone())),
                Pending::Lost => Some(News::Lost(instance)),
                Pending::Faulty => self
                    .faults
                    .get(&instance)
                    .map(|fault| News::Faulty(instance.clone(), *fault)),
            };
            if news.is_some() {
                return news;
            }
        }
        None
    }

    /// The relays that are there, by name.
    pub fn relays(&self) -> impl Iterator<Item = &Neighbour<A>> {
        self.known
            .values()
            .filter(|known| known.told)
            .map(|known| &known.relay)
    }

    /// How often there was no room for a relay.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// What can be taken of it; none when it is our own.
    fn judge(
        &mut self,
        instance: &Instance,
        sighting: &Sighting<A>,
    ) -> Result<Option<(Offer, NonZeroU16)>, Fault> {
        let offer = sighting.offer.clone()?;
        if let Some(us) = &self.us {
            if us.port == sighting.port && (us.offer == offer || self.offered.as_ref() == Some(&offer)) {
                return Ok(None);
            }
            let same_id = |id: NodeId| us.offer.id == Some(id);
            if us.instance == *instance || offer.id.is_some_and(same_id) {
                return Err(Fault::ClaimsOurId);
            }
        }
        let port = NonZeroU16::new(sighting.port).ok_or(Fault::NoPort)?;
        if !self.known.contains_key(instance) && self.known.len() >= MAX_RELAYS {
            self.refused = self.refused.saturating_add(1);
            return Err(Fault::TooMany);
        }
        Ok(Some((offer, port)))
    }

    /// Tells it once. A relay that was there keeps what it said before: one forged record does not take it away.
    fn fault(&mut self, instance: Instance, fault: Fault) {
        let told = self.faults.get(&instance) == Some(&fault);
        let room = self.faults.len() < MAX_FAULTS || self.faults.contains_key(&instance);
        if !told && room {
            self.faults.insert(instance.clone(), fault);
            self.tell(instance, Pending::Faulty);
        }
    }

    fn forget(&mut self, instance: &Instance) {
        self.faults.remove(instance);
        if self.known.remove(instance).is_some_and(|known| known.told) {
            self.tell(instance.clone(), Pending::Lost);
        }
    }

    fn tell(&mut self, instance: Instance, pending: Pending) {
        // Being gone and being there replace each other; a fault is told beside them.
        let kind = |pending| pending == Pending::Faulty;
        self.news
            .retain(|(other, before)| *other != instance || kind(*before) != kind(pending));
        self.news.push_back((instance, pending));
    }
}

impl<A: Ord + Clone> Known<A> {
    fn doubt(&mut self, now: Instant) {
        if self.doubted.is_none() {
            self.renewed.clear();
        }
        self.doubted = self.doubted.or_else(|| now.checked_add(IN_DOUBT));
    }
}

/// As many as fit, and of too many the best.
fn extend<A: Ord + Clone>(kept: &mut BTreeSet<A>, seen: &[A]) {
    for address in seen {
        kept.insert(address.clone());
        if kept.len() > MAX_ADDRESSES {
            kept.pop_last();
        }
    }
}

//! Relays and clients of a local network find each other: multicast DNS, laps, "Discovery".
//!
//! ```text
//! thread "laps-discovery"                               system arbiter
//! BackEnd ── Heard ▶ Neighbours ── Report (64) ▶ DiscoveryActor ── Introductions (watched) ▶ peering
//! ```
//!
//! [`BackEnd`] is one way to speak multicast DNS; `mdns_sd` and `zeroconf` are compiled in with their features. [`Watch`] is
//! the thread around it, which `laps discover` uses too. Nothing here is asked anything by who carries data, and
//! nothing waits for it.

mod address;
mod back_end;
#[cfg(feature = "mdns-sd")]
mod mdns_sd;
mod messages;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod watch;
#[cfg(feature = "mdns-zeroconf")]
mod zeroconf;

pub use address::Address;
pub use back_end::{Advert, BackEnd, Heard, Reach, Trouble};
pub use messages::{Found, Introductions, PeerFound};
pub use watch::{MAX_REPORTS, Report, Watch};

use crate::root::{Remaining, SendAway, StopChild};
use crate::supervise::mailbox;
use crate::supervise::{Backoff, ChildGuard, Faults};
use crate::transport::Renewals;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, StreamHandler};
use futures::stream;
use laps_protocol::discovery::{Neighbour, News, Offer};
use slog::{Logger, info, warn};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// How long it stays away when it fails: nobody misses it for a while.
pub const BACKOFF: Backoff = Backoff {
    at_once: 0,
    first: Duration::from_secs(1),
    max: Duration::from_mins(1),
    jitter_percent: 20,
};

/// Which ways of speaking multicast DNS may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// Whatever this program has and the system lets work.
    #[default]
    Auto,
    /// The library of the system alone: Avahi's or Bonjour.
    Zeroconf,
    /// The crate `mdns-sd` alone.
    MdnsSd,
}

/// A way that this program was built without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this program was built without the feature `{feature}`")]
pub struct NotBuiltIn {
    /// The feature that has it.
    pub feature: &'static str,
}

impl Way {
    /// The back ends of this program for it, the preferred one first.
    ///
    /// # Errors
    /// [`NotBuiltIn`] when there is none.
    pub fn back_ends(self) -> Result<Vec<Box<dyn BackEnd>>, NotBuiltIn> {
        #[allow(unused_mut, reason = "each feature adds one")]
        let mut found: Vec<Box<dyn BackEnd>> = Vec::new();
        #[cfg(feature = "mdns-zeroconf")]
        if matches!(self, Self::Auto | Self::Zeroconf) {
            found.push(Box::new(zeroconf::Zeroconf::default()));
        }
        #[cfg(feature = "mdns-sd")]
        if matches!(self, Self::Auto | Self::MdnsSd) {
            found.push(Box::new(mdns_sd::MdnsSd::default()));
        }
        if !found.is_empty() {
            return Ok(found);
        }
        Err(NotBuiltIn {
            feature: match self {
                Self::Zeroconf => "mdns-zeroconf",
                Self::Auto | Self::MdnsSd => "mdns-sd",
            },
        })
    }
}

/// Advertises this relay and finds others.
///
/// - Parent: RootActor, on the system arbiter. Permanent, with a slow back-off and no limit; a relay works without it.
/// - In: reports of its [`Watch`]; [`StopChild`], [`SendAway`].
/// - Out: [`Introductions`], where whoever dials them finds relays that take relays.
/// - Lost with it: what was found, which is found again.
pub struct DiscoveryActor {
    log: Logger,
    /// None once it is to end: the thread then says goodbye.
    watch: Option<Watch>,
    reports: Option<Receiver<Report>>,
    /// What to advertise when the certificate is another one, and who tells of that.
    renewing: Option<(Advert, Renewals)>,
    peers: Option<Introductions>,
    faults: Faults,
    _guard: Option<ChildGuard>,
}

impl DiscoveryActor {
    /// An actor over a thread that runs.
    #[must_use]
    pub fn new(log: Logger, (watch, reports): (Watch, Receiver<Report>), guard: Option<ChildGuard>) -> Self {
        Self {
            log,
            watch: Some(watch),
            reports: Some(reports),
            renewing: None,
            peers: None,
            faults: Faults::default(),
            _guard: guard,
        }
    }

    /// Tells there of relays that take relays.
    #[must_use]
    pub fn telling(mut self, peers: Option<Introductions>) -> Self {
        self.peers = peers;
        self
    }

    /// Advertises the certificate that is shown.
    #[must_use]
    pub fn renewing(mut self, advert: Advert, renewals: Renewals) -> Self {
        self.renewing = Some((advert, renewals));
        self
    }

    /// With points at which a test makes it fail.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    fn news(&mut self, news: News<Address>) {
        match news {
            News::Found(relay) => self.found(&relay),
            News::Lost(instance) => {
                info!(self.log, "relay is not advertised any more"; "relay" => %instance);
                if let Some(peers) = &self.peers {
                    peers.lost(&instance);
                }
            }
            News::Faulty(instance, fault) => {
                warn!(self.log, "advertised relay is not taken"; "relay" => %instance, "reason" => %fault);
            }
        }
    }

    fn found(&mut self, relay: &Neighbour<Address>) {
        let first = relay
            .addresses
            .first()
            .map(|address| address.socket(relay.port.get()));
        info!(self.log, "relay found"; "relay" => %relay.instance, "addr" => first.map(|addr| addr.to_string()),
            "version" => relay.offer.version.clone());
        let Some(peers) = &self.peers else { return };
        let Some(port) = relay.offer.peer_port else {
            // It may have taken relays before.
            peers.lost(&relay.instance);
            return;
        };
        let addresses = relay.addresses.iter();
        let found = PeerFound {
            node: relay.offer.id,
            node_type: relay.offer.node_type,
            addresses: addresses.map(|address| address.socket(port.get())).collect(),
        };
        peers.found(relay.instance.clone(), found);
    }
}

impl Actor for DiscoveryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.faults.attend(ctx, "discovery", || "discovery");
        if let Some(peers) = &self.peers {
            peers.clear();
        }
        if let Some(reports) = self.reports.take() {
            let next = |mut reports: Receiver<Report>| async move {
                reports.recv().await.map(|report| (report, reports))
            };
            ctx.add_stream(stream::unfold(reports, next));
        }
        if let Some((advert, renewals)) = self.renewing.take() {
            let next = move |mut renewals: Renewals| {
                let advert = advert.clone();
                async move {
                    let known_by = renewals.next().await?;
                    Some((Renewed(advert.renewed(known_by)), renewals))
                }
            };
            ctx.add_message_stream(stream::unfold(renewals, next));
        }
    }
}

/// Something else is to be advertised.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Renewed(Offer);

impl Handler<Renewed> for DiscoveryActor {
    type Result = ();

    fn handle(&mut self, msg: Renewed, _: &mut Self::Context) {
        info!(self.log, "another certificate is advertised");
        if let Some(watch) = &self.watch {
            watch.offer(msg.0);
        }
    }
}

impl StreamHandler<Report> for DiscoveryActor {
    fn handle(&mut self, report: Report, _: &mut Self::Context) {
        self.faults.check("discovery");
        match report {
            Report::News(news) => self.news(news),
            Report::Works { by, because: None } => {
                info!(self.log, "looking for relays on the local network"; "by" => by);
            }
            Report::Works {
                by,
                because: Some(why),
            } => info!(self.log, "looking for relays on the local network"; "by" => by, "because" => why),
            Report::Hidden { by, why } => {
                warn!(self.log, "relays can be found, but this one is not advertised on the local network; trying again";
                    "by" => by, "why" => why);
            }
            Report::Troubled(why) => {
                warn!(self.log, "no relays can be found on the local network; trying again"; "why" => why);
            }
            Report::Renamed(name) => {
                warn!(self.log, "somebody else on the local network has our name"; "advertised_as" => name);
            }
        }
    }

    /// The thread has ended: because it was told to, or because it failed, which is this actor's failure then.
    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<StopChild> for DiscoveryActor {
    type Result = ();

    /// The end of the reports is the end of this actor: by then the network has heard that the relay leaves.
    fn handle(&mut self, _: StopChild, _: &mut Self::Context) {
        self.watch = None;
    }
}

impl Handler<SendAway> for DiscoveryActor {
    type Result = ();

    /// It serves nobody, and nobody new is to find a relay that is about to end.
    fn handle(&mut self, msg: SendAway, _: &mut Self::Context) {
        if let Some(watch) = &self.watch {
            watch.withdraw();
        }
        mailbox::signal(
            &msg.report,
            Remaining {
                child: msg.child,
                sessions: 0,
            },
        );
    }
}

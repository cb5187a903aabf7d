//! What speaks multicast DNS: the trait that each way of doing so implements.

use super::address::Address;
use crate::transport::Fingerprints;
use laps_protocol::discovery::{Instance, Offer, Ourselves, Sighting};
use std::net::IpAddr;
use std::time::Duration;

/// What a relay tells the network of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The name it would like; somebody else may have it already.
    pub instance: Instance,
    /// UDP port for clients.
    pub port: u16,
    /// What is in the TXT record.
    pub offer: Offer,
    /// Where it can be reached.
    pub reach: Reach,
}

/// Which addresses of this machine a relay listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    All,
    /// All of IPv4.
    V4,
    /// This one.
    One(IpAddr),
}

impl Advert {
    /// What is offered once its certificate is another one.
    #[must_use]
    pub fn renewed(&self, known_by: Fingerprints) -> Offer {
        Offer {
            certificate: Some(known_by.certificate),
            key: Some(Box::new(known_by.key)),
            ..self.offer.clone()
        }
    }

    /// Who we are then, so that we do not find ourselves.
    #[must_use]
    pub fn ourselves(&self) -> Ourselves {
        Ourselves {
            instance: self.instance.clone(),
            port: self.port,
            offer: self.offer.clone(),
        }
    }
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A relay.
    Seen(Sighting<Address>),
    /// The relay of this name is gone.
    Gone(String),
    /// The relay of this name is gone somewhere; who is left is asked again.
    Doubtful(String),
    /// We are advertised under this name, because somebody has ours.
    Renamed(Instance),
}

/// Why a back end does not work. It is opened anew after a while.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

/// One way to speak multicast DNS. It lives on a thread of its own and may block there, for no longer than it is told.
pub trait BackEnd: Send {
    /// What it is called in the log.
    fn name(&self) -> &'static str;

    /// Begins to browse, and to advertise where there is something to.
    ///
    /// # Errors
    /// When it cannot; it is left closed then.
    fn open(&mut self, advert: Option<&Advert>) -> Result<(), Trouble>;

    /// Listens for at most about `wait`, and hands on what is heard.
    ///
    /// # Errors
    /// When it works no more, or, as the first thing that is heard, what it was opened for is refused; it is closed, and
    /// opened anew or another in its place.
    fn listen(&mut self, wait: Duration, heard: &mut dyn FnMut(Heard)) -> Result<(), Trouble>;

    /// Ends, and takes back what was advertised. Does nothing when it is not open.
    fn close(&mut self);
}

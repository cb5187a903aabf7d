//! Multicast DNS by the system: Avahi on Linux, Bonjour on macOS, both by the crate `zeroconf`.
//!
//! What its callbacks get is handed on as it is and read on our own side of them: they are called from C, where a panic
//! ends the process.

use super::address::Address;
use super::back_end::{Advert, BackEnd, Heard, Trouble};
use laps_protocol::discovery::{Instance, MAX_INSTANCE, MAX_RELAYS, Offer, Oversized, Sighting};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use zeroconf::prelude::*;
use zeroconf::{BrowserEvent, EventLoop, MdnsBrowser, MdnsService, ServiceDiscovery, ServiceType, TxtRecord};

/// What callbacks say in one turn; what is more is asked for anew. The daemon gives a client 1024 objects, one for each
/// relay that it looks up.
const MAX_SAID: usize = 1024;
/// Strings of a TXT record that is read at all; ours has eight.
const MAX_STRINGS: usize = 32;
/// Records in one life of this that are found to hold no text. The crate panics over such a one, which costs a line on
/// standard error; after these none is read any more.
const MAX_UNREADABLE: u32 = 8;
/// Names that are tried when somebody else on this machine has ours.
const MAX_NAMES: u32 = 16;
/// How long after a relay went from somewhere the others are asked anew, so that one question serves many.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often everybody is asked anew: a text that is new, or a relay that was killed, is no event of the daemon's.
const ASK_ALL: Duration = Duration::from_mins(1);
/// What the crate says when a relay that it heard of does not answer, or when the daemon looks for as many as it wants
/// to: no fault of ours, and whoever forges records can bring it about.
const OF_OTHERS: [&str; 2] = [
    "failed to resolve service",
    "could not initialize AvahiServiceResolver",
];
/// What Avahi says when another program of this machine has the name.
const NAME_TAKEN: &str = "Local name collision";

/// The crate `zeroconf`.
#[derive(Default)]
pub(super) struct Zeroconf {
    open: Option<Open>,
    /// The name that the network was last found to know us by, so that a daemon that comes back is no news of it.
    known_as: Option<Instance>,
}

struct Open {
    said: Receiver<Said>,
    tell: SyncSender<Said>,
    browsing: (EventLoop, MdnsBrowser),
    advertising: Option<Advertising>,
    /// Who was seen, at most as many as anybody remembers.
    seen: BTreeSet<String>,
    /// When the network is asked anew who is there.
    ask: Instant,
    ask_all: Instant,
    unreadable: u32,
}

struct Advertising {
    advert: Advert,
    open: (EventLoop, MdnsService),
    /// Names that were tried.
    tried: u32,
}

/// What a callback got.
enum Said {
    Event(BrowserEvent),
    Blind(String),
    Registered(String),
    Refused(String),
}

impl BackEnd for Zeroconf {
    fn name(&self) -> &'static str {
        "zeroconf"
    }

    fn open(&mut self, advert: Option<&Advert>) -> Result<(), Trouble> {
        self.close();
        let (tell, said) = sync_channel(MAX_SAID);
        let browsing = browse(&tell)?;
        let advertising = advert
            .map(|advert| Advertising::begin(advert.clone(), 1, &tell))
            .transpose()?;
        let now = Instant::now();
        self.open = Some(Open {
            said,
            tell,
            browsing,
            advertising,
            seen: BTreeSet::new(),
            ask: now + ASK_ALL,
            ask_all: now + ASK_ALL,
            unreadable: 0,
        });
        Ok(())
    }

    fn listen(&mut self, wait: Duration, heard: &mut dyn FnMut(Heard)) -> Result<(), Trouble> {
        let Some(open) = &mut self.open else {
            return Err(Trouble("it is not open".to_owned()));
        };
        // One thread, two loops: the advertisement needs no more than a look.
        if let Some(advertising) = &open.advertising {
            advertising.open.0.poll(Duration::ZERO)?;
        }
        open.browsing.0.poll(wait)?;
        // What a new name is refused with is said while this goes on: all names are tried in one turn, and no more than
        // that is said but by `poll`.
        while let Ok(said) = open.said.try_recv() {
            match said {
                Said::Event(BrowserEvent::Add(service)) => heard(open.seen(&service)),
                // It went from one interface with one family; whether it is there on others, it says itself.
                Said::Event(BrowserEvent::Remove(service)) => {
                    heard(Heard::Doubtful(service.name().clone()));
                    open.ask = open.ask.min(Instant::now() + ASK_AGAIN);
                }
                Said::Blind(why) if OF_OTHERS.iter().any(|of| why.starts_with(of)) => {}
                Said::Blind(why) => return Err(Trouble(why)),
                Said::Registered(name) => {
                    let name = Instance::new(&name);
                    let wanted = open.advertising.as_ref().map(|it| &it.advert.instance);
                    let is_new = name.is_some() && name != self.known_as && name.as_ref() != wanted;
                    self.known_as.clone_from(&name);
                    if let (true, Some(name)) = (is_new, name) {
                        heard(Heard::Renamed(name));
                    }
                }
                Said::Refused(why) => open.refused(why)?,
            }
        }
        open.ask_when_due(Instant::now(), heard)
    }

    fn close(&mut self) {
        // Dropped, an advertisement is taken back.
        self.open = None;
    }
}

impl Open {
    fn seen(&mut self, service: &ServiceDiscovery) -> Heard {
        if self.seen.len() < MAX_RELAYS {
            self.seen.insert(service.name().clone());
        }
        // Avahi tells an address without its interface, so a link-local one of IPv6 is none.
        let address = service.address().parse().ok().and_then(|ip| Address::new(ip, 0));
        Heard::Seen(Sighting {
            name: service.name().clone(),
            host: service.host_name().trim_end_matches('.').to_owned(),
            addresses: address.into_iter().collect(),
            complete: false,
            port: *service.port(),
            offer: match service.txt() {
                Some(record) => read(record, &mut self.unreadable),
                None => Ok(Offer::default()),
            },
        })
    }

    /// Our advertisement was not taken: under another name it may be.
    fn refused(&mut self, why: String) -> Result<(), Trouble> {
        match self.advertising.take() {
            Some(before) if why.contains(NAME_TAKEN) && before.tried < MAX_NAMES => {
                let Advertising { advert, open, tried } = before;
                // The group that was refused goes first, or it would stand in the way of the next.
                drop(open);
                self.advertising = Some(Advertising::begin(advert, tried.saturating_add(1), &self.tell)?);
                Ok(())
            }
            _ => Err(Trouble(format!("what we advertise is not taken: {why}"))),
        }
    }

    /// A new question has the daemon tell of everybody it knows.
    fn ask_when_due(&mut self, now: Instant, heard: &mut dyn FnMut(Heard)) -> Result<(), Trouble> {
        if now < self.ask {
            return Ok(());
        }
        if now >= self.ask_all {
            self.ask_all = now + ASK_ALL;
            for name in std::mem::take(&mut self.seen) {
                heard(Heard::Doubtful(name));
            }
        }
        self.ask = self.ask_all;
        self.browsing = browse(&self.tell)?;
        Ok(())
    }
}

impl Advertising {
    /// Advertises it under the name that is tried for the `tried`th time.
    fn begin(advert: Advert, tried: u32, tell: &SyncSender<Said>) -> Result<Self, Trouble> {
        let mut record = TxtRecord::new();
        for (key, value) in advert.offer.strings() {
            record.insert(key, &value)?;
        }
        let tell = tell.clone();
        let mut ours = MdnsService::new(service()?, advert.port);
        ours.set_name(&numbered(advert.instance.as_str(), tried));
        ours.set_txt_record(record);
        ours.set_registered_callback(Box::new(move |done, _| {
            let said = done.map_or_else(
                |error| Said::Refused(error.to_string()),
                |done| Said::Registered(done.name().clone()),
            );
            // A few words a life, far from the bound; nobody listens when this is being closed.
            drop(tell.try_send(said));
        }));
        let event_loop = ours.register()?;
        let open = (event_loop, ours);
        Ok(Self { advert, open, tried })
    }
}

impl From<zeroconf::error::Error> for Trouble {
    fn from(error: zeroconf::error::Error) -> Self {
        Self(error.to_string())
    }
}

/// The name as Avahi numbers the names that are taken, cut to what a label holds.
fn numbered(name: &str, tried: u32) -> String {
    if tried <= 1 {
        return name.to_owned();
    }
    let number = format!(" #{tried}");
    let mut end = MAX_INSTANCE.saturating_sub(number.len()).min(name.len());
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let (kept, _) = name.split_at_checked(end).unwrap_or((name, ""));
    format!("{kept}{number}")
}

fn service() -> Result<ServiceType, zeroconf::error::Error> {
    // `laps_protocol::discovery::SERVICE` in the parts that the crate wants.
    ServiceType::new("laps", "udp")
}

fn browse(tell: &SyncSender<Said>) -> Result<(EventLoop, MdnsBrowser), Trouble> {
    let tell = tell.clone();
    let mut browser = MdnsBrowser::new(service()?);
    browser.set_service_callback(Box::new(move |event, _| {
        let said = event.map_or_else(|error| Said::Blind(error.to_string()), Said::Event);
        // What finds no room is told again when everybody is asked anew.
        drop(tell.try_send(said));
    }));
    let event_loop = browser.browse_services()?;
    Ok((event_loop, browser))
}

fn read(record: &TxtRecord, unreadable: &mut u32) -> Result<Offer, Oversized> {
    if record.len() > MAX_STRINGS || *unreadable >= MAX_UNREADABLE {
        return Err(Oversized);
    }
    let mut strings = Vec::new();
    for key in Offer::KEYS {
        match catch_unwind(AssertUnwindSafe(|| record.get(key))) {
            Ok(Some(value)) => strings.push((*key, value)),
            Ok(None) => {}
            Err(_) => *unreadable = unreadable.saturating_add(1),
        }
    }
    Offer::read(
        strings
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_bytes())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name conflict: "logged once, repaired".
    #[test]
    fn a_name_that_is_taken_gets_a_number_and_stays_a_label() {
        assert_eq!(numbered("relay", 1), "relay");
        assert_eq!(numbered("relay", 2), "relay #2");
        let long = "ä".repeat(31);
        let name = numbered(&long, 16);
        assert!(name.ends_with("ä #16") && name.len() <= MAX_INSTANCE, "{name}");
    }

    /// Of a record only what is of a size is read, and after a few that were none nothing is.
    #[test]
    fn what_we_say_is_read_again() {
        let ours = Offer::of_this_program("1.2.3");
        let mut record = TxtRecord::new();
        for (key, value) in ours.strings() {
            record.insert(key, &value).unwrap();
        }
        let mut unreadable = 0;
        assert_eq!(read(&record, &mut unreadable), Ok(ours));
        for index in 0..=MAX_STRINGS {
            record.insert(&format!("more{index}"), "").unwrap();
        }
        assert_eq!(read(&record, &mut unreadable), Err(Oversized));
        assert_eq!(read(&TxtRecord::new(), &mut unreadable), Ok(Offer::default()));
        unreadable = MAX_UNREADABLE;
        assert_eq!(read(&TxtRecord::new(), &mut unreadable), Err(Oversized));
    }
}

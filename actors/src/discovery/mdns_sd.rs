//! Multicast DNS in Rust alone, by the crate `mdns-sd`: no daemon, no library of the system.

use super::address::Address;
use super::back_end::{Advert, BackEnd, Heard, Reach, Trouble};
use laps_protocol::discovery::{Instance, Offer, SERVICE, Sighting};
use mdns_sd::{
    DaemonEvent, IfKind, RRType, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent,
    ServiceInfo,
};
use std::time::Duration;

/// How long the network is told that we leave.
const GOODBYE: Duration = Duration::from_millis(300);

/// The crate `mdns-sd`.
#[derive(Default)]
pub(super) struct MdnsSd(Option<Open>);

struct Open {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    states: Receiver<DaemonEvent>,
    /// What we are advertised as.
    ours: Option<String>,
}

impl BackEnd for MdnsSd {
    fn name(&self) -> &'static str {
        "mdns-sd"
    }

    fn open(&mut self, advert: Option<&Advert>) -> Result<(), Trouble> {
        self.close();
        let daemon = ServiceDaemon::new()?;
        let opened = begin(&daemon, advert);
        match opened {
            Ok((events, states, ours)) => {
                self.0 = Some(Open {
                    daemon,
                    events,
                    states,
                    ours,
                });
                Ok(())
            }
            Err(error) => {
                end(&daemon);
                Err(error.into())
            }
        }
    }

    fn listen(&mut self, wait: Duration, heard: &mut dyn FnMut(Heard)) -> Result<(), Trouble> {
        let Some(open) = &mut self.0 else {
            return Err(Trouble("it is not open".to_owned()));
        };
        if let Ok(event) = open.events.recv_timeout(wait) {
            hear(event, heard);
        }
        while let Ok(event) = open.events.try_recv() {
            hear(event, heard);
        }
        while let Ok(state) = open.states.try_recv() {
            // The name of the machine may be taken too; nobody has to know that one.
            if let DaemonEvent::NameChange(change) = state
                && change.rr_type == RRType::SRV
            {
                open.ours = Some(change.new_name.clone());
                if let Some(name) = instance_of(&change.new_name).as_deref().and_then(Instance::new) {
                    heard(Heard::Renamed(name));
                }
            }
        }
        // It gives up a listener that does not keep up, and is gone when its thread is.
        if open.events.is_disconnected() {
            return Err(Trouble("it has ended".to_owned()));
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(open) = self.0.take() else { return };
        let leaving = open.ours.and_then(|ours| open.daemon.unregister(&ours).ok());
        if let Some(left) = leaving {
            drop(left.recv_timeout(GOODBYE));
        }
        end(&open.daemon);
    }
}

impl Drop for MdnsSd {
    fn drop(&mut self) {
        self.close();
    }
}

impl From<mdns_sd::Error> for Trouble {
    fn from(error: mdns_sd::Error) -> Self {
        Self(error.to_string())
    }
}

type Begun = (Receiver<ServiceEvent>, Receiver<DaemonEvent>, Option<String>);

fn begin(daemon: &ServiceDaemon, advert: Option<&Advert>) -> Result<Begun, mdns_sd::Error> {
    let states = daemon.monitor()?;
    let ours = match advert {
        Some(advert) => {
            let info = info(advert)?;
            let name = info.get_fullname().to_owned();
            daemon.register(info)?;
            Some(name)
        }
        None => None,
    };
    Ok((daemon.browse(&service())?, states, ours))
}

fn end(daemon: &ServiceDaemon) {
    // Its thread may be gone already.
    if let Ok(ended) = daemon.shutdown() {
        drop(ended.recv_timeout(GOODBYE));
    }
}

fn service() -> String {
    format!("{SERVICE}.local.")
}

fn info(advert: &Advert) -> Result<ServiceInfo, mdns_sd::Error> {
    // A name of its own: that of the machine belongs to whoever else speaks for it, as Avahi does.
    let of_node = advert
        .offer
        .id
        .map_or_else(|| "laps".to_owned(), |id| format!("laps-{:016x}", id.0));
    let addresses: &[_] = match &advert.reach {
        Reach::One(ip) => &[*ip],
        Reach::All | Reach::V4 => &[],
    };
    let strings = advert.offer.strings();
    let mut info = ServiceInfo::new(
        &service(),
        advert.instance.as_str(),
        &format!("{of_node}-{}.local.", advert.port),
        addresses,
        advert.port,
        &strings[..],
    )?;
    match advert.reach {
        Reach::All => info = info.enable_addr_auto(),
        Reach::V4 => {
            info.set_interfaces(vec![IfKind::IPv4]);
            info = info.enable_addr_auto();
        }
        Reach::One(_) => {}
    }
    Ok(info)
}

fn hear(event: ServiceEvent, heard: &mut dyn FnMut(Heard)) {
    match event {
        ServiceEvent::ServiceResolved(service) => {
            if let Some(sighting) = sighting(&service) {
                heard(Heard::Seen(sighting));
            }
        }
        ServiceEvent::ServiceRemoved(_, name) => {
            if let Some(name) = instance_of(&name) {
                heard(Heard::Gone(name));
            }
        }
        // What was only heard of is resolved next.
        ServiceEvent::SearchStarted(_)
        | ServiceEvent::ServiceFound(..)
        | ServiceEvent::SearchStopped(_)
        | _ => {}
    }
}

fn sighting(service: &ResolvedService) -> Option<Sighting<Address>> {
    let strings = service.txt_properties.iter();
    let strings = strings.map(|string| (string.key().as_bytes(), string.val().unwrap_or_default()));
    Some(Sighting {
        name: instance_of(&service.fullname)?,
        host: service.host.trim_end_matches('.').to_owned(),
        addresses: service.addresses.iter().filter_map(address).collect(),
        complete: true,
        port: service.port,
        offer: Offer::read(strings),
    })
}

fn address(ip: &ScopedIp) -> Option<Address> {
    let scope = match ip {
        ScopedIp::V6(v6) => v6.scope_id().index,
        ScopedIp::V4(_) | _ => 0,
    };
    Address::new(ip.to_ip_addr(), scope)
}

/// The instance in a full name, in which dots and backslashes of it stand behind a backslash. RFC 6763 §4.3
fn instance_of(full: &str) -> Option<String> {
    let suffix = format!(".{}", service());
    let at = full.len().checked_sub(suffix.len())?;
    let (name, rest) = full.split_at_checked(at)?;
    if !rest.eq_ignore_ascii_case(&suffix) {
        return None;
    }
    let mut letters = name.chars();
    let mut instance = String::with_capacity(name.len());
    while let Some(letter) = letters.next() {
        instance.push(if letter == '\\' { letters.next()? } else { letter });
    }
    Some(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_what_stands_before_the_service() {
        for (full, instance) in [
            ("relay 1._laps._udp.local.", Some("relay 1")),
            (r"a\.b\\c (2)._LAPS._udp.local.", Some(r"a.b\c (2)")),
            ("relay._http._tcp.local.", None),
            (r"broken\._laps._udp.local.", None),
            ("", None),
        ] {
            assert_eq!(instance_of(full).as_deref(), instance, "{full}");
        }
    }
}

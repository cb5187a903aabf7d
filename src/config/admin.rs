//! `[admin]`: where an operator's tools ask how the relay is.

use laps_actors::admin::Listen;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port when nobody names one.
pub const DEFAULT_PORT: u16 = 9090;

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address to listen on.
    pub bind: IpAddr,
    /// TCP port.
    pub port: Port,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: Port::Auto,
        }
    }
}

/// A port that may be nobody's wish, or nobody's at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Port {
    /// [`DEFAULT_PORT`] when it is free; else none.
    #[default]
    Auto,
    /// None.
    Off,
    /// This one, or the relay does not start; 0 lets the system choose.
    Named(u16),
}

impl Admin {
    /// Where it listens; none when it does not.
    #[must_use]
    pub fn listen(&self) -> Option<Listen> {
        let (port, required) = match self.port {
            Port::Auto => (DEFAULT_PORT, false),
            Port::Off => return None,
            Port::Named(port) => (port, true),
        };
        Some(Listen {
            addr: SocketAddr::new(self.bind, port),
            required,
        })
    }
}

/// What stands in a file or a variable.
#[derive(Deserialize)]
#[serde(untagged, expecting = "neither a port nor one of \"auto\" and \"off\"")]
enum Text {
    Number(u16),
    Word(String),
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Text::deserialize(deserializer)? {
            Text::Number(port) => Ok(Self::Named(port)),
            Text::Word(word) => word.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_str("off"),
            Self::Named(port) => serializer.serialize_u16(*port),
        }
    }
}

impl std::str::FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::Named)
                .map_err(|_| format!("`{text}` is neither a port nor one of auto and off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Port, String> {
        let table: Result<Admin, _> = toml::from_str(text);
        table
            .map(|admin| admin.port)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_port_is_a_number_or_a_word() {
        assert_eq!(read(""), Ok(Port::Auto));
        assert_eq!(read("port = 'auto'"), Ok(Port::Auto));
        assert_eq!(read("port = 'off'"), Ok(Port::Off));
        assert_eq!(read("port = 9090"), Ok(Port::Named(9090)));
        assert_eq!(read("port = '9091'"), Ok(Port::Named(9091)));
        for wrong in ["port = 65536", "port = -1", "port = true"] {
            assert!(read(wrong).unwrap_err().contains("neither a port"), "{wrong}");
        }
        assert!(read("port = 'on'").unwrap_err().contains("`on` is neither"));
    }

    #[test]
    fn only_a_named_port_is_required() {
        let listen = |port| {
            let listen = Admin {
                port,
                ..Admin::default()
            }
            .listen()?;
            Some((listen.addr.to_string(), listen.required))
        };
        assert_eq!(listen(Port::Auto), Some(("127.0.0.1:9090".to_owned(), false)));
        assert_eq!(listen(Port::Off), None);
        assert_eq!(
            listen(Port::Named(9090)),
            Some(("127.0.0.1:9090".to_owned(), true))
        );
    }
}

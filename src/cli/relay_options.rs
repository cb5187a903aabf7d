//! Flags of the relay: those of laps, under laps' names and with dashes.

use super::later::LaterOptions;
use super::log_options::LogOptions;
use super::peer_options::PeerOptions;
use crate::config::{Layers, Override};
use crate::exit::Failure;
use std::net::IpAddr;
use std::path::PathBuf;
use structopt::StructOpt;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, StructOpt)]
pub struct RelayOptions {
    /// Configuration file (TOML); `laps config dump` writes one with every key explained
    #[structopt(long = "config", value_name = "FILE", parse(from_os_str))]
    pub config: Option<PathBuf>,
    /// IP address to listen on [default: all, IPv4 and IPv6]
    #[structopt(short = "b", long = "bind_ip", alias = "bind-ip", value_name = "IP", parse(try_from_str = address))]
    pub bind_ip: Option<IpAddr>,
    /// UDP port to listen on [default: 33435]
    #[structopt(short = "p", long = "port", value_name = "PORT")]
    pub port: Option<u16>,
    /// Who this relay is: free text, or a node id such as 1:2 or 1.2:1234 [default: the host name]
    #[structopt(short = "e", long = "endpoint_id", alias = "endpoint-id", value_name = "ID")]
    pub endpoint_id: Option<String>,
    /// Certificate chain (PEM) [default: one of its own, kept and renewed; its SHA-256 is printed]
    #[structopt(short = "c", long = "cert", value_name = "FILE")]
    pub cert: Option<String>,
    /// Private key of the certificate (PEM)
    #[structopt(short = "k", long = "key", value_name = "FILE")]
    pub key: Option<String>,
    /// Accept subscribers without a publisher, and keep them when it leaves [default: they wait 1000 ms, then are refused]
    #[structopt(short = "l", long = "detached_subs", alias = "detached-subs")]
    pub detached_subs: bool,
    /// Milliseconds without anybody who wants its objects after which a publisher is told so [default: 500]
    #[structopt(
        short = "s",
        long = "sub_dampen_ms",
        alias = "sub-dampen-ms",
        value_name = "MS"
    )]
    pub sub_dampen_ms: Option<u32>,
    /// Milliseconds that a group is kept after its last object began [default: 60000]
    #[structopt(long = "cache_duration", alias = "cache-duration", value_name = "MS")]
    pub cache_duration: Option<u32>,
    /// Mark objects that a FETCH finds in the cache with an extension header of this type; 0 for none [default: 0]
    #[structopt(long = "cache_key", alias = "cache-key", value_name = "TYPE", parse(try_from_str = extension_type))]
    pub cache_key: Option<u64>,
    /// Publishers may subscribe to their own tracks, which is the default; goes over `allow_self` of the file
    #[structopt(long = "allow_self", alias = "allow-self")]
    pub allow_self: bool,
    #[structopt(flatten)]
    pub peers: PeerOptions,
    #[structopt(flatten)]
    pub log: LogOptions,
    #[structopt(flatten)]
    pub later: LaterOptions,
}

impl RelayOptions {
    /// What they set in the configuration: only what was typed.
    #[must_use]
    pub fn overrides(&self) -> Vec<Override> {
        let mut set = Vec::new();
        let mut put = |key, flag, value: Option<config::Value>| {
            if let Some(value) = value {
                set.push(Override { key, flag, value });
            }
        };
        put(
            "relay.bind",
            "--bind_ip",
            self.bind_ip.map(|ip| ip.to_string().into()),
        );
        put(
            "relay.port",
            "--port",
            self.port.map(|port| i64::from(port).into()),
        );
        put(
            "relay.endpoint_id",
            "--endpoint_id",
            self.endpoint_id.clone().map(Into::into),
        );
        put("tls.cert", "--cert", self.cert.clone().map(Into::into));
        put("tls.key", "--key", self.key.clone().map(Into::into));
        put(
            "subscribe.detached",
            "--detached_subs",
            self.detached_subs.then(|| true.into()),
        );
        put(
            "subscribe.dampen_ms",
            "--sub_dampen_ms",
            self.sub_dampen_ms.map(|ms| i64::from(ms).into()),
        );
        put(
            "cache.duration",
            "--cache_duration",
            self.cache_duration.map(|ms| (f64::from(ms) / 1000.0).into()),
        );
        put(
            "relay.allow_self",
            "--allow_self",
            self.allow_self.then(|| true.into()),
        );
        put("cache.key", "--cache_key", self.cache_key.map(Into::into));
        set.extend(self.peers.overrides());
        set.extend(self.log.overrides());
        set
    }

    /// The layers of the configuration that these options make over the environment of this process.
    ///
    /// # Errors
    /// When a flag was given whose feature comes later.
    pub fn layers(&self) -> Result<Layers, Failure> {
        self.later.refuse()?;
        Ok(Layers::of_process(self.config.clone(), self.overrides()))
    }
}

/// The standard parser's message does not say what it was given.
fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an IP address such as 127.0.0.1 or ::1"))
}

/// As the drafts write types, too: 0x3c.
fn extension_type(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("`{text}` is not a number such as 44 or 0x2c"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use crate::exit::Exit;

    #[test]
    fn laps_flags_are_read_under_every_name() {
        let keys = |words: &[&str]| -> Vec<(&str, String)> {
            let set = options::<RelayOptions>(words).unwrap().overrides();
            set.into_iter()
                .map(|o| (o.key, o.value.into_string().unwrap()))
                .collect()
        };
        for (words, key, value) in [
            (&["-b", "127.0.0.1"][..], "relay.bind", "127.0.0.1"),
            (&["--bind_ip", "::1"], "relay.bind", "::1"),
            (&["--bind-ip=::"], "relay.bind", "::"),
            (&["-p", "1"], "relay.port", "1"),
            (&["--port", "65535"], "relay.port", "65535"),
            (&["-e", "1:2"], "relay.endpoint_id", "1:2"),
            (&["--endpoint_id", "paris"], "relay.endpoint_id", "paris"),
            (&["--endpoint-id", "x y"], "relay.endpoint_id", "x y"),
            (&["-c", "a.pem"], "tls.cert", "a.pem"),
            (&["--cert", "a.pem"], "tls.cert", "a.pem"),
            (&["-k", "a.pem"], "tls.key", "a.pem"),
            (&["--key", "a.pem"], "tls.key", "a.pem"),
            (&["-l"], "subscribe.detached", "true"),
            (&["--detached_subs"], "subscribe.detached", "true"),
            (&["--detached-subs"], "subscribe.detached", "true"),
            (&["-s", "5"], "subscribe.dampen_ms", "5"),
            (&["--sub_dampen_ms", "0"], "subscribe.dampen_ms", "0"),
            (&["--sub-dampen-ms=7"], "subscribe.dampen_ms", "7"),
            (&["--cache_duration", "60000"], "cache.duration", "60"),
            (&["--cache-duration=250"], "cache.duration", "0.25"),
            (&["--allow_self"], "relay.allow_self", "true"),
            (&["--allow-self"], "relay.allow_self", "true"),
            (&["--cache_key", "44"], "cache.key", "44"),
            (&["--cache-key=0x2c"], "cache.key", "44"),
            (&["--peer", "a:1", "--peer=b"], "peering.peers", "a:1,b"),
            (&["--peer_port", "5"], "peering.port", "5"),
            (&["--node-type", "via"], "peering.node_type", "via"),
            (&["-d"], "logging.level", "debug"),
            (&["--debug"], "logging.level", "debug"),
            (&["--log-level", "trace"], "logging.level", "trace"),
            (&["--log-format", "json"], "logging.format", "json"),
        ] {
            assert_eq!(keys(words), [(key, value.to_owned())], "{words:?}");
        }
        assert!(options::<RelayOptions>(&["--cache_key", "0y"]).is_err());
        assert_eq!(keys(&[]), []);
    }

    #[test]
    fn flags_whose_feature_comes_later_are_refused() {
        for (words, flag) in [
            (&["-q", "dir"][..], "--qlog"),
            (&["--qlog", "dir"], "--qlog"),
            (&["-t", "5"], "--object_ttl"),
            (&["--object_ttl", "5"], "--object_ttl"),
            (&["--disable_cache"], "--disable_cache"),
        ] {
            let failure = options::<RelayOptions>(words).unwrap().layers().unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.to_string().starts_with(&format!("{flag}: ")), "{failure}");
        }
    }
}

//! Which shard a client landed on, read from what the relay logs.

use super::raw::{Raw, raw};
use laps::relay::{Relay, Settings};
use slog::{Drain, KV, Key, Logger, Never, OwnedKVList, Record, Serializer, o};
use std::collections::HashMap;
use std::fmt::Arguments;
use std::sync::{Arc, Mutex};

/// Shards by the port that a client came from.
#[derive(Clone, Default)]
pub struct Placement(Arc<Mutex<HashMap<u16, usize>>>);

#[derive(Default)]
struct Found {
    port: Option<u16>,
    shard: Option<usize>,
}

impl Serializer for Found {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        let text = value.to_string();
        match key {
            "shard" => self.shard = text.parse().ok(),
            "peer" => {
                self.port = text
                    .trim_end_matches(')')
                    .rsplit(':')
                    .next()
                    .and_then(|port| port.parse().ok())
            }
            _ => {}
        }
        Ok(())
    }
}

impl Drain for Placement {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if record.msg().to_string() == "connection accepted" {
            let mut found = Found::default();
            drop(values.serialize(record, &mut found));
            drop(record.kv().serialize(record, &mut found));
            if let (Some(port), Some(shard)) = (found.port, found.shard) {
                self.0.lock().unwrap().insert(port, shard);
            }
        }
        Ok(())
    }
}

impl Placement {
    /// Lets the relay's log tell where connections land.
    pub fn watch(&self, settings: &mut Settings) {
        settings.log = Logger::root(slog::Duplicate(self.clone(), settings.log.clone()).fuse(), o!());
    }

    /// A client on this shard: connects until the kernel puts one there.
    pub async fn raw_on(&self, relay: &Relay, shard: usize) -> Raw {
        loop {
            let client = raw(relay).await;
            let port = client.conn.local_addr().unwrap().port();
            if self.0.lock().unwrap().get(&port) == Some(&shard) {
                return client;
            }
        }
    }
}

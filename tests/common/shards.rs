//! What the relay's log tells: where a client landed, and what was counted.

use super::raw::{Raw, raw};
use laps::relay::{Relay, Settings};
use slog::{Drain, KV, Key, Logger, Never, OwnedKVList, Record, Serializer, o};
use std::collections::HashMap;
use std::fmt::Arguments;
use std::sync::{Arc, Mutex};

/// Everything that was logged, as text.
#[derive(Clone, Default)]
pub struct Placement(Arc<Mutex<Vec<Entry>>>);

/// One line of the log.
#[derive(Default)]
struct Entry {
    message: String,
    values: HashMap<String, String>,
}

impl Serializer for Entry {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        self.values.insert(key.to_string(), value.to_string());
        Ok(())
    }
}

impl Drain for Placement {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let mut entry = Entry {
            message: record.msg().to_string(),
            ..Entry::default()
        };
        drop(values.serialize(record, &mut entry));
        drop(record.kv().serialize(record, &mut entry));
        self.0.lock().unwrap().push(entry);
        Ok(())
    }
}

impl Placement {
    /// Reads the relay's log from now on.
    pub fn watch(&self, settings: &mut Settings) {
        settings.log = Logger::root(slog::Duplicate(self.clone(), settings.log.clone()).fuse(), o!());
    }

    /// The values under `key` of every line that says `message`.
    pub fn values(&self, message: &str, key: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let said = lines.iter().filter(|entry| entry.message == message);
        said.filter_map(|entry| entry.values.get(key).cloned()).collect()
    }

    /// Waits until so many lines say `message`, going by the round trips of a client.
    pub async fn until(&self, client: &mut Raw, message: &str, key: &str, lines: usize) -> Vec<String> {
        loop {
            let values = self.values(message, key);
            if values.len() >= lines {
                return values;
            }
            client.fence().await;
        }
    }

    /// A client on this shard: connects until the kernel puts one there.
    pub async fn raw_on(&self, relay: &Relay, shard: usize) -> Raw {
        loop {
            let client = raw(relay).await;
            let port = format!(":{})", client.conn.local_addr().unwrap().port());
            let here = self.0.lock().unwrap().iter().any(|entry| {
                entry.message == "connection accepted"
                    && entry.values.get("peer").is_some_and(|peer| peer.ends_with(&port))
                    && entry.values.get("shard") == Some(&shard.to_string())
            });
            if here {
                return client;
            }
        }
    }
}

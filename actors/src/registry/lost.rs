//! What is left in the registry of a shard that failed.

use super::{RegistryActor, ShardLost};
use actix::{Context, Handler};
use slog::info;

impl Handler<ShardLost> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: ShardLost, _: &mut Context<Self>) {
        // Actors that are dropped with their thread withdraw what is theirs; that of tracks is the shard's to tell, and
        // whatever did not get to it is found here. Publishers in tracks of other shards are those tracks' to tell.
        let homes = self.tracks.values().filter_map(super::Entry::track);
        let homes: Vec<_> = homes.filter(|track| track.shard == msg.index).cloned().collect();
        let all = self.namespaces.all();
        let there = all.iter().filter(|entry| entry.value.shard.index == msg.index);
        let announced: Vec<_> = there
            .map(|entry| (entry.value.namespace.clone(), *entry.owner))
            .collect();
        info!(self.log, "what a lost shard had is forgotten"; "shard" => msg.index, "tracks" => homes.len(),
            "announced" => announced.len());
        for track in homes {
            self.forget(&track.name, track.epoch);
        }
        for (namespace, id) in announced {
            self.unannounce(&namespace, id);
        }
    }
}

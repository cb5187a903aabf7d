//! A registry that has begun again is told what lives on the shard, by those who own it.

use super::{Child, ShardActor};
use crate::registry::Reregister;
use crate::supervise::mailbox;
use actix::{Context, Handler};
use slog::info;

impl Handler<Reregister> for ShardActor {
    type Result = ();

    fn handle(&mut self, msg: Reregister, _: &mut Context<Self>) {
        info!(self.log, "everything is told to the new registry"; "life" => msg.epoch,
            "connections" => self.connections().count());
        if let Some(seat) = &self.seat {
            seat.reregister(msg.clone());
        }
        // The call is over for this shard when the last of the copies is let go of.
        for child in self.children.values() {
            match child {
                Child::Connection(connection) => {
                    mailbox::signal(connection, msg.clone());
                }
                Child::Track { home, .. } => {
                    if let Some(home) = home.upgrade() {
                        mailbox::signal(&home, msg.clone());
                    }
                }
                // Known to nobody but this shard.
                Child::Replica { .. } => {}
            }
        }
    }
}

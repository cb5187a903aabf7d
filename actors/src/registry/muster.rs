//! A registry that has just begun: it waits until everybody has said what is theirs.

use super::RegistryActor;
use super::messages::AllTold;
use actix::{Context, Handler};
use slog::debug;

impl Handler<AllTold> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: AllTold, _: &mut Context<Self>) {
        debug!(self.log, "everything was told"; "life" => msg.epoch);
    }
}

//! What a session tells a registry that has begun again: nothing itself, but what its children own.

use super::SessionActor;
use crate::registry::Reregister;
use crate::supervise::mailbox;
use actix::{Context, Handler};

impl Handler<Reregister> for SessionActor {
    type Result = ();

    fn handle(&mut self, msg: Reregister, _: &mut Context<Self>) {
        // A child that has failed tells when its successor starts. The tracks that the peer publishes say so themselves,
        // and a PUBLISH that is not placed yet is a question, which is asked again.
        for slot in self.children.announces.values() {
            mailbox::signal(&slot.addr, msg.clone());
        }
        for slot in self.children.watches.values() {
            mailbox::signal(&slot.addr, msg.clone());
        }
    }
}

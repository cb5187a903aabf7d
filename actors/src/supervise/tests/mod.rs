//! Each promise of the supervision layer, on a real `actix` system. Where time matters it is the paused clock of
//! `tokio`, which jumps to the next timer as soon as nothing else can run.

mod guard;
mod inject;
mod mailbox;
mod policy;

//! What the node answers to what was asked of it.

use super::Kind;
use crate::peering::mesh::remote::NodeActor;
use crate::peering::mesh::remote::messages::{Answered, Telling};
use crate::session::passed_on;
use crate::supervise::mailbox;
use crate::track::{TrackMeta, UpstreamAgain, UpstreamDone, UpstreamOk, UpstreamRejected};
use actix::Handler;
use laps_protocol::moqt::message::{PublishDone, RequestError};
use laps_protocol::peering::message::Answer;
use slog::debug;

impl Handler<Answered> for NodeActor {
    type Result = ();
    fn handle(&mut self, msg: Answered, ctx: &mut Self::Context) {
        let Some(id) = self.taken.by_hash.get(&msg.track).copied() else {
            return;
        };
        let Some(request) = self.taken.by_request.get_mut(&id) else {
            return;
        };
        let (track, home, source) = (request.track.clone(), request.home.clone(), request.source);
        let is_ok = matches!(msg.answer, Answer::Ok(_));
        let rerouted = is_ok && msg.telling == Telling::Again;
        let accepts = is_ok && !rerouted;
        if accepts && msg.telling == Telling::Repeated && request.number == Some(msg.number) && !request.away
        {
            // That was heard.
            return;
        }
        request.accepted += u32::from(accepts);
        let counted = request.accepted == 1;
        // It accepts each SUBSCRIBE once, so it has forgotten this one: it was told of it anew when a link of its own came back.
        let forgot = accepts && request.number.replace(msg.number) == Some(msg.number);
        // Who goes on in the same life has said so of no other.
        let anew = (is_ok && std::mem::take(&mut request.away) && accepts) || forgot;
        let again = anew || rerouted;
        match (msg.answer, request.kind) {
            // Decision 0029: what it made until now is not in what it sends, if this is another life of it, and may be lost if
            // it is the same.
            (Answer::Ok(ok), Kind::Subscribed { answered: true }) if again => {
                let largest = ok.largest;
                let again = UpstreamAgain {
                    source,
                    largest,
                    anew,
                };
                mailbox::signal(&home, again);
            }
            // Who has accepted says it again to each new SUBSCRIBE.
            (Answer::Ok(_), Kind::Subscribed { answered: true }) => {}
            (Answer::Ok(ok), kind) => {
                let (largest, meta) = (ok.largest, TrackMeta::of(&ok));
                let ok = UpstreamOk {
                    source,
                    largest,
                    meta,
                };
                // Sent before any chunk can be, so that the track is live when the first one comes. A publication is so from
                // the start, and what it sends waits at home for this.
                mailbox::signal(&home, ok);
                if again {
                    let again = UpstreamAgain {
                        source,
                        largest,
                        anew,
                    };
                    mailbox::signal(&home, again);
                }
                if kind != Kind::Published {
                    request.kind = Kind::Subscribed { answered: true };
                    if let Some(request) = self.taken.by_request.get(&id) {
                        self.bind(request);
                    }
                }
            }
            (Answer::Error(error), Kind::Subscribed { .. }) => {
                let error = RequestError {
                    phrase: passed_on(&error.phrase),
                    ..error
                };
                mailbox::signal(&home, UpstreamRejected { source, error });
                self.forget(id);
            }
            (Answer::Error(error), Kind::Published) => {
                debug!(self.log, "a node does not serve what it publishes"; "track" => %track,
                    "reason" => ?error.reason);
                self.lose(id);
                self.offer_again(ctx, &track);
                return;
            }
            // Its streams are awaited by the home, which lets go of it then.
            (Answer::Done(done), _) => {
                let done = PublishDone {
                    stream_count: done.stream_count.filter(|_| counted),
                    ..done
                };
                mailbox::signal(&home, UpstreamDone { source, done });
            }
        }
        self.offers.went_well(&track);
        self.check_idle(ctx);
    }
}

//! Whether the peer may do what it asks for. Asked where each request comes in, before anybody works for it.
//!
//! Tokens end here: they are taken out of the parameters, so that nobody below can log them, keep them, or send them on.
//! MOQT-14 §9.2.1.1 [D14-AUTH-10].

use super::SessionActor;
use actix::Context;
use bytes::Bytes;
use laps_protocol::auth::{Action, Denied, Grant, Resource};
use laps_protocol::moqt::message::{MessageParams, PublishDoneStatus, RequestId, SubscribeUpdate};
use slog::{debug, info};
use std::borrow::Cow;

impl SessionActor {
    /// What the tokens of the peer's SETUP allow counts for all its requests. False when one is not to be believed.
    ///
    /// MOQT-14 §3.4, §9.2.1.1 [D14-SETUP-24] [D14-AUTH-4]: nothing refuses a SETUP but the end of the session. Without a
    /// token there is a session, since each request may bring one.
    pub(super) fn authorise_session(&mut self, ctx: &mut Context<Self>, tokens: &[Bytes]) -> bool {
        let auth = &self.env.session.auth;
        match auth.grants(self.codec, tokens, auth.now()) {
            Ok(grants) => {
                self.rights.add(grants);
                true
            }
            Err(denied) => {
                info!(self.log, "session refused"; "why" => %denied);
                self.close(ctx, denied.close_code(), Cow::Borrowed(denied.phrase));
                false
            }
        }
    }

    /// Whether the peer may do this, and then what the request's own tokens allow. When not, the request is refused.
    ///
    /// MOQT-14 §8.3, §8.4, §9.28 [D14-AUTH-11]: for every request, also where another session's has done the work.
    pub(super) fn authorise(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        action: Action,
        resource: Resource<'_>,
        params: &mut MessageParams,
    ) -> Option<Vec<Grant>> {
        match self.judge(action, resource, params) {
            Ok(shown) => Some(shown),
            Err(denied) => {
                // MOQT-14 §9.2.1.1 [D14-AUTH-4].
                self.refuse(ctx, id, denied.reason(), denied.phrase);
                None
            }
        }
    }

    /// Whether a changed subscription may go on. Without a token in it nothing is asked: what was allowed stays so.
    ///
    /// MOQT-14 §9.10 [D14-SUB-17], §9.12: an update has no answer, so the refusal is the end of its subscription.
    pub(super) fn authorise_update(
        &mut self,
        ctx: &mut Context<Self>,
        id: RequestId,
        update: &mut SubscribeUpdate,
    ) -> bool {
        if update.params.authorization_tokens.is_empty() {
            return true;
        }
        let slot = self.children.subscriptions.get(&id).map(|slot| &slot.spec);
        let Some(spec) = slot.or_else(|| self.children.offers.get(&id)) else {
            // It is over, and so is whatever the token was for.
            update.params.authorization_tokens = Vec::new();
            return true;
        };
        let track = spec.subscribe.track.clone();
        let judged = self.judge(Action::Subscribe, Resource::Track(&track), &mut update.params);
        let Err(denied) = judged else {
            return true;
        };
        if self.children.offers.remove(&id).is_some() {
            self.end_offer(ctx, id, PublishDoneStatus::Unauthorized, denied.phrase);
        } else {
            let why = (PublishDoneStatus::Unauthorized, denied.reason());
            self.cut_subscription(ctx, id, why, denied.phrase);
        }
        false
    }

    /// Whether the peer may be told of this, which is below a prefix that it watches. What a grant does not cover, or
    /// covers no longer, is not told.
    ///
    /// MOQT-14 §6.1, §12.3.2 [D14-AUTH-11] [D14-LIM-3]
    pub(super) fn may_be_told(&self, action: Action, resource: Resource<'_>) -> bool {
        let shown = self.watched.grants_above(resource.namespace());
        let now = self.env.session.auth.now();
        self.rights.decide(shown, action, resource, now).is_ok()
    }

    fn judge(
        &mut self,
        action: Action,
        resource: Resource<'_>,
        params: &mut MessageParams,
    ) -> Result<Vec<Grant>, Denied> {
        let tokens = std::mem::take(&mut params.authorization_tokens);
        let auth = &self.env.session.auth;
        let now = auth.now();
        let judged = auth.grants(self.codec, &tokens, now).and_then(|shown| {
            let decided = self.rights.decide(&shown, action, resource, now);
            decided.map(|()| shown)
        });
        if let Err(denied) = &judged {
            self.denied = self.denied.saturating_add(1);
            debug!(self.log, "request refused"; "action" => ?action, "namespace" => %resource.namespace(),
                "why" => %denied, "refused" => self.denied);
        }
        judged
    }
}

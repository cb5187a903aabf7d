//! What tokens grant, and the decision about a request.

use super::{Action, Denied, Fault, Resource, Scope, UnixSeconds};

/// All that one token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// None for everything.
    scopes: Option<Vec<Scope>>,
    /// From when on it allows nothing.
    expires: Option<UnixSeconds>,
}

impl Grant {
    /// Everything, for ever.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            scopes: None,
            expires: None,
        }
    }

    /// Nothing.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            scopes: Some(Vec::new()),
            expires: None,
        }
    }

    /// These scopes, until a time.
    ///
    /// # Errors
    /// When the time has come (RFC 7519 §4.1.4: on it or after it), or there is no scope, so that the token is of no
    /// use.
    pub fn until(expires: UnixSeconds, scopes: Vec<Scope>, now: UnixSeconds) -> Result<Self, Denied> {
        if expires <= now {
            return Err(EXPIRED);
        }
        if scopes.is_empty() {
            return Err(Denied::new(Fault::Unauthorized, "the token allows nothing here"));
        }
        Ok(Self {
            scopes: Some(scopes),
            expires: Some(expires),
        })
    }

    /// How many scopes it has, which is what it takes to keep it.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.scopes.as_ref().map_or(1, |scopes| scopes.len().max(1))
    }

    fn covers(&self, action: Action, resource: Resource<'_>) -> bool {
        let scopes = self.scopes.as_ref();
        scopes.is_none_or(|scopes| {
            scopes
                .iter()
                .any(|scope| scope.covers(action, resource.namespace()))
        })
    }

    fn is_over(&self, now: UnixSeconds) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What a session was granted: without a token, and by the tokens of its SETUP.
#[derive(Clone, Debug)]
pub struct Rights {
    grants: Vec<Grant>,
}

impl Rights {
    /// Those of a peer that has shown nothing yet.
    #[must_use]
    pub fn new(anonymous: Grant) -> Self {
        Self {
            grants: vec![anonymous],
        }
    }

    /// What its SETUP showed counts for all its requests.
    pub fn add(&mut self, grants: Vec<Grant>) {
        self.grants.extend(grants);
    }

    /// Whether the session, together with what a request showed itself, allows this now.
    ///
    /// MOQT-14 §8.3, §8.4, §9.28 [D14-AUTH-11]: decided for each request by itself, whatever others were allowed.
    ///
    /// # Errors
    /// [`Fault::Expired`] when it would have been allowed earlier, else [`Fault::Unauthorized`].
    pub fn decide(
        &self,
        shown: &[Grant],
        action: Action,
        resource: Resource<'_>,
        now: UnixSeconds,
    ) -> Result<(), Denied> {
        let covering = self.grants.iter().chain(shown);
        let mut denied = Denied::new(Fault::Unauthorized, "no token shown allows this here");
        for grant in covering.filter(|grant| grant.covers(action, resource)) {
            if !grant.is_over(now) {
                return Ok(());
            }
            denied = EXPIRED;
        }
        Err(denied)
    }
}

const EXPIRED: Denied = Denied::new(Fault::Expired, "the token has expired");

#[cfg(test)]
mod tests {
    use super::super::scopes;
    use super::*;
    use crate::moqt::name_text::{parse_full_name, parse_namespace};

    const NOW: UnixSeconds = UnixSeconds(1000);

    fn grant(text: &str, expires: u64) -> Grant {
        Grant::until(UnixSeconds(expires), scopes(text).unwrap(), UnixSeconds(0)).unwrap()
    }

    fn fault(decided: Result<(), Denied>) -> Option<Fault> {
        decided.err().map(|denied| denied.fault)
    }

    /// D14-AUTH-11 D14-AUTH-4
    #[test]
    fn what_is_shown_anywhere_counts() {
        let track = parse_full_name("live/cam1", "video").unwrap();
        let asked = |session: Vec<Grant>, shown: &[Grant]| {
            let mut rights = Rights::new(Grant::nothing());
            rights.add(session);
            fault(rights.decide(shown, Action::Subscribe, Resource::Track(&track), NOW))
        };
        let (good, narrow) = (
            grant("subscriber:live", 1001),
            grant("subscriber:live/cam2", 1001),
        );
        let (over, wrong) = (grant("subscribe", 1000), grant("publisher", 2000));
        assert_eq!(asked(vec![], &[]), Some(Fault::Unauthorized));
        assert_eq!(asked(vec![good.clone()], &[]), None);
        assert_eq!(asked(vec![], std::slice::from_ref(&good)), None);
        assert_eq!(
            asked(vec![narrow.clone()], std::slice::from_ref(&wrong)),
            Some(Fault::Unauthorized)
        );
        assert_eq!(asked(vec![narrow, over.clone()], &[wrong]), Some(Fault::Expired));
        assert_eq!(asked(vec![over], &[good]), None);
        let open = Rights::new(Grant::everything());
        let namespace = parse_namespace("x").unwrap();
        let decided = open.decide(&[], Action::Publish, Resource::Namespace(&namespace), NOW);
        assert_eq!(decided, Ok(()));
    }

    /// D14-AUTH-4 D14-AUTH-7: a token is over from the second on that it names.
    #[test]
    fn what_is_over_or_allows_nothing_is_no_grant() {
        let scope = || scopes("fetch").unwrap();
        let refused = |expires, scopes| Grant::until(UnixSeconds(expires), scopes, NOW).unwrap_err().fault;
        assert_eq!(refused(999, scope()), Fault::Expired);
        assert_eq!(refused(1000, scope()), Fault::Expired);
        assert_eq!(refused(1001, Vec::new()), Fault::Unauthorized);
        assert!(Grant::until(UnixSeconds(1001), scope(), NOW).is_ok());
    }
}

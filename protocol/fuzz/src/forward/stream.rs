//! What goes out of one stream, and what has to hold of it.

use super::*;

impl Stream {
    pub(super) fn send(
        &mut self,
        me: LinkId,
        from: NodeId,
        target: Target,
        step: Step,
        others: &BTreeMap<LinkId, Link>,
    ) {
        let (header, route) = (
            self.header.unwrap(),
            self.route.as_ref().expect("data without a route"),
        );
        if let Target::Link(to) = target {
            assert!(
                to != me && others.get(&to).is_none_or(|link| link.peer != from),
                "back"
            );
        }
        let is_new = !self.got.contains_key(&target);
        let got = self.got.entry(target).or_default();
        assert!(!got.over, "{step:?} after the end");
        assert!(!got.fin || matches!(step, Step::Reset(_)), "{step:?} after FIN");
        assert_eq!(is_new, matches!(step, Step::Open { .. }), "{step:?}");
        match step {
            Step::Open { header: head, first } => {
                match target {
                    Target::Local => assert!(route.is_local() && head == header),
                    Target::Link(link) => {
                        let to = route.to(link).expect("to somebody who is not on the route");
                        assert_eq!(head, header.rewrite_sns_id(to.sns));
                    }
                }
                got.bytes.extend_from_slice(&first);
            }
            Step::Data(bytes) => {
                assert!(!bytes.is_empty());
                got.bytes.extend_from_slice(&bytes);
            }
            Step::Fin => {
                assert!(self.fin && got.bytes == self.payload, "FIN before the end");
                got.fin = true;
            }
            Step::Reset(cause) => {
                got.over = true;
                assert!(self.reset || cause.code() == 0);
            }
        }
        assert!(self.payload.starts_with(&got.bytes), "other bytes than came");
    }

    /// Whoever is on the route has all there is, or a stream that is over.
    pub(super) fn who_has_it(&self, wants_data: bool) {
        for got in self.got.values().filter(|got| !got.over) {
            assert_eq!(got.bytes, self.payload);
            assert!(got.fin || !self.fin);
            let waits = got.bytes.len() - got.taken;
            assert!(waits <= 160.max(self.longest + 32), "{waits} bytes wait");
        }
        let live = self.got.values().filter(|got| !got.over && !got.fin);
        let least = live.map(|got| got.bytes.len() - got.taken).min();
        if least.is_some_and(|least| least >= 60) && self.got.len() == self.targets() {
            assert!(!wants_data, "nobody takes anything, and more is read");
        }
        let Some(route) = self.route.as_ref().filter(|_| !self.stopped && !self.reset) else {
            return;
        };
        let here = route.is_local().then_some(Target::Local);
        let links = route.egress().iter().filter(|to| !to.laps || self.fin);
        for target in here.into_iter().chain(links.map(|to| Target::Link(to.link))) {
            assert!(self.got.contains_key(&target), "{target:?} has nothing of it");
        }
    }

    fn targets(&self) -> usize {
        self.route
            .as_ref()
            .map_or(0, |route| route.egress().len() + usize::from(route.is_local()))
    }
}

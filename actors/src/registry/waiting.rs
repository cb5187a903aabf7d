//! Questions for tracks that have no publisher yet.

use crate::reply::ReplyTo;
use crate::track::{ReaderId, TrackRef, Unavailable, Upstream};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use std::collections::BTreeMap;

/// How often those who wait are all looked at while as many are refused as may wait.
const SWEEPS: usize = 16;

/// One question.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reader: ReaderId,
    /// Waits for somebody else than this one.
    pub(super) except: Option<Upstream>,
    /// Anywhere in the mesh.
    pub(super) seek: bool,
    pub(super) reply: ReplyTo<Result<TrackRef, Unavailable>>,
}

/// All of them, within a bound.
#[derive(Debug)]
pub(super) struct Waiting {
    by_name: BTreeMap<FullTrackName, Vec<Waiter>>,
    count: usize,
    max: usize,
    refused: u64,
    /// Refusals until somebody is looked for again who has stopped waiting.
    spared: usize,
}

impl Waiting {
    pub(super) fn new(max: usize) -> Self {
        Self {
            by_name: BTreeMap::new(),
            count: 0,
            max,
            refused: 0,
            spared: 0,
        }
    }

    /// Lets a question wait, or hands it back when too many do.
    pub(super) fn add(&mut self, name: FullTrackName, waiter: Waiter) -> Result<(), Waiter> {
        // Looking at all of them for each that is too many would cost more than what they ask for. [D14-LIM-2]
        if self.count >= self.max && self.spared == 0 {
            self.sweep();
            self.spared = self.max / SWEEPS;
        }
        if self.count >= self.max {
            self.spared = self.spared.saturating_sub(1);
            self.refused += 1;
            return Err(waiter);
        }
        self.count += 1;
        self.by_name.entry(name).or_default().push(waiter);
        Ok(())
    }

    /// The questions for one track that `by` publishes.
    pub(super) fn take(&mut self, name: &FullTrackName, by: Option<&Upstream>) -> Vec<Waiter> {
        let waiters = self.by_name.remove(name).unwrap_or_default();
        let own = |waiter: &Waiter| waiter.except.is_some() && waiter.except.as_ref() == by;
        let (kept, taken): (Vec<_>, Vec<_>) = waiters.into_iter().partition(own);
        self.count -= taken.len();
        if !kept.is_empty() {
            self.by_name.insert(name.clone(), kept);
        }
        taken
            .into_iter()
            .filter(|waiter| !waiter.reply.is_abandoned())
            .collect()
    }

    /// The questions for every track of a namespace that `by` announces.
    pub(super) fn take_matching(
        &mut self,
        namespace: &TrackNamespace,
        by: &Upstream,
    ) -> Vec<(FullTrackName, Vec<Waiter>)> {
        // In the order of names, so that an announcement costs what it brings and not what waits. [D14-LIM-2]
        let from = self
            .by_name
            .range(FullTrackName::first_below(namespace.clone())..);
        let names: Vec<_> = from
            .map(|(name, _)| name)
            .take_while(|name| namespace.is_prefix_of(name.namespace()))
            .cloned()
            .collect();
        names
            .into_iter()
            .map(|name| {
                let waiters = self.take(&name, Some(by));
                (name, waiters)
            })
            .filter(|(_, waiters)| !waiters.is_empty())
            .collect()
    }

    /// The namespaces in which publishers are sought anywhere in the mesh, each at least once and in order.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &TrackNamespace> {
        let sought = self.by_name.iter().filter(|(_, waiters)| seek(waiters));
        sought.map(|(name, _)| name.namespace())
    }

    /// Whether this very namespace is one of them.
    pub(super) fn waits_in(&self, namespace: &TrackNamespace) -> bool {
        let from = self
            .by_name
            .range(FullTrackName::first_below(namespace.clone())..);
        from.take_while(|(name, _)| name.namespace() == namespace)
            .any(|(_, waiters)| seek(waiters))
    }

    /// Forgets questions that nobody waits for any more.
    pub(super) fn sweep(&mut self) {
        self.by_name.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.reply.is_abandoned());
            !waiters.is_empty()
        });
        self.count = self.by_name.values().map(Vec::len).sum();
    }

    /// Questions that found no room so far.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Questions that wait, those included that nobody waits for any more and that were not swept out yet.
    pub(super) const fn len(&self) -> usize {
        self.count
    }
}

fn seek(waiters: &[Waiter]) -> bool {
    waiters
        .iter()
        .any(|waiter| waiter.seek && !waiter.reply.is_abandoned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::SessionActor;
    use actix::{AsyncContext, Context};
    use bytes::Bytes;

    fn name(n: u8) -> FullTrackName {
        let namespace = TrackNamespace::new([Bytes::from(vec![n])]).unwrap();
        FullTrackName::new(namespace, Bytes::new()).unwrap()
    }

    #[test]
    fn the_bound_refuses_and_counts_and_the_abandoned_make_room() {
        let mut waiting = Waiting::new(2);
        let mut askers = Vec::new();
        for n in 0..2 {
            let (reply, asker) = ReplyTo::asked();
            askers.push(asker);
            waiting
                .add(
                    name(n),
                    Waiter {
                        reader: ReaderId::next(),
                        except: None,
                        seek: true,
                        reply,
                    },
                )
                .unwrap();
        }
        let (reply, _late) = ReplyTo::asked();
        assert!(
            waiting
                .add(
                    name(3),
                    Waiter {
                        reader: ReaderId::next(),
                        except: None,
                        seek: true,
                        reply
                    }
                )
                .is_err()
        );
        assert_eq!((waiting.len(), waiting.refused()), (2, 1));
        // One of them stops waiting, which makes room.
        askers.pop();
        let (reply, _late) = ReplyTo::asked();
        waiting
            .add(
                name(3),
                Waiter {
                    reader: ReaderId::next(),
                    except: None,
                    seek: true,
                    reply,
                },
            )
            .unwrap();
        assert_eq!((waiting.len(), waiting.refused()), (2, 1));
        assert_eq!(waiting.take(&name(0), None).len(), 1);
    }

    /// D14-LIM-2: a full room costs little, and is found to have room again after a while without anybody's help.
    #[test]
    fn who_has_stopped_waiting_is_looked_for_now_and_then() {
        let mut waiting = Waiting::new(SWEEPS * 3);
        let mut askers: Vec<_> = (0..SWEEPS * 3).map(|_| asks(&mut waiting).unwrap()).collect();
        assert!(asks(&mut waiting).is_none(), "nobody has stopped");
        askers.pop();
        assert!(asks(&mut waiting).is_none() && asks(&mut waiting).is_none());
        assert!(asks(&mut waiting).is_some());
        assert_eq!(waiting.refused(), 3);
    }

    fn asks(waiting: &mut Waiting) -> Option<tokio::sync::oneshot::Receiver<Result<TrackRef, Unavailable>>> {
        let (reply, asker) = ReplyTo::asked();
        let waiter = Waiter {
            reader: ReaderId::next(),
            except: None,
            seek: true,
            reply,
        };
        waiting.add(name(0), waiter).is_ok().then_some(asker)
    }

    /// D14-NS-11 D14-LIM-2: those below the prefix and no others, whatever lies beside them.
    #[test]
    fn an_announcement_takes_what_is_below_it() {
        let namespace = |text: &str| {
            TrackNamespace::new(text.split('/').map(|field| Bytes::from(field.to_owned()))).unwrap()
        };
        let mut waiting = Waiting::new(100);
        let mut askers = Vec::new();
        for text in ["a", "a/b", "a/b/c", "a/bc", "a/c", "b", "aa", "a/b"] {
            let (reply, asker) = ReplyTo::asked();
            askers.push(asker);
            let waiter = Waiter {
                reader: ReaderId::next(),
                except: None,
                seek: true,
                reply,
            };
            let name = FullTrackName::new(namespace(text), Bytes::from_static(b"track")).unwrap();
            waiting.add(name, waiter).unwrap();
        }
        let by = Context::<SessionActor>::new().address().into();
        let taken = waiting.take_matching(&namespace("a/b"), &by);
        let names: Vec<_> = taken
            .iter()
            .map(|(name, waiters)| (name.to_string(), waiters.len()))
            .collect();
        assert_eq!(
            names,
            [("a/b:track".to_owned(), 2), ("a/b/c:track".to_owned(), 1)]
        );
        assert_eq!(waiting.len(), 5);
    }
}

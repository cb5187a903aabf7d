//! Who is late and who is stuck: a plain value that is told the time and how often each thread has beaten.

use std::time::{Duration, Instant};

/// What counts as late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How often the watchdog looks.
    pub look_every: Duration,
    /// A look that comes so much later than this after the last one says that the process, or the machine, has had no
    /// time to run. Then nobody is late.
    pub late_look: Duration,
    /// Silence after which a thread is reported.
    pub report_after: Duration,
    /// Silence after which a thread is stuck.
    pub stuck_after: Duration,
}

impl Default for Terms {
    /// Reported after two seconds, stuck after ten: a thread of a relay has nothing to do that takes a tenth of that.
    fn default() -> Self {
        Self {
            look_every: Duration::from_millis(250),
            late_look: Duration::from_millis(750),
            report_after: Duration::from_secs(2),
            stuck_after: Duration::from_secs(10),
        }
    }
}

/// What is seen of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Which life of what lives there.
    pub life: u64,
    /// How often it has beaten; only a difference means anything.
    pub beats: u64,
}

/// What a look found out about the thread in a place of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It has been silent for long enough to be reported. Said once in each silence.
    Late(usize, Duration),
    /// It beats again after it was reported.
    Back(usize),
    /// It is stuck. Said at each look.
    Stuck(usize, Duration),
}

/// Compares what is seen with what was seen before.
#[derive(Debug)]
pub struct Judge {
    terms: Terms,
    last_look: Option<Instant>,
    seen: Vec<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    sign: Option<Sign>,
    /// When the sign was last seen to change, or the silence was forgiven.
    since: Instant,
    reported: bool,
}

impl Judge {
    /// A judge that has seen nothing.
    #[must_use]
    pub const fn new(terms: Terms) -> Self {
        Self {
            terms,
            last_look: None,
            seen: Vec::new(),
        }
    }

    /// Judges what is seen at `now`: a sign for each thread, none where nobody is to be watched. The list keeps its
    /// order and its length.
    pub fn look(&mut self, now: Instant, signs: &[Option<Sign>]) -> Vec<Finding> {
        // Stopped and continued, suspended, or starved: whoever is watched had no more time than the watchdog, so that
        // load never looks like death.
        let late = |last: Instant| now.saturating_duration_since(last) > self.terms.late_look;
        let forgiven = self.last_look.replace(now).is_some_and(late);
        let unknown = Seen {
            sign: None,
            since: now,
            reported: false,
        };
        self.seen.resize(signs.len(), unknown);
        let terms = self.terms;
        let places = self.seen.iter_mut().zip(signs).enumerate();
        places
            .filter_map(|(place, (seen, sign))| seen.judge(&terms, now, forgiven, *sign, place))
            .collect()
    }
}

impl Seen {
    fn judge(
        &mut self,
        terms: &Terms,
        now: Instant,
        forgiven: bool,
        sign: Option<Sign>,
        place: usize,
    ) -> Option<Finding> {
        if self.sign != sign || sign.is_none() {
            self.sign = sign;
            self.since = now;
            return std::mem::take(&mut self.reported).then_some(Finding::Back(place));
        }
        if forgiven {
            self.since = now;
        }
        let silent = now.saturating_duration_since(self.since);
        if silent >= terms.stuck_after {
            return Some(Finding::Stuck(place, silent));
        }
        if silent >= terms.report_after && !self.reported {
            self.reported = true;
            return Some(Finding::Late(place, silent));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    /// Two threads, and the looks at them.
    struct Scene {
        judge: Judge,
        now: Instant,
        signs: [Option<Sign>; 2],
    }

    impl Scene {
        fn new() -> Self {
            let mut scene = Self {
                judge: Judge::new(Terms::default()),
                now: Instant::now(),
                signs: [Some(Sign { life: 1, beats: 0 }); 2],
            };
            assert_eq!(scene.look(LOOK), []);
            scene
        }

        fn look(&mut self, after: Duration) -> Vec<Finding> {
            self.now += after;
            self.judge.look(self.now, &self.signs)
        }

        fn beat(&mut self, place: usize) {
            self.signs[place].as_mut().unwrap().beats += 1;
        }

        /// Looks in time for so long while only the first beats; what was found, and after how long.
        fn silent(&mut self, time: Duration) -> Vec<(Duration, Finding)> {
            let from = self.now;
            let mut found = Vec::new();
            while self.now < from + time {
                self.beat(0);
                let more = self.look(LOOK);
                found.extend(more.into_iter().map(|finding| (self.now - from, finding)));
            }
            found
        }
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn who_beats_is_not_noticed() {
        let mut scene = Scene::new();
        for _ in 0..1000 {
            scene.beat(0);
            scene.beat(1);
            assert_eq!(scene.look(LOOK), []);
        }
    }

    #[test]
    fn silence_is_reported_once_after_two_seconds_and_stuck_after_ten() {
        let mut scene = Scene::new();
        assert_eq!(
            scene.silent(secs(10) - LOOK),
            [(secs(2), Finding::Late(1, secs(2)))]
        );
        assert_eq!(scene.silent(LOOK), [(LOOK, Finding::Stuck(1, secs(10)))]);
        // Whoever should have ended the process is told again.
        assert_eq!(scene.silent(LOOK), [(LOOK, Finding::Stuck(1, secs(10) + LOOK))]);
    }

    #[test]
    fn who_beats_again_is_told_and_starts_afresh() {
        let mut scene = Scene::new();
        assert_eq!(scene.silent(secs(9)).len(), 1);
        scene.beat(1);
        assert_eq!(scene.look(LOOK), [Finding::Back(1)]);
        assert_eq!(scene.silent(secs(9)), [(secs(2), Finding::Late(1, secs(2)))]);
    }

    /// SIGSTOP and SIGCONT, a suspended laptop: the clock has moved on and nobody has run.
    #[test]
    fn a_stopped_process_is_not_stuck() {
        let mut scene = Scene::new();
        for stopped in [secs(1), secs(5), secs(3600), Duration::from_hours(1000)] {
            assert_eq!(scene.look(stopped), []);
            assert_eq!(scene.silent(secs(1)), [], "after {stopped:?}");
            scene.beat(1);
            assert_eq!(scene.look(LOOK), []);
        }
    }

    /// A machine without time for anybody: the watchdog is as late as those it watches.
    #[test]
    fn a_starved_process_is_not_stuck() {
        let mut scene = Scene::new();
        for _ in 0..100 {
            assert_eq!(scene.look(Duration::from_millis(800)), []);
        }
    }

    #[test]
    fn a_thread_that_was_reported_is_still_watched_after_the_process_was_stopped() {
        let mut scene = Scene::new();
        assert_eq!(scene.silent(secs(9)).len(), 1);
        assert_eq!(scene.look(secs(60)), []);
        let found = scene.silent(secs(10));
        assert_eq!(found, [(secs(10), Finding::Stuck(1, secs(10)))]);
    }

    #[test]
    fn nobody_is_missed_where_nobody_should_be_and_a_new_life_starts_afresh() {
        let mut scene = Scene::new();
        assert_eq!(scene.silent(secs(9)).len(), 1);
        // It died, which is not silence.
        scene.signs[1] = None;
        assert_eq!(scene.look(LOOK), [Finding::Back(1)]);
        assert_eq!(scene.silent(secs(60)), []);
        // Its next life has beaten as often as the last one had.
        scene.signs[1] = Some(Sign { life: 2, beats: 0 });
        assert_eq!(scene.silent(secs(2)), []);
        assert_eq!(scene.silent(LOOK), [(LOOK, Finding::Late(1, secs(2)))]);
    }

    #[test]
    fn two_can_be_late_at_once() {
        let mut scene = Scene::new();
        for _ in 0..7 {
            assert_eq!(scene.look(LOOK), []);
        }
        assert_eq!(
            scene.look(LOOK),
            [Finding::Late(0, secs(2)), Finding::Late(1, secs(2))]
        );
    }
}

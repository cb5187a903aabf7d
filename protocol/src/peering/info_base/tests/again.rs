//! What is over, and begins anew.

use super::*;

/// Hands what one relay tells another to that one.
fn tell(from: &Desk, out: Vec<Output>, to: &mut Desk) {
    to.now = from.now;
    for output in out {
        if let Output::Send { link, message, stamp } = output
            && link == LinkId(1)
        {
            to.hear_stamped(2, message, stamp);
        }
    }
}

/// A relay forgets the number of a withdrawal later than those who heard of it late: what begins anew is new to them.
#[test]
fn what_begins_anew_is_newer_than_a_late_withdrawal() {
    let window = Settings::default().convergence_window;
    let late = Duration::from_secs(1);
    let (mut here, mut there) = (Desk::of(2, EDGE, Limits::default()), Desk::new(EDGE));
    here.link(1, EDGE, OURS, 1);
    there.link(2, EDGE, Kin::Ours(7), 1);
    let track = track("a", "v");
    let begin = || Command::Subscribe {
        track: track.clone(),
        data: data(&track, 1),
    };
    let out = here.command(begin());
    tell(&here, out, &mut there);
    assert_eq!(there.base.sizes().subscribes, 1);
    here.command(Command::Unsubscribe(track.clone()));
    let out = here.pass(Settings::default().unsubscribe_hold);
    here.pass(late);
    tell(&here, out, &mut there);
    assert_eq!(there.base.sizes().subscribes, 0);
    here.pass(window - late / 2);
    there.pass(window - late / 2);
    assert_eq!(there.base.sizes().remembered, 1);
    let out = here.command(begin());
    tell(&here, out, &mut there);
    assert_eq!(there.base.sizes().subscribes, 1);
    // It is forgotten in the end.
    here.command(Command::Unsubscribe(track.clone()));
    here.pass(Settings::default().unsubscribe_hold + 2 * window);
    assert_eq!(here.base.sizes().own, 0);
}

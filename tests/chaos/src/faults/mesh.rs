//! Each part of what links two relays panics once: the publisher is beside one of them, the subscribers beside the other.

use super::panics::{FIRES, moment};
use super::{Fault, Met, Struck};
use crate::Failure;
use crate::record::{self, GOP};
use crate::scene::{Scene, TRACK, Wants};
use crate::seed::Chance;

const MESH: Wants = Wants {
    mesh: true,
    ..Wants::PLAIN
};

/// Of two relays, the one that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Beside which the publisher is.
    Near,
    /// Beside which the subscribers are, and which dials.
    Far,
    /// One of both; which, chance decides.
    Either,
}

/// A link is dialled again after half a second to a second, and then its sides have to find each other's tracks.
const AGAIN_MS: u64 = 3_000;
/// What went by meanwhile is fetched; no more may be missing than what was on its way just then, which is nothing as a rule.
const ALONE: u64 = GOP;
/// With the part that knows what other relays want goes what was not sent yet, and the publisher may be stopped for a moment.
const MOMENT: u64 = 2 * GOP;

const fn fault(
    name: &'static str,
    what: &'static str,
    lost: u64,
    strike: fn(&mut Scene, &mut Chance) -> Result<Struck, Failure>,
) -> Fault {
    Fault {
        name,
        what,
        wants: MESH,
        strike,
        lost,
        recovers_ms: AGAIN_MS,
    }
}

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "panic-peer-link",
        "of two relays of a mesh, on one the actor of their link panics",
        ALONE,
        |scene, chance| panics(scene, chance, Side::Either, "peer_link"),
    ),
    fault(
        "panic-info-base",
        "on one of two relays the information bases of the mesh panic",
        ALONE,
        |scene, chance| panics(scene, chance, Side::Either, "info_base"),
    ),
    fault(
        "panic-peering",
        "on one of two relays the supervisor of all links panics",
        MOMENT,
        |scene, chance| panics(scene, chance, Side::Either, "peering"),
    ),
    fault(
        "panic-plane",
        "on one of two relays what leads data from link to link panics",
        MOMENT,
        |scene, chance| panics(scene, chance, Side::Either, "plane"),
    ),
    fault(
        "panic-plane-link",
        "on the subscribers' relay the task that takes what comes over the link panics",
        ALONE,
        |scene, chance| panics(scene, chance, Side::Far, "plane_link"),
    ),
    fault(
        "panic-plane-stream",
        "on the subscribers' relay the task of a stream of the link panics",
        ALONE,
        |scene, chance| panics(scene, chance, Side::Far, "plane_stream"),
    ),
    fault(
        "panic-link-egress",
        "on the publisher's relay the task that writes the streams of the link panics",
        ALONE,
        |scene, chance| {
            let far = scene.far.as_ref().ok_or("there is no other relay")?;
            let name = far.node.address.clone();
            named(scene, chance, Side::Near, "egress", &name)
        },
    ),
    fault(
        "panic-mesh",
        "on one of two relays the actor that knows who publishes in the mesh panics",
        MOMENT,
        |scene, chance| panics(scene, chance, Side::Either, "mesh"),
    ),
    fault(
        "panic-node",
        "on the subscribers' relay the actor of the publisher's relay panics",
        ALONE,
        |scene, chance| panics(scene, chance, Side::Far, "node"),
    ),
    fault(
        "panic-origin",
        "on the publisher's relay the actor that serves other relays panics",
        MOMENT,
        |scene, chance| panics(scene, chance, Side::Near, "origin"),
    ),
    fault(
        "panic-publications",
        "on the publisher's relay the actor that tells the mesh of publications panics",
        ALONE,
        |scene, chance| panics(scene, chance, Side::Near, "publications"),
    ),
    fault(
        "panic-link-subscription",
        "on the publisher's relay the subscription of the link panics",
        ALONE,
        |scene, chance| named(scene, chance, Side::Near, "subscription", TRACK),
    ),
];

fn panics(scene: &mut Scene, chance: &mut Chance, side: Side, kind: &str) -> Result<Struck, Failure> {
    named(scene, chance, side, kind, "-")
}

fn named(
    scene: &mut Scene,
    chance: &mut Chance,
    side: Side,
    kind: &str,
    name: &str,
) -> Result<Struck, Failure> {
    let far = match side {
        Side::Near => false,
        Side::Far => true,
        Side::Either => chance.index(2) == 1,
    };
    moment(scene, chance)?;
    let other = scene.far.as_ref().ok_or("there is no other relay")?;
    let hook = if far { other.relay.hook() } else { scene.hook() };
    let begun = record::now();
    hook.say(&format!("arm {kind} {name} 1"))?;
    hook.until_fired(kind, name, 1, FIRES)?;
    Ok(Struck::at(begun, Met::Track))
}

//! Who serves the users of a relay that is part of a mesh.

use super::bases::{Ears, Life};
use super::mesh::{self, origin};
use super::seat::MeshParts;
use crate::supervise::{ChildGuard, ChildId};
use laps_protocol::peering::node::NodeType;
use std::rc::Rc;

/// Starts both parts: `remote`, which makes publishers of other nodes, and `origin`, which serves what they subscribe to and
/// fetch. For [`Setup::mesh`](super::Setup::mesh) of all relays but Vias, which have no users.
#[must_use]
pub fn local_users(parts: MeshParts) -> Ears {
    let MeshParts {
        own,
        epoch,
        env,
        plane,
        parent,
    } = parts;
    let guard = |kind| Some(ChildGuard::new(parent.clone(), ChildId::fresh(), kind));
    let origin = origin::Birth {
        env: env.clone(),
        outlets: Rc::new(plane.clone()),
        limits: origin::Limits::default(),
        guard: guard("origin"),
    }
    .start();
    plane.tell_origin(origin.clone().recipient());
    let mesh = mesh::Birth {
        epoch,
        env,
        inlets: Rc::new(plane.clone()),
        origin: Some(mesh::Origin {
            began: origin.clone().recipient(),
            news: origin.clone().recipient(),
            asked: origin.clone().recipient(),
        }),
        stub: own.node_type == NodeType::Stub,
        guard: guard("mesh"),
    }
    .start();
    plane.tell_users(mesh.clone().recipient());
    Ears {
        began: mesh.clone().recipient(),
        news: mesh.clone().recipient(),
        nodes: mesh.clone().recipient(),
        life: Some(Life {
            reregister: mesh.clone().recipient(),
            end: vec![mesh.clone().recipient(), origin.clone().recipient()],
            counting: vec![mesh.recipient(), origin.recipient()],
        }),
    }
}

//! How far the data of a set is that is over.

use super::{Ingress, Stream};
use crate::peering::message::SnsId;
use crate::relay::draining::Progress;

impl Ingress {
    /// The peer has withdrawn an id: what begins from now on counts for [`Self::progress`].
    pub fn withdrawn(&mut self, sns: SnsId) {
        self.routes.take_used(sns);
    }

    /// How far the data of an id is. As open counts what is, and what began since that was asked last, or the id was
    /// [withdrawn](Self::withdrawn): where one small stream follows another none may be open just now.
    pub fn progress(&mut self, sns: SnsId) -> Progress {
        let mut progress = Progress {
            taken: 0,
            open: self.routes.take_used(sns),
        };
        let open = self.of_id.get(&sns).into_iter().flatten();
        for stream in open.filter_map(|stream| self.streams.get(stream)) {
            if let Stream::Flows { pipeline, .. } = stream {
                progress.taken = progress.taken.saturating_add(pipeline.all_taken());
                progress.open += 1;
            }
        }
        progress
    }
}

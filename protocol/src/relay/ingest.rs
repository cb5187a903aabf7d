//! From the items of a publisher's stream to chunks for the log.

use super::track_log::{Append, StreamKey};
use crate::moqt::data::StreamItem;
use crate::moqt::object::{SubgroupHeader, SubgroupIdMode};

/// Turns the items of one subgroup stream into chunks.
#[derive(Clone, Copy, Debug)]
pub struct SubgroupChunks {
    key: StreamKey,
    header: SubgroupHeader,
    opened: bool,
}

impl SubgroupChunks {
    /// The stream is called `key` in the log, and began with `header`.
    #[must_use]
    pub const fn new(key: StreamKey, header: SubgroupHeader) -> Self {
        Self {
            key,
            header,
            opened: false,
        }
    }

    /// Adds to `batch` what `item` comes to.
    pub fn push(&mut self, item: StreamItem, batch: &mut Vec<Append>) {
        match item {
            StreamItem::Object(header) => {
                if !self.opened {
                    self.opened = true;
                    // MOQT-14 §10.4.2 [D14-DATA-2]: without a field the subgroup is 0 or the first object's id.
                    let subgroup = match self.header.subgroup {
                        SubgroupIdMode::Zero => 0,
                        SubgroupIdMode::FirstObject => header.id,
                        SubgroupIdMode::Explicit(id) => id,
                    };
                    batch.push(Append::SubgroupOpened {
                        stream: self.key,
                        group: self.header.group,
                        subgroup,
                        priority: self.header.priority,
                        has_extensions: self.header.has_extensions,
                        end_of_group: self.header.end_of_group,
                    });
                }
                batch.push(Append::ObjectStarted {
                    stream: self.key,
                    header,
                });
            }
            StreamItem::Payload(bytes) => batch.push(Append::Payload {
                stream: self.key,
                bytes,
            }),
            StreamItem::SubgroupHeader(_) | StreamItem::FetchHeader(_) | StreamItem::FetchObject(_) => {}
        }
    }
}

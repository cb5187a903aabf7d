//! What the relay's own tracks and those of other nodes have to do with one another.

mod messages;

pub use messages::{BasesBegan, FromNode, MeshNews, News, SendToNode, Want};

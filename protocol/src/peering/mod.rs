//! laps' peering protocol: how relays tell one another of nodes, publications and subscriptions, and hand data on.
//!
//! The design is the "LAPS Peering Protocol and Architecture" document, cited here by the title of its section
//! (`laps peering, "Node Path"`). The bytes are those that real laps relays send, which differ from it here and there;
//! a line that follows the relays against the document says so with `as laps does`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`node`] | node ids and their text, kinds of nodes, what is known of a node and the path to it |
//! | [`hash`] | the hashes that stand for namespaces, names and tracks |
//! | [`message`] | the control messages, and the only place with codepoints of the protocol |
//! | [`data_header`] | what stands before the payload of datagrams and streams |
//! | [`forward`] | who gets data that comes in, and how its bytes go on |
//! | [`reader`] | messages out of the bytes of a control stream, however they are split |
//! | [`session`] | the state machine of one link |
//! | [`liveness`], [`damping`] | when a link is dead, and for how long one that fails often is kept away |
//! | [`info_base`] | nodes, publications and subscriptions of the mesh, and what a relay says of them |
//! | [`selection`], [`fib`] | the choice among ways to a node, and the table that data is sent by |
//! | [`limits`], [`error`] | how much of anything is accepted, and what is wrong with what is not |

pub mod damping;
pub mod data_header;
pub mod error;
pub mod fib;
pub mod forward;
pub mod hash;
pub mod info_base;
pub mod limits;
pub mod liveness;
pub mod message;
pub mod node;
pub mod reader;
pub mod selection;
pub mod session;

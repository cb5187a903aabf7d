//! Endpoints against each other over loopback. Nothing here sleeps: each test waits for what it proves.

mod endpoints;
mod newcomers;
mod peers;
mod shards;
mod streams;
mod unsent;

use std::net::{Ipv4Addr, SocketAddr};

use super::{
    testing::{LOOPBACK, config, pair, run, server_tls, start_client, start_server},
    *,
};

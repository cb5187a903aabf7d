//! The publisher: urgent objects at their times, bulk at its rate.

use super::{URGENT, Work, bulk_name, now};
use crate::wire::{CODEC, Control, publish_namespace, subscribe_ok, unexpected};
use crate::{Failure, runtime};
use bytes::{BufMut, Bytes, BytesMut};
use laps_actors::transport::{ClientEndpoint, ConnHandle, SendGuard, TransportConfig};
use laps_protocol::moqt::message::ControlMessage;
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

/// Bytes of the time at the start of each payload.
const STAMP: usize = 8;
/// Bytes of one bulk object.
const PIECE: usize = 10_000;
/// The alias of the urgent track; those of bulk follow.
const ALIAS: u64 = 100;

/// Publishes what is subscribed to, until the parent is gone.
pub(crate) async fn feed(to: SocketAddr, work: Work) -> Result<(), Failure> {
    let endpoint = ClientEndpoint::for_remote(to, &runtime::client_tls()?, &TransportConfig::default())?;
    let mut conn = endpoint.connect(to, "localhost").await?.handle();
    let mut control = Control::connect(&mut conn).await?;
    control.send(&publish_namespace()?).await?;
    let mut tracks = JoinSet::new();
    let answer = async {
        loop {
            match control.next().await? {
                ControlMessage::PublishNamespaceOk(_) => runtime::announce(to)?,
                ControlMessage::Subscribe(request, subscribe) => {
                    let name = String::from_utf8_lossy(subscribe.track.name()).into_owned();
                    let bulk = (0..work.bulk).position(|number| bulk_name(number) == name);
                    let alias = bulk.map_or(ALIAS, |number| ALIAS + 1 + number as u64);
                    control.send(&subscribe_ok(request, alias)).await?;
                    let (conn, work) = (conn.clone(), work.clone());
                    match bulk {
                        Some(_) => tracks.spawn_local(send_bulk(conn, alias, work)),
                        None if name == URGENT => tracks.spawn_local(send_urgent(conn, alias, work)),
                        None => return Err("an unknown track is wanted".into()),
                    };
                }
                // The subscriber has gone.
                ControlMessage::MaxRequestId(_)
                | ControlMessage::SubscribeUpdate(..)
                | ControlMessage::Unsubscribe(_) => {}
                other => return Err::<(), Failure>(unexpected(&other)),
            }
        }
    };
    tokio::select! {
        () = runtime::parent_gone() => Ok(()),
        failed = answer => failed,
    }
}

async fn send_urgent(mut conn: ConnHandle, alias: u64, work: Work) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(Duration::from_millis(work.every_ms));
    for group in 0.. {
        ticks.tick().await;
        let mut stream = open(&mut conn, alias, group).await?;
        stream.send(&mut object(0, work.urgent)?).await?;
        stream.finish()?;
    }
    Ok(())
}

async fn send_bulk(mut conn: ConnHandle, alias: u64, work: Work) -> Result<(), Failure> {
    let rate = work.bulk_mbit * 1e6 / 8.0 / work.bulk as f64;
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(PIECE as f64 / rate));
    let mut stream = open(&mut conn, alias, 0).await?;
    for number in 0.. {
        ticks.tick().await;
        stream.send(&mut object(number, PIECE)?).await?;
    }
    Ok(())
}

async fn open(conn: &mut ConnHandle, alias: u64, group: u64) -> Result<SendGuard, Failure> {
    let header = SubgroupHeader {
        alias,
        group,
        subgroup: SubgroupIdMode::Zero,
        priority: 128,
        has_extensions: false,
        end_of_group: true,
    };
    let mut bytes = BytesMut::new();
    CODEC.encode_subgroup_header(&header, &mut bytes)?;
    let mut stream = conn.open_uni().await?;
    stream.send(&mut [bytes.freeze()]).await?;
    Ok(stream)
}

fn object(id: u64, size: usize) -> Result<[Bytes; 2], Failure> {
    let header = ObjectHeader {
        id,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: size.max(STAMP) as u64,
    };
    let mut head = BytesMut::with_capacity(32);
    CODEC.encode_object_header(false, id.checked_sub(1), &header, &mut head)?;
    head.put_u64(now());
    Ok([head.freeze(), Bytes::from(vec![0x55; size.saturating_sub(STAMP)])])
}

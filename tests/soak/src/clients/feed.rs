//! What a publisher sends. Place and payload follow from the time alone, so several publishers of a track agree.

use crate::Failure;
use crate::rng::Rng;
use bytes::{Bytes, BytesMut};
use laps_actors::transport::{ConnHandle, SendGuard};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::{
    DatagramObject, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode, TrackAlias,
};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

pub(super) const CODEC: Codec = Codec::Draft14;
/// How long a group lasts.
const GROUP: Duration = Duration::from_millis(250);

/// The group of this moment.
pub(super) fn group_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default().as_millis() / GROUP.as_millis();
    u64::try_from(since).unwrap_or_default()
}

/// Sends group after group, as long as the connection lives.
pub(super) async fn feed(
    mut conn: ConnHandle,
    alias: TrackAlias,
    datagrams: bool,
    mut rng: Rng,
) -> Result<(), Failure> {
    loop {
        let group = group_now();
        if datagrams {
            datagram(&conn, alias, group)?;
        } else {
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
            subgroup(stream, group, &mut rng).await?;
        }
        while group_now() == group {
            sleep(GROUP / 4).await;
        }
    }
}

async fn subgroup(mut stream: SendGuard, group: u64, rng: &mut Rng) -> Result<(), Failure> {
    let mut sizes = Rng::new(group);
    let objects = 1 + sizes.below(8);
    for id in 0..objects {
        // Every size that a packet, a slab of the stack and a window treat in another way.
        let len = [20, 900, 4_000, 30_000]
            .get(usize::try_from(sizes.below(4))?)
            .copied()
            .unwrap_or(1);
        let header = ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: len as u64,
        };
        let mut bytes = BytesMut::new();
        CODEC.encode_object_header(false, id.checked_sub(1), &header, &mut bytes)?;
        bytes.resize(bytes.len() + len, 0x55);
        if rng.one_in(60) {
            stream.reset(0);
            return Ok(());
        }
        stream.send(&mut [bytes.freeze()]).await?;
    }
    Ok(stream.finish()?)
}

fn datagram(conn: &ConnHandle, alias: TrackAlias, group: u64) -> Result<(), Failure> {
    let payload = [0x55; 100];
    let object = DatagramObject {
        alias,
        location: Location::new(group, 0),
        priority: 128,
        extensions: Bytes::new(),
        end_of_group: false,
        status: ObjectStatus::Normal,
        payload: Bytes::copy_from_slice(&payload),
    };
    let mut bytes = BytesMut::new();
    CODEC.encode_datagram_header(&object, &mut bytes)?;
    bytes.extend_from_slice(&payload);
    conn.send_datagram(bytes.freeze())?;
    Ok(())
}

//! The subscriber that is stopped: it reads, and in the end says what it got and what it was told.

use crate::wire::{CODEC, Control, subscribe, unexpected};
use crate::{Failure, runtime};
use laps_actors::transport::{ClientEndpoint, RecvGuard, TransportConfig, UniAcceptor};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, RequestId};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// What became of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stopped {
    /// PUBLISH_DONE came, with this status and this count of streams.
    done: Option<(String, Option<u64>)>,
    /// Streams that were seen, and those that were whole.
    streams: u64,
    whole: u64,
    /// Groups between the first and the last that did not come whole.
    missing: u64,
    /// Groups after the last one that did not, which came whole.
    since: u64,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.done {
            Some((status, Some(count))) => write!(f, "{status}, {count} streams announced, ")?,
            Some((status, None)) => write!(f, "{status}, ")?,
            None => write!(f, "goes on, ")?,
        }
        write!(
            f,
            "{} streams seen, {} whole; {} groups missing, then {} whole ones",
            self.streams, self.whole, self.missing, self.since
        )
    }
}

/// Subscribes, and reads until standard input ends or the subscription does.
#[expect(clippy::print_stdout, reason = "the parent reads these lines")]
pub(crate) async fn run(addr: SocketAddr) -> Result<(), Failure> {
    let endpoint = ClientEndpoint::for_remote(addr, &runtime::client_tls()?, &TransportConfig::default())?;
    let parts = endpoint.connect(addr, "localhost").await?.split();
    let mut conn = parts.handle;
    let mut control = Control::connect(&mut conn).await?;
    control.send(&subscribe(RequestId(0))?).await?;
    match control.answer().await? {
        ControlMessage::SubscribeOk(..) => println!("subscribed"),
        other => return Err(unexpected(&other)),
    }
    let groups = Rc::<RefCell<BTreeMap<u64, bool>>>::default();
    let streams = Rc::<RefCell<u64>>::default();
    let accepting = tokio::task::spawn_local(accept(parts.uni, Rc::clone(&groups), Rc::clone(&streams)));
    let done = async {
        loop {
            if let ControlMessage::PublishDone(_, done) = control.next().await? {
                return Ok::<_, Failure>(done);
            }
        }
    };
    let done = tokio::select! {
        done = done => Some(done?),
        () = runtime::parent_gone() => None,
    };
    if let Some(done) = &done {
        // The last streams may come behind the message.
        let all = async {
            while done.stream_count.is_some_and(|count| *streams.borrow() < count) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), all).await.ok();
    }
    accepting.abort();
    let groups = groups.borrow();
    let (first, last) = (groups.keys().next(), groups.keys().next_back());
    let span = first.zip(last).map_or(0, |(first, last)| last - first + 1);
    let whole = groups.values().filter(|whole| **whole).count() as u64;
    // The group that is being sent is not missing.
    let open = u64::from(groups.values().next_back().is_some_and(|whole| !whole));
    let hole = (0..last.copied().unwrap_or_default())
        .rev()
        .find(|group| groups.get(group) != Some(&true));
    let stopped = Stopped {
        done: done.map(|done| (name(done.status), done.stream_count)),
        streams: *streams.borrow(),
        whole,
        missing: span - whole - open.min(span - whole),
        since: hole.map_or(whole, |hole| {
            groups.range(hole..).filter(|(_, whole)| **whole).count() as u64
        }),
    };
    println!("{}", serde_json::to_string(&stopped)?);
    Ok(())
}

fn name(status: PublishDoneStatus) -> String {
    format!("PUBLISH_DONE {status:?}")
}

async fn accept(mut uni: UniAcceptor, groups: Rc<RefCell<BTreeMap<u64, bool>>>, streams: Rc<RefCell<u64>>) {
    while let Ok(Some(stream)) = uni.accept().await {
        *streams.borrow_mut() += 1;
        let groups = Rc::clone(&groups);
        tokio::task::spawn_local(async move { read(stream, &groups).await.ok() });
    }
}

async fn read(mut stream: RecvGuard, groups: &RefCell<BTreeMap<u64, bool>>) -> Result<(), Failure> {
    let mut reader = StreamReader::new(CODEC, DataLimits::default());
    let mut group = None;
    while let Some(bytes) = stream.receive().await? {
        reader.push(bytes);
        while let Some(item) = reader.next()? {
            if let StreamItem::SubgroupHeader(header) = item {
                group = Some(header.group);
                groups.borrow_mut().insert(header.group, false);
            }
        }
    }
    reader.fin()?;
    if let Some(group) = group {
        groups.borrow_mut().insert(group, true);
    }
    Ok(())
}

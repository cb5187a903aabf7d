//! Many nodes that join a track in one group, one after the other. Issue 6, "MOQT across the mesh": each gets the rest of it,
//! as on one relay.

use super::*;
use laps_protocol::peering::data_header::StreamHeaderReader;
use laps_protocol::peering::message::SnsId;

const FIRST: u64 = 11;

impl Stream {
    /// Under which id it came.
    fn sns(&self) -> SnsId {
        let mut head = Bytes::copy_from_slice(&self.head);
        StreamHeaderReader::new().read(&mut head).unwrap().unwrap().sns
    }

    /// Whether the object comes on it, before it ends.
    async fn brings(&mut self, object: u64) -> bool {
        while let Ok(Some(item)) = self.item().await {
            if matches!(item, StreamItem::Object(header) if header.id == object) {
                return true;
            }
        }
        false
    }
}

/// Reads what comes on a link, and says under which ids this object has come.
async fn listen(mut end: ConnParts, object: u64, said: mpsc::UnboundedSender<SnsId>) {
    while let Ok(Some(recv)) = end.uni.accept().await {
        let mut stream = Stream {
            recv,
            head: Vec::new(),
            reader: StreamReader::new(Codec::Draft14, DataLimits::default()),
        };
        let said = said.clone();
        actix_rt::spawn(async move {
            if stream.brings(object).await {
                said.send(stream.sns()).ok();
            }
            // What comes on it next is nobody's.
            while let Ok(Some(_)) = stream.item().await {}
        });
    }
}

/// What begins for who joins takes the place of what began for others, of which nothing is lost. `overlap`: how long that
/// takes at least. Nobody joins after these `count`.
async fn each_gets_what_is_open(overlap: Duration, count: u64) {
    let mut scene = Scene::overlapping(overlap).await;
    let nodes: Vec<_> = (FIRST..FIRST + count).map(NodeId).collect();
    let reached = nodes.iter().map(|node| (*node, NEXT));
    scene.fib.send_replace(Fib::written(reached, [(NEXT, vec![A])]));
    let (said, mut heard) = mpsc::unbounded_channel();
    actix_rt::spawn(listen(scene.ends.remove(0), 1, said));
    let publisher = Publisher::new(&scene.env).await;
    for (node, id) in nodes.iter().zip(40..) {
        scene.subscribe(*node, id, |_| {}).await;
        let (to, _, answer) = scene.heard.answer().await;
        assert!(to == *node && matches!(answer, Answer::Ok(_)), "{answer:?}");
        if *node == nodes[0] {
            publisher.begin(1, b"first").await;
        }
        // As many as there may be, and one in which others are put together.
        assert!(scene.count("mesh_asides").await <= 17);
    }
    publisher.object(1, 1, b"second").await;
    // A stream goes to those whom its set named when it began, and no set but that of the track gets any later.
    let (mut sets, mut came) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeSet::new());
    let mut lacking: BTreeSet<_> = nodes.into_iter().collect();
    let all = async {
        while !lacking.is_empty() {
            while let Ok(message) = scene.heard.sets.try_recv() {
                if let Message::NodeSetAdvertise(set) = message {
                    let named: BTreeSet<_> = set.nodes().iter().copied().collect();
                    sets.entry(set.id).or_insert(named);
                }
            }
            came.extend(heard.try_recv());
            for sns in &came {
                if let Some(named) = sets.get(sns) {
                    lacking.retain(|node| !named.contains(node));
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let all = tokio::time::timeout(LONG, all).await;
    all.unwrap_or_else(|_| panic!("these lack it: {lacking:?}"));
}

/// More than twice as many as there may be sets aside.
#[actix::test]
async fn who_joins_gets_what_is_open_however_many_joined_before() {
    each_gets_what_is_open(Duration::ZERO, 40).await;
}

/// There is no place for the last ones until others are put together, and those can be only when all have joined.
#[actix::test]
async fn who_has_to_wait_gets_what_is_open_though_nobody_joins_any_more() {
    each_gets_what_is_open(Limits::default().join_overlap, 20).await;
}

/// The same where some end while others join.
#[actix::test]
async fn who_has_to_wait_gets_what_is_open_while_others_join() {
    each_gets_what_is_open(Duration::from_millis(20), 40).await;
}

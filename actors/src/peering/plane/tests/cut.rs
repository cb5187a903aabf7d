//! What is on its way when a stream is broken off.

use super::*;

/// More than a stack takes at once.
const MANY: usize = 2 << 20;

/// laps peering, "Pipeline forwarding": a reset is mirrored, behind what came before it. Its target begins to read when it is
/// known already that the source was reset.
#[actix::test]
async fn a_reset_comes_behind_what_came_before_it() {
    let mut config = Config::default();
    config.forward.pause_at_bytes = 2 * MANY as u64;
    let mut scene = scene(NodeType::Via, config, Faults::default()).await;
    scene.advertise(5, &[NodeId(2)]);
    let mut source = scene.end(A).open().await;
    let begin = [&[1; 100][..], &[2; MANY]].concat();
    let head = Bytes::copy_from_slice(&head(5, 9).encode());
    source
        .send(&mut [head, Bytes::from(begin.clone())])
        .await
        .unwrap();
    // What the via's own stack has and nobody took is lost by a reset.
    scene
        .until(|plane| plane.counts().forward.bytes_in == begin.len() as u64)
        .await;
    source.reset(42);
    scene.until(|plane| plane.counts().forward.lanes_reset == 1).await;
    let mut target = scene.end(B).accept().await;
    let (_, got, end) = read(&mut target).await;
    assert!(got == begin, "{} bytes of {}", got.len(), begin.len());
    assert_eq!(end, Err(StreamError::Reset { code: 42 }));
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
}

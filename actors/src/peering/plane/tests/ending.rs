//! Sets that are over, and what is still on its way.

use super::*;

const GRACE: Duration = Duration::from_millis(200);

/// The next relay is to know a set until its data is there: while a stream is open when the set has had its time, it has as
/// much again.
#[actix::test]
async fn a_set_with_an_open_stream_is_kept_longer() {
    let mut config = Config::default();
    config.forward.end_grace = GRACE;
    let mut scene = scene(NodeType::Via, config, Faults::default()).await;
    scene.advertise(5, &[NodeId(2)]);
    let id = scene.end(B).told().await.id;
    let mut source = scene.end(A).open().await;
    let begin = [&head(5, 9).encode()[..], b"first"].concat();
    source.send(&mut [Bytes::from(begin)]).await.unwrap();
    let mut target = scene.end(B).accept().await;
    let began = tokio::time::Instant::now();
    scene.plane.withdrawn(A, sns(5));
    let told = scene.end(B).told.recv().await;
    assert_eq!(told, Some(Message::NodeSetWithdraw(id)));
    assert!(began.elapsed() >= GRACE * 2, "{:?}", began.elapsed());
    source
        .send(&mut [Bytes::from_static(b" and last")])
        .await
        .unwrap();
    source.finish().unwrap();
    let (_, got, end) = read(&mut target).await;
    assert_eq!((got.as_slice(), end), (&b"first and last"[..], Ok(())));
}

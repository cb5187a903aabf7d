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

/// A withdrawal that was under way on a control stream is lost with it: the set ends all the same, and one that is told again
/// stays.
#[actix::test]
async fn a_set_that_is_not_told_again_ends() {
    let mut config = Config::default();
    config.forward.end_grace = GRACE;
    let mut scene = scene(NodeType::Via, config, Faults::default()).await;
    for id in [5, 6] {
        scene.advertise(id, &[NodeId(2)]);
    }
    let (first, second) = (scene.end(B).told().await.id, scene.end(B).told().await.id);
    scene.plane.say_all_again(A);
    scene.advertise(6, &[NodeId(2)]);
    let told = scene.end(B).told.recv().await;
    assert_eq!(told, Some(Message::NodeSetWithdraw(first)));
    scene.plane.withdrawn(A, sns(6));
    let told = scene.end(B).told.recv().await;
    assert_eq!(told, Some(Message::NodeSetWithdraw(second)));
    assert!(scene.plane.census().contains(&("peering_sets_taken", 0)));
}

//! What is on its way when a stream is broken off.

use super::*;

/// More than a stack takes at once.
const MANY: usize = 2 << 20;

/// laps peering, "Pipeline forwarding": a reset is mirrored, behind what came before it.
#[actix::test]
async fn a_reset_comes_behind_what_came_before_it() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2)]);
    let mut source = scene.end(A).open().await;
    let begin = [&head(5, 9).encode()[..], &[1; 100]].concat();
    let all = begin.len() + MANY;
    source.send(&mut [Bytes::from(begin)]).await.unwrap();
    let mut target = scene.end(B).accept().await;
    let read = actix_rt::spawn(async move {
        let mut got = 0;
        loop {
            match target.receive().await {
                Ok(Some(bytes)) => got += bytes.len(),
                end => return (got, end.map(|_| ())),
            }
        }
    });
    source.send(&mut [Bytes::from(vec![2; MANY])]).await.unwrap();
    source.flush().await.unwrap();
    source.reset(42);
    assert_eq!(read.await.unwrap(), (all, Err(StreamError::Reset { code: 42 })));
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
}

use std::task::Poll;

use bytes::Bytes;
use futures::{future::poll_fn, poll};

use super::*;

/// Waits until everything that may leave has left.
async fn all_has_left(stats: &ConnStats) {
    poll_fn(|cx| {
        stats.wake_at(0, cx);
        if stats.unsent() == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[test]
fn what_is_written_counts_until_it_has_left() {
    run(async {
        let pair = pair().await;
        let mut conn = pair.client.handle.clone();
        let before = conn.stats().window_for_objects();
        // An eighth of it would be more than the control stream needs.
        assert_eq!(before, config().connection_window - 4096);
        let mut send = conn.open_uni().await.unwrap();
        let window = poll_fn(|cx| send.poll_window(cx)).await;
        assert_eq!(window, Ok(config().uni_stream_window));
        send.send(&mut [Bytes::from(vec![1; 30_000])]).await.unwrap();
        let window = poll_fn(|cx| send.poll_window(cx)).await;
        assert_eq!(window, Ok(config().uni_stream_window - 30_000));
        assert_eq!(conn.stats().unsent(), 30_000);
        assert_eq!(conn.stats().window_for_objects(), before - 30_000);
        all_has_left(conn.stats()).await;
        assert_eq!(conn.stats().stream_bytes_sent(), 30_000);
        assert_eq!(conn.stats().window_for_objects(), before - 30_000);
    });
}

/// D14-PRIO-7: what the peer's window for a stream holds back does not count, and neither does what was given up.
#[test]
fn what_cannot_leave_does_not_count() {
    run(async {
        let mut pair = pair().await;
        let mut conn = pair.client.handle.clone();
        let window = config().uni_stream_window;
        let mut send = conn.open_uni().await.unwrap();
        let beyond = usize::try_from(window).unwrap() + 50_000;
        let mut chunks = [Bytes::from(vec![1; beyond])];
        send.send(&mut chunks).await.unwrap();
        assert_eq!(conn.stats().unsent(), window);
        all_has_left(conn.stats()).await;
        // The stack takes the connection's credit by the packet, before it looks at the stream's.
        let taken = conn.stats().stream_bytes_sent();
        assert!((window..window + 2_000).contains(&taken), "{taken}");
        assert!(poll!(Box::pin(poll_fn(|cx| send.poll_window(cx)))).is_pending());
        // The reader makes room for the rest.
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        let mut received = 0;
        while received < beyond {
            received += recv.receive().await.unwrap().unwrap().len();
        }
        assert!(poll_fn(|cx| send.poll_window(cx)).await.is_ok());
        let mut other = conn.open_uni().await.unwrap();
        other.send(&mut [Bytes::from(vec![1; 9_000])]).await.unwrap();
        assert!(conn.stats().unsent() >= 9_000);
        other.reset(1);
        all_has_left(conn.stats()).await;
        // Nor does it come back when the stack says that the stream was reset.
        send.send(&mut [Bytes::from_static(b"more")]).await.unwrap();
        all_has_left(conn.stats()).await;
        assert_eq!(conn.stats().unsent(), 0);
    });
}

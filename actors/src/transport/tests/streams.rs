use std::{panic::AssertUnwindSafe, task::Poll, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::poll_fn, poll};

use super::*;
use crate::transport::testing::Pair;

async fn read_all(stream: &mut RecvGuard) -> Result<Vec<u8>, StreamError> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.receive().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[test]
fn a_finished_unidirectional_stream_arrives_whole() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        let payload = Bytes::from(vec![7; 100_000]);
        let sending = async {
            send.send(&mut [Bytes::from_static(b"head"), Bytes::new(), payload.clone()])
                .await
                .unwrap();
            send.finish().unwrap();
            send.delivered().await.unwrap();
        };
        let receiving = async {
            let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
            let all = read_all(&mut recv).await.unwrap();
            assert_eq!((&all[..4], all.len()), (&b"head"[..], 100_004));
            assert_eq!(recv.receive().await, Ok(None), "the end stays the end");
        };
        futures::join!(sending, receiving);
    });
}

#[test]
fn a_bidirectional_stream_echoes() {
    run(async {
        let mut pair = pair().await;
        let (mut send, mut recv) = pair.client.handle.open_bidi().await.unwrap();
        let asking = async {
            send.send(&mut [Bytes::from_static(b"ping")]).await.unwrap();
            send.finish().unwrap();
            read_all(&mut recv).await.unwrap()
        };
        let answering = async {
            let (mut send, mut recv) = pair.server.bidi.accept().await.unwrap().unwrap();
            let heard = read_all(&mut recv).await.unwrap();
            send.send(&mut [Bytes::from(heard)]).await.unwrap();
            send.finish().unwrap();
        };
        let (heard, ()) = futures::join!(asking, answering);
        assert_eq!(heard, b"ping");
    });
}

/// [D14-CLOSE-1]
#[test]
fn a_dropped_send_stream_is_reset_and_not_finished() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        send.set_abandon_code(0x31);
        send.send(&mut [Bytes::from_static(b"half an obj")])
            .await
            .unwrap();
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        assert_eq!(recv.receive().await.unwrap().unwrap(), "half an obj");
        drop(send);
        assert_eq!(recv.receive().await, Err(StreamError::Reset { code: 0x31 }));
    });
}

/// [D14-CLOSE-1]
#[test]
fn a_panic_in_the_task_that_sends_resets_the_stream() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        let task = AssertUnwindSafe(async move {
            send.send(&mut [Bytes::from_static(b"half an obj")])
                .await
                .unwrap();
            panic!("injected");
        });
        assert!(task.catch_unwind().await.is_err());
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        assert_eq!(
            read_all(&mut recv).await,
            Err(StreamError::Reset { code: ABANDONED })
        );
    });
}

#[test]
fn a_chosen_reset_code_arrives() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        send.send(&mut [Bytes::from_static(b"x")]).await.unwrap();
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        assert_eq!(recv.receive().await.unwrap().unwrap(), "x");
        send.reset(2);
        assert_eq!(recv.receive().await, Err(StreamError::Reset { code: 2 }));
        assert_eq!(
            send.send(&mut [Bytes::from_static(b"y")]).await,
            Err(StreamError::Ended)
        );
        assert_eq!(send.finish(), Err(StreamError::Ended));
    });
}

#[test]
fn a_dropped_receive_stream_stops_its_sender() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        send.send(&mut [Bytes::from_static(b"x")]).await.unwrap();
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        recv.set_abandon_code(0x21);
        drop(recv);
        // An idle sender learns of it at its next write; one that waits for room is woken.
        let stopped = loop {
            if let Err(error) = send.send(&mut [Bytes::from(vec![0; 1000])]).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(stopped, StreamError::Stopped { code: 0x21 });
    });
}

#[test]
fn a_stop_of_an_idle_stream_is_noticed() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        send.send(&mut [Bytes::from_static(b"x")]).await.unwrap();
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        let stats = pair.client.handle.stats();
        assert!(poll!(Box::pin(poll_fn(|cx| stats.poll_stops(0, cx)))).is_pending());
        assert!(poll!(Box::pin(poll_fn(|cx| send.poll_stopped(cx)))).is_pending());
        recv.stop(4);
        assert_eq!(poll_fn(|cx| send.poll_stopped(cx)).await, 4);
        assert_eq!(poll_fn(|cx| stats.poll_stops(0, cx)).await, 1);
        let stopped = StreamError::Stopped { code: 4 };
        assert_eq!(poll_fn(|cx| send.poll_window(cx)).await, Err(stopped));
        pair.server.handle.close(0, "");
        assert_eq!(
            poll_fn(|cx| stats.poll_stops(1, cx)).await,
            1,
            "the end of the connection wakes, too"
        );
    });
}

#[test]
fn a_reader_that_never_reads_bounds_what_is_taken() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        send.send(&mut [Bytes::from_static(b"x")]).await.unwrap();
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        let limit = usize::try_from(config().uni_stream_window).unwrap()
            + usize::try_from(config().send_buffer).unwrap();
        let mut taken = 0;
        let blocked = poll_fn(|cx| {
            loop {
                let mut chunk = [Bytes::from(vec![0; 10_000])];
                match send.poll_send_vectored(&mut chunk, cx) {
                    Poll::Ready(result) => taken += result.unwrap() * 10_000,
                    Poll::Pending if taken >= limit - 20_000 => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        blocked.await;
        assert!(taken <= limit + 20_000, "{taken} bytes taken");
        assert!(poll!(Box::pin(poll_fn(|cx| send.poll_ready(cx)))).is_pending());
        recv.stop(9);
        assert_eq!(
            poll_fn(|cx| send.poll_ready(cx)).await,
            Err(StreamError::Stopped { code: 9 })
        );
    });
}

#[test]
fn vectored_reads_fill_several_places_and_tell_the_end() {
    run(async {
        let mut pair = pair().await;
        let mut send = pair.client.handle.open_uni().await.unwrap();
        send.send(&mut [Bytes::from(vec![1; 50_000])]).await.unwrap();
        send.finish().unwrap();
        let mut recv = pair.server.uni.accept().await.unwrap().unwrap();
        let (mut total, mut ended) = (0, false);
        while !ended {
            let mut places = [const { Bytes::new() }; 8];
            let got = recv.receive_vectored(&mut places).await.unwrap();
            total += places[..got.chunks].iter().map(Bytes::len).sum::<usize>();
            ended = got.fin;
        }
        assert_eq!(total, 50_000);
    });
}

/// Sends it until it comes: a datagram may be lost on its way, also within one machine.
async fn travels(pair: &mut Pair, datagram: Bytes) {
    loop {
        pair.client.handle.send_datagram(datagram.clone()).unwrap();
        let came = tokio::time::timeout(Duration::from_millis(500), async {
            while pair.server.datagrams.recv().await.unwrap() != datagram {}
        });
        if came.await.is_ok() {
            return;
        }
    }
}

/// D14-DATA-14: what is too large goes nowhere, and the connection goes on.
#[test]
fn datagrams_travel_and_oversized_ones_are_refused() {
    run(async {
        let mut pair = pair().await;
        travels(&mut pair, Bytes::from_static(b"hello")).await;
        let max = pair.client.handle.max_datagram();
        assert!(max >= 1100, "{max}");
        let error = pair
            .client
            .handle
            .send_datagram(Bytes::from(vec![0; 1600]))
            .unwrap_err();
        assert!(
            matches!(error, DatagramError::TooLarge { size: 1600, .. }),
            "{error}"
        );
        // The limit itself fits.
        travels(&mut pair, Bytes::from(vec![5; max])).await;
        assert_eq!(pair.client.handle.datagram_counts().discarded(), 0);
    });
}

#[test]
fn a_session_that_takes_no_datagrams_loses_the_oldest_and_counts() {
    run(async {
        let mut pair = pair().await;
        let mut number: u64 = 0;
        // Some may be lost on their way too.
        while pair.server.handle.datagram_counts().overflowed() < 10 {
            let payload = Bytes::copy_from_slice(&number.to_be_bytes());
            if pair.client.handle.send_datagram(payload).is_ok() {
                number += 1;
            }
            tokio::task::yield_now().await;
        }
        let oldest = pair.server.datagrams.recv().await.unwrap();
        let oldest = u64::from_be_bytes(oldest[..].try_into().unwrap());
        assert!((10..number).contains(&oldest), "{oldest} of {number}");
    });
}

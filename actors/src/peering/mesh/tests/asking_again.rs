//! A node that refused a track is asked for it again when it says that more publishers are there. MOQT-14 §8.4 [D14-NS-7]

use super::*;
use laps_protocol::peering::message::MorePublishers;

impl Scene {
    async fn has_more(&self, node: NodeId, namespace: &'static str) {
        let said = FromNode {
            source: node,
            kind: MorePublishers::KIND,
            request_id: 0,
            body: MorePublishers(ns(namespace)).encode().unwrap(),
        };
        mailbox::ask(&self.mesh, said, LONG).await.unwrap();
    }

    async fn refuses(&self, node: NodeId, number: RequestId) {
        let why = RequestError::new(RequestErrorReason::TrackDoesNotExist, "not here");
        self.says(node, number, Answer::Error(why)).await;
    }
}

/// Two nodes announce the namespace, one of which has the track. When the other one has it too, what it brings counts.
#[test]
fn who_refused_is_asked_when_it_has_more_publishers() {
    run(async |mut scene| {
        scene.announces(A, true).await;
        scene.announces(B, true).await;
        let (mut reading, attached) = Reading::begin(scene.find().await.unwrap());
        let (number, _) = scene.subscribe().await;
        scene.refuses(A, number).await;
        scene.says(B, number, ok(None)).await;
        attached.await.unwrap();
        reading.forward(true);
        scene.object(B, 1).await;
        assert_eq!(reading.groups().await, [1]);
        // Of another namespace, and of one that it does not announce.
        for other in ["other", "live/cam"] {
            scene.has_more(A, other).await;
        }
        scene.wants_nothing(Duration::from_secs(10)).await;
        for refuses in [true, false] {
            scene.has_more(A, "live").await;
            let (again, _) = scene.subscribe().await;
            assert!(again > number);
            scene.says(B, again, ok(None)).await;
            if refuses {
                scene.refuses(A, again).await;
            } else {
                scene.says(A, again, ok(None)).await;
            }
        }
        scene
            .until("bound", |tables| {
                tables.bindings.borrow().contains_key(&(hash(), A))
            })
            .await;
        scene.object(A, 2).await;
        assert_eq!(reading.groups().await, [2]);
        // Whoever serves the track is not asked twice.
        scene.has_more(A, "live").await;
        scene.wants_nothing(Duration::from_secs(10)).await;
    });
}

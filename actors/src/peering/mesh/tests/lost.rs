//! Who can say that something was lost on its way.

use super::*;
use crate::peering::mesh::Origin;
use laps_protocol::peering::message::LostNodes;

/// The other part of the mesh.
struct Other(mpsc::UnboundedSender<NodeId>);

impl Actor for Other {
    type Context = Context<Self>;
}

impl Handler<BasesBegan> for Other {
    type Result = ();
    fn handle(&mut self, _: BasesBegan, _: &mut Self::Context) {}
}

impl Handler<MeshNews> for Other {
    type Result = ();
    fn handle(&mut self, _: MeshNews, _: &mut Self::Context) {}
}

impl Handler<FromNode> for Other {
    type Result = ();
    fn handle(&mut self, msg: FromNode, _: &mut Self::Context) {
        self.0.send(msg.source).unwrap();
    }
}

/// laps peering, "Stub": nothing goes to others by way of one. What it says of others would have everything sent again to them.
#[test]
fn a_stub_has_lost_nothing() {
    run(async |scene| {
        let (says, mut heard) = mpsc::unbounded_channel();
        let other = Other(says).start();
        let mesh = Birth {
            epoch: EPOCH,
            env: scene.env.clone(),
            inlets: Rc::clone(&scene.tables) as Rc<dyn Inlets>,
            origin: Some(Origin {
                began: other.clone().recipient(),
                news: other.clone().recipient(),
                asked: other.recipient(),
            }),
            stub: false,
            guard: None,
        }
        .start();
        let news = [(A, NodeType::Stub), (B, NodeType::Edge)].map(|(node, node_type)| News::NodeReachable {
            node,
            node_type,
            ours: true,
        });
        mailbox::ask(&mesh, MeshNews(news.into()), LONG).await.unwrap();
        for source in [A, B] {
            let said = FromNode {
                source,
                kind: LostNodes::KIND,
                request_id: 0,
                body: LostNodes(vec![NodeId(3)]).encode(),
            };
            mailbox::ask(&mesh, said, LONG).await.unwrap();
        }
        assert_eq!(heard.recv().await, Some(B));
    });
}

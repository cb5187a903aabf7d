//! A namespace that `moq-transport` announces is told to who watches its prefix. The crate itself cannot watch: it sends
//! no SUBSCRIBE_NAMESPACE.

use crate::common::moq::MoqPeer;
use crate::common::raw::RawPeer;
use crate::common::relay::Relay;
use crate::common::wire::{Cursor, Message, kind};

fn namespace(mut fields: Cursor<'_>) -> Vec<Vec<u8>> {
    fields.tuple().expect("a namespace")
}

/// D14-NS-1 D14-NS-9
#[tokio::test]
async fn and_its_end_too() {
    let relay = Relay::start().await;
    let mut watcher = RawPeer::connect(relay.address).await;
    let id = watcher.request_id();
    let watch = Message::new(kind::SUBSCRIBE_NAMESPACE)
        .varint(id)
        .namespace("interop")
        .varint(0);
    watcher.control.send(&watch.bytes()).await;
    watcher.control.expect(kind::SUBSCRIBE_NAMESPACE_OK).await;
    let mut here = MoqPeer::connect(relay.address).await;
    let publisher = here.announce("interop/found", "video");
    let told = watcher.control.expect(kind::PUBLISH_NAMESPACE).await;
    let mut fields = told.fields();
    let asked = fields.varint().expect("Request ID");
    let wanted = vec![b"interop".to_vec(), b"found".to_vec()];
    assert_eq!(namespace(fields), wanted);
    let ok = Message::new(kind::PUBLISH_NAMESPACE_OK).varint(asked);
    watcher.control.send(&ok.bytes()).await;
    drop(publisher);
    let done = watcher.control.expect(kind::PUBLISH_NAMESPACE_DONE).await;
    assert_eq!(namespace(done.fields()), wanted);
    here.assert_alive().await;
}

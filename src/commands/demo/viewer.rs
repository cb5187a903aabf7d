//! One subscriber, and what it has got.

use super::Options;
use super::mesh::Edge;
use super::number;
use super::table::{Got, Row, Sent};
use laps_actors::client::{ClientError, Item, Subscriber, Wanted};
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::name::FullTrackName;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What its goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// A viewer that reads.
pub(super) struct Viewer {
    at: Edge,
    got: Rc<RefCell<Got>>,
    reading: JoinHandle<Subscriber>,
    ended: watch::Receiver<bool>,
}

impl Viewer {
    /// Subscribes, and reads from then on.
    ///
    /// # Errors
    /// When the relay cannot be reached or refuses.
    pub(super) async fn start(
        at: &Edge,
        options: Options,
        track: &FullTrackName,
    ) -> Result<Self, ClientError> {
        let mut subscriber = Subscriber::connect(&at.target, options).await?;
        let wanted = Wanted {
            track: track.clone(),
            filter: SubscribeFilter::LargestObject,
            priority: 128,
            new_group: false,
        };
        subscriber.subscribe(wanted).await?;
        let got = Rc::new(RefCell::new(Got::default()));
        let (tell, ended) = watch::channel(false);
        let reading = actix_rt::spawn(read(subscriber, Rc::clone(&got), tell));
        Ok(Self {
            at: at.clone(),
            got,
            reading,
            ended,
        })
    }

    /// Waits until the track has ended for it.
    pub(super) async fn done(&self) {
        // One that was dropped has ended too.
        drop(self.ended.clone().wait_for(|ended| *ended).await);
    }

    /// Its row of the table.
    pub(super) fn row(&self, sent: &Sent) -> Row {
        self.got.borrow().row((self.at.name, self.at.way), sent)
    }

    /// What it did not get as it should have, if anything.
    pub(super) fn fault(&self, sent: &Sent) -> Option<String> {
        let fault = self.got.borrow().fault(sent)?;
        Some(format!("the viewer at {}: {fault}", self.at.name))
    }

    /// Ends its session.
    pub(super) async fn close(self) {
        if !*self.ended.borrow() {
            self.reading.abort();
        }
        if let Ok(subscriber) = self.reading.await {
            drop(timeout(GOODBYE, subscriber.close()).await);
        }
    }
}

/// Reads until the track has ended.
async fn read(mut subscriber: Subscriber, got: Rc<RefCell<Got>>, tell: watch::Sender<bool>) -> Subscriber {
    loop {
        match subscriber.next().await {
            Ok(Item::Object(object)) => {
                let payload = object.payload.concat();
                got.borrow_mut()
                    .object(number(object.location), payload, object.at);
            }
            Ok(Item::Opened { .. } | Item::Closed { .. } | Item::Lost) => {}
            Ok(Item::Done(_)) => break,
            Err(error) => {
                got.borrow_mut().failed(error.to_string());
                break;
            }
        }
    }
    // Nobody waits for it any more where this fails.
    let _unheard: bool = tell.send(true).is_err();
    subscriber
}

//! What the tests share: a `BlueZ` with one adapter, the btleplug adapter on it, and patience.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use btleplug::api::{Central as _, CentralEvent, Manager as _, Peripheral as _, ScanFilter};
use btleplug::platform::{Adapter, Manager, Peripheral};
use futures::{Stream, StreamExt};
use protocols_bluez_sim::{Address, BlueZ, Setup};

pub(crate) type Events = Pin<Box<dyn Stream<Item = CentralEvent> + Send>>;

/// A sensor's address.
pub(crate) const SENSOR: Address = Address([0xC0, 0xFF, 0xEE, 0, 0, 1]);
pub(crate) const HCI0: &str = "hci0";

/// Waits for what must come, at most a minute.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(done) => done,
        Err(_) => panic!("waited a minute for: {what}"),
    }
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The next event that `pick` takes.
pub(crate) async fn event<T>(
    events: &mut Events,
    what: &str,
    mut pick: impl FnMut(CentralEvent) -> Option<T>,
) -> T {
    soon(what, async {
        loop {
            let event = events.next().await.expect("the stream of events goes on");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    })
    .await
}

pub(crate) struct Rig {
    pub(crate) bluez: BlueZ,
    pub(crate) adapter: Adapter,
    pub(crate) events: Events,
}

impl Rig {
    pub(crate) async fn new(address: &str, setup: Setup) -> Self {
        let bluez = BlueZ::start(address, setup).await.unwrap();
        let adapter = first_adapter().await;
        let events = adapter.events().await.unwrap();
        Self {
            bluez,
            adapter,
            events,
        }
    }

    /// With discovery running.
    pub(crate) async fn scanning(address: &str, setup: Setup) -> Self {
        let rig = Self::new(address, setup).await;
        rig.adapter.start_scan(ScanFilter::default()).await.unwrap();
        rig
    }

    /// Waits until a sensor is known.
    pub(crate) async fn find(&self, address: Address) -> Peripheral {
        let mut found = None;
        until("the sensor is discovered", async || {
            found = self.look(address).await;
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(crate) async fn look(&self, address: Address) -> Option<Peripheral> {
        let known = self.adapter.peripherals().await.unwrap();
        known
            .into_iter()
            .find(|peripheral| peripheral.address().into_inner() == address.0)
    }
}

pub(crate) async fn first_adapter() -> Adapter {
    let manager = Manager::new().await.unwrap();
    manager
        .adapters()
        .await
        .unwrap()
        .into_iter()
        .next()
        .expect("an adapter is there")
}

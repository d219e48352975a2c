//! One of our drivers at work against a peer: read until it says what it should, write, stop.

use protocols_driver::{
    CancellationToken, Driver, DriverContext, OrderDesk, Sweep, WriteError, Written, order_queue,
};
use protocols_model::{Instant, PointKey, Quality, SystemClock, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tests_interop::patience;
use tokio::sync::mpsc;

pub(crate) struct Field {
    sweeps: mpsc::Receiver<Sweep>,
    desk: OrderDesk,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Field {
    pub(crate) fn start(driver: Box<dyn Driver>) -> Self {
        let (sender, sweeps) = mpsc::channel(64);
        let (desk, orders) = order_queue();
        let stop = CancellationToken::new();
        let ctx = DriverContext {
            sweeps: sender,
            stop: stop.clone(),
            clock: Arc::new(SystemClock::start()),
            orders,
        };
        Self {
            sweeps,
            desk,
            stop,
            task: tokio::spawn(driver.run(ctx)),
        }
    }

    /// The next sweep.
    pub(crate) async fn next(&mut self) -> Sweep {
        let sweep = tokio::time::timeout(patience(), self.sweeps.recv()).await;
        sweep.unwrap().unwrap()
    }

    /// Receives until every point reads well, and as it should.
    pub(crate) async fn until(&mut self, wanted: &BTreeMap<PointKey, Value>) {
        let mut last = BTreeMap::new();
        let all = async {
            loop {
                for reading in self.sweeps.recv().await.unwrap().readings {
                    last.insert(reading.point, (reading.value, reading.quality));
                }
                let reads = |(key, value): (&PointKey, &Value)| {
                    last.get(key) == Some(&(Some(value.clone()), Quality::Good))
                };
                if wanted.iter().all(reads) {
                    return;
                }
            }
        };
        if tokio::time::timeout(patience(), all).await.is_err() {
            panic!("wanted {wanted:?}, read {last:?}");
        }
    }

    /// Writes, and takes sweeps meanwhile.
    pub(crate) async fn write(
        &mut self,
        key: PointKey,
        value: Value,
    ) -> Result<Written, WriteError> {
        let desk = self.desk.clone();
        let order = desk.place(key, value, Instant(Duration::MAX));
        let mut order = std::pin::pin!(order);
        loop {
            tokio::select! {
                outcome = &mut order => return outcome,
                sweep = self.sweeps.recv() => drop(sweep.unwrap()),
                () = tokio::time::sleep(patience()) => panic!("no outcome of {key:?}"),
            }
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(patience(), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

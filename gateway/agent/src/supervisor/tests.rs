use super::*;
use gateway_spool::SpoolConfig;
use protocols_model::{BootId, Clock, DeviceId, SystemClock};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Panics in its first runs, then behaves.
struct Fragile {
    status: Arc<BusStatus>,
    runs: Arc<AtomicU64>,
    panics: u64,
}

#[async_trait::async_trait]
impl Driver for Fragile {
    fn name(&self) -> &str {
        self.status.bus()
    }

    fn status(&self) -> Arc<BusStatus> {
        Arc::clone(&self.status)
    }

    async fn run(self: Box<Self>, ctx: DriverContext) {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        assert!(run >= self.panics, "a defect");
        ctx.stop.cancelled().await;
    }
}

#[tokio::test]
async fn a_panicked_driver_is_started_again_and_counted_and_the_stop_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let boot = BootId(1);
    let config = SpoolConfig::new(folder.path().join("spool"));
    let (spool, _) = gateway_spool::start(config, Arc::clone(&clock), boot);
    let events = Events {
        spool: spool.clone(),
        clock: Arc::clone(&clock),
        boot,
    };
    let (sweeps, _receiver) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let ctx = DriverContext {
        sweeps,
        stop: stop.clone(),
        clock,
        orders: protocols_driver::Orders::none(),
    };
    let runs = Arc::new(AtomicU64::new(0));
    let make = {
        let runs = Arc::clone(&runs);
        move || -> Box<dyn Driver> {
            let devices = [DeviceId::try_new("d").unwrap()];
            Box::new(Fragile {
                status: Arc::new(BusStatus::new("b".into(), devices)),
                runs: Arc::clone(&runs),
                panics: 2,
            })
        }
    };
    let slot = Arc::new(BusSlot::new(make().status()));
    let task = tokio::spawn(supervise(make, Arc::clone(&slot), ctx, events));
    let third = async {
        while runs.load(Ordering::Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), third)
        .await
        .unwrap();
    assert_eq!(slot.restarts.get(), 2);
    assert!(!task.is_finished());
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        spool
            .state()
            .borrow()
            .last_seq(protocols_model::Lane::Event),
        2,
        "both told"
    );
    spool.stop(Duration::from_secs(60)).await.unwrap();
}

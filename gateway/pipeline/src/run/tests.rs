use super::*;
use crate::BatchAge;
use crate::setup::{PointSetup, Setup};
use gateway_rules::Engine;
use gateway_spool::{Cursor, FetchLimit, SpoolConfig};
use protocols_model::{
    DeviceId, PointDescriptor, PointId, PointKey, Reading, SystemClock, Value, ValueType,
};
use protocols_wire::RecordSummary;
use tempfile::TempDir;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    _folder: TempDir,
    clock: Arc<dyn Clock>,
    spool: SpoolHandle,
    sweeps: mpsc::Sender<Sweep>,
    live: watch::Sender<bool>,
    task: JoinHandle<Result<(), SpoolStopped>>,
    _asks: mpsc::Sender<Ask>,
}

fn rig(age: BatchAge) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let boot = BootId(7);
    let config = SpoolConfig::new(folder.path().join("spool"));
    let (spool, _) = gateway_spool::start(config, Arc::clone(&clock), boot);
    let point = PointSetup::open(PointDescriptor {
        device: DeviceId::try_new("d").unwrap(),
        point: PointId::try_new("p").unwrap(),
        value_type: ValueType::I64,
        unit: String::new(),
        scale: 1.0,
    });
    let setup = Setup {
        points: vec![point],
        ..Setup::default()
    };
    let now = (clock.monotonic(), clock.wall());
    let engine = Engine::new(Vec::new(), crate::KeptAlarms::new(), now.0);
    let pipeline = Pipeline::try_new(setup, engine, age, Arc::default(), now).unwrap();
    let (asks, asked) = mpsc::channel(crate::ASK_CAPACITY);
    let (sweeps, receiver) = mpsc::channel(SWEEP_CAPACITY);
    let (live, live_seen) = watch::channel(false);
    let inputs = Inputs {
        sweeps: receiver,
        spool: spool.clone(),
        live: live_seen,
        boot,
        writable: Writable::new(),
        asks: asked,
        alarms: watch::Sender::default(),
    };
    let task = tokio::spawn(run(pipeline, inputs, Arc::clone(&clock)));
    Rig {
        _folder: folder,
        clock,
        spool,
        sweeps,
        live,
        task,
        _asks: asks,
    }
}

impl Rig {
    async fn sweep(&self, values: impl Iterator<Item = i64>) {
        let sampled = self.clock.wall();
        let reading = |value| Reading::good(PointKey(0), sampled, Value::I64(value));
        let sweep = Sweep {
            bus: "b".into(),
            device: DeviceId::try_new("d").unwrap(),
            taken: self.clock.monotonic(),
            readings: values.map(reading).collect(),
        };
        self.sweeps.send(sweep).await.unwrap();
    }

    async fn spooled(&self) -> Vec<RecordSummary> {
        let limit = FetchLimit {
            max_bytes: 1 << 20,
            max_records: 1000,
        };
        let records = self
            .spool
            .fetch(Lane::Telemetry, Cursor::START, limit)
            .await;
        records
            .unwrap()
            .into_iter()
            .map(|record| record.summary)
            .collect()
    }

    async fn wait_for_records(&self, count: usize) {
        let enough = async {
            while self.spooled().await.len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.unwrap();
    }
}

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_batch_reaches_the_spool_at_its_age_and_the_link_decides_which() {
    let rig = rig(BatchAge {
        live: Duration::from_millis(50),
        offline: NEVER,
    });
    rig.sweep(0..10).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        rig.spooled().await.is_empty(),
        "offline batches wait longer"
    );
    rig.live.send_replace(true);
    rig.wait_for_records(1).await;
    rig.sweep(10..15).await;
    rig.wait_for_records(2).await;
    let counts: Vec<_> = rig.spooled().await.iter().map(|s| s.readings).collect();
    assert_eq!(counts, [10, 5]);
}

#[tokio::test]
async fn what_was_taken_is_in_the_spool_when_the_task_ends() {
    let rig = rig(BatchAge {
        live: NEVER,
        offline: NEVER,
    });
    for _ in 0..3 * SWEEP_CAPACITY {
        rig.sweep(0..5).await;
    }
    let Rig {
        sweeps,
        task,
        spool,
        _folder,
        ..
    } = rig;
    drop(sweeps);
    tokio::time::timeout(PATIENCE, task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let limit = FetchLimit {
        max_bytes: 1 << 20,
        max_records: 1000,
    };
    let records = spool
        .fetch(Lane::Telemetry, Cursor::START, limit)
        .await
        .unwrap();
    let total: u64 = records.iter().map(|record| record.summary.readings).sum();
    assert_eq!(total, 15 * SWEEP_CAPACITY as u64);
    assert_eq!(records[0].dictionaries.len(), 1);
    let kept = spool
        .dictionaries(records[0].dictionaries.clone())
        .await
        .unwrap();
    assert_eq!(kept.len(), 1, "the dictionary is there before the record");
}

#[tokio::test]
async fn a_spool_that_has_gone_ends_the_task_with_an_error() {
    let rig = rig(BatchAge {
        live: Duration::ZERO,
        offline: Duration::ZERO,
    });
    rig.sweep(0..1).await;
    rig.wait_for_records(1).await;
    rig.spool.clone().stop(PATIENCE).await.unwrap();
    rig.sweep(1..2).await;
    let ended = tokio::time::timeout(PATIENCE, rig.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended, Err(SpoolStopped));
}

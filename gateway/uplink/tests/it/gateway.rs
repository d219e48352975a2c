//! A gateway without field and pipeline: the real spool, the real uplink, a clock that can be set.

use crate::pki::Authority;
use gateway_spool::{SpoolConfig, SpoolHandle};
use gateway_uplink::{HelloTimes, Server, Timings, UplinkHandle, UplinkOptions, UplinkState};
use protocols_model::{
    BootId, Clock, DeviceId, GatewayId, Instant, Lane, PointDescriptor, PointId, Quality,
    SystemClock, Timestamp, Value, ValueType,
};
use protocols_wire::{Body, Column, Dictionary, Record, RecordStamp, Sample, Telemetry};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The longest that a test waits for a condition.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The machine's clocks with a wall clock that is off by some seconds.
pub(crate) struct OffClock {
    real: SystemClock,
    pub(crate) off_seconds: AtomicI64,
}

impl Clock for OffClock {
    fn wall(&self) -> Timestamp {
        let off = self.off_seconds.load(Ordering::Relaxed);
        Timestamp(self.real.wall().0.saturating_add(off * 1_000_000_000))
    }

    fn monotonic(&self) -> Instant {
        self.real.monotonic()
    }
}

pub(crate) fn clock(off_seconds: i64) -> Arc<OffClock> {
    Arc::new(OffClock {
        real: SystemClock::start(),
        off_seconds: off_seconds.into(),
    })
}

pub(crate) fn open_spool(dir: &Path) -> SpoolHandle {
    let mut config = SpoolConfig::new(dir.to_owned());
    config.keep_free_bytes = 0;
    config.commit_interval = Duration::from_millis(300);
    let (spool, report) = gateway_spool::start(config, clock(0), BootId(1));
    assert_eq!(report.disk_unusable, None);
    spool
}

/// A silence that a test waits for is over soon.
pub(crate) const SHORT: Duration = Duration::from_secs(2);

/// The cloud is asked again soon; but nothing is given up only because the machine stood still. A test
/// about giving up says [`SHORT`] itself.
pub(crate) fn timings() -> Timings {
    Timings {
        hello: HelloTimes {
            first: Duration::from_millis(300),
            longest: Duration::from_secs(2),
            answer: PATIENCE,
            history_wait: PATIENCE,
            resend_anyway: PATIENCE,
        },
        puback: PATIENCE,
        connect: PATIENCE,
        keep_alive: PATIENCE,
    }
}

pub(crate) fn options(authority: &Authority, servers: Vec<Server>) -> UplinkOptions {
    let gateway = GatewayId::try_new("g1").unwrap();
    let mut options = UplinkOptions::new(gateway, servers, authority.identity("g1"), BootId(1));
    options.timings = timings();
    options
}

/// The spans of a test in which the cloud says nothing: soon noticed, and nothing waits for its answer.
pub(crate) fn silent_cloud(timings: &mut Timings) {
    timings.hello.answer = Duration::from_millis(500);
    timings.hello.history_wait = Duration::from_millis(500);
}

/// A dictionary of one point.
pub(crate) fn dictionary(n: usize) -> Dictionary {
    Dictionary::try_new(vec![PointDescriptor {
        device: DeviceId::try_new("meter").unwrap(),
        point: PointId::try_new(&format!("p{n}")).unwrap(),
        value_type: ValueType::F64,
        unit: "V".to_owned(),
        scale: 0.1,
    }])
    .unwrap()
}

/// Appends `count` telemetry records that use `dictionary`.
pub(crate) async fn append(spool: &SpoolHandle, dictionary: &Dictionary, count: usize) {
    append_sized(spool, dictionary, count, 3).await;
}

/// Appends records of `samples` noisy readings each.
pub(crate) async fn append_sized(
    spool: &SpoolHandle,
    dictionary: &Dictionary,
    count: usize,
    samples: usize,
) {
    spool
        .keep_dictionaries(vec![dictionary.clone()])
        .await
        .unwrap();
    let mut state = spool.state();
    let last = state.borrow_and_update().last_seq(Lane::Telemetry) + u64::try_from(count).unwrap();
    for _ in 0..count {
        let sample = |n: usize| Sample {
            time: Timestamp::from_millis(1_760_000_000_000 + i64::try_from(n).unwrap()),
            value: Some(Value::F64(fastrand::f64())),
            quality: Quality::Good,
        };
        let record = Record {
            stamp: RecordStamp {
                boot: BootId(1),
                mono: Instant::default(),
                wall: Timestamp::from_millis(1_760_000_000_000),
            },
            body: Body::Telemetry(Telemetry {
                dictionaries: vec![dictionary.hash()],
                columns: vec![Column {
                    dictionary: 0,
                    index: 0,
                    filtered: 0,
                    samples: (0..samples).map(sample).collect(),
                }],
                unchanged: Vec::new(),
            }),
        };
        let sealed = record.encode().unwrap();
        spool.append(Lane::Telemetry, vec![sealed]).await.unwrap();
    }
    // The state follows the append by a moment; tests ask it at once.
    let seen = state.wait_for(|s| s.last_seq(Lane::Telemetry) >= last);
    tokio::time::timeout(PATIENCE, seen).await.unwrap().unwrap();
}

/// Waits until `good` holds for the uplink's state.
pub(crate) async fn state(
    uplink: &UplinkHandle,
    what: &str,
    good: impl FnMut(&UplinkState) -> bool,
) -> UplinkState {
    let mut good = good;
    let mut watch = uplink.state();
    let found = tokio::time::timeout(PATIENCE, watch.wait_for(|s| good(s))).await;
    match found {
        Ok(state) => (**state.unwrap()).clone(),
        Err(_) => panic!("never: {what}; last: {:?}", uplink.state().borrow()),
    }
}

/// Waits until the spool holds nothing.
pub(crate) async fn empty(spool: &SpoolHandle, uplink: &UplinkHandle) {
    let mut watch = spool.state();
    let found = tokio::time::timeout(PATIENCE, watch.wait_for(|s| s.records == 0)).await;
    if found.is_err() {
        panic!(
            "the spool never empties: {:?}; {:?}",
            spool.state().borrow(),
            uplink.state().borrow()
        );
    }
    // The uplink's own view follows.
    state(uplink, "nothing unsettled", |s| s.unsettled_records == 0).await;
}

/// Waits until `good` holds.
pub(crate) async fn until(what: &str, mut good: impl FnMut() -> bool) {
    let limit = tokio::time::Instant::now() + PATIENCE;
    while !good() {
        assert!(tokio::time::Instant::now() < limit, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! A driver under test: started from a bus, its sweeps received and checked.

use crate::sim::{bit, word};
use protocols_driver::{
    BusStatus, CancellationToken, Driver as _, DriverContext, STOP_BOUND, Sweep,
};
use protocols_modbus::ModbusDriver;
use protocols_modbus::config::{Bus, Device, Limits, Order, Point, Retry, Scale, Transport};
use protocols_model::{DeviceId, PointId, PointKey, Quality, Reading, Reason, SystemClock, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Nothing in these tests takes so long on a healthy machine.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Long enough for an answer on a busy machine.
pub(crate) const TIMEOUT: Duration = ms(300);

/// A device with one point per address.
pub(crate) fn device(unit: u8, period: Duration, addresses: &[&str]) -> Device {
    let point = |at: &&str| {
        let address: protocols_modbus::config::Address = at.parse().unwrap();
        Point {
            key: PointKey(0),
            id: PointId::try_new(&at.replace([':', '.'], "-")).unwrap(),
            address,
            raw: protocols_modbus::config::RawType::default_at(&address),
            order: Order::BIG_ENDIAN,
            scale: Scale::IDENTITY,
            period,
            range: None,
            names: None,
            write: None,
        }
    };
    Device {
        id: DeviceId::try_new(&format!("unit-{unit}")).unwrap(),
        unit,
        timeout: TIMEOUT,
        retry: Retry {
            fails: 1000,
            backoff_min: ms(200),
            backoff_max: ms(2000),
        },
        limits: Limits::default(),
        quirks: protocols_modbus::config::Quirks::default(),
        points: addresses.iter().map(point).collect(),
    }
}

pub(crate) fn tcp(port: u16) -> Transport {
    Transport::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

pub(crate) fn serial(path: &Path) -> Transport {
    Transport::Rtu {
        path: path.to_owned(),
        line: "115200 8N1".parse().unwrap(),
        rs485: None,
    }
}

pub(crate) struct Rig {
    bus: Bus,
    sweeps: mpsc::Receiver<Sweep>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    pub(crate) status: Arc<BusStatus>,
}

impl Rig {
    pub(crate) fn start(transport: Transport, devices: Vec<Device>) -> Self {
        Self::with_room(transport, devices, 64)
    }

    pub(crate) fn with_room(transport: Transport, mut devices: Vec<Device>, room: usize) -> Self {
        let points = devices.iter_mut().flat_map(|d| &mut d.points);
        for (key, point) in (0..).zip(points) {
            point.key = PointKey(key);
        }
        let bus = Bus {
            name: "bus".into(),
            transport,
            gap: Duration::ZERO,
            devices,
        };
        let driver = Box::new(ModbusDriver::new(bus.clone()).unwrap());
        let status = driver.status();
        let (sender, sweeps) = mpsc::channel(room);
        let stop = CancellationToken::new();
        let ctx = DriverContext {
            sweeps: sender,
            stop: stop.clone(),
            clock: Arc::new(SystemClock::start()),
            orders: protocols_driver::Orders::none(),
        };
        let task = tokio::spawn(driver.run(ctx));
        Self {
            bus,
            sweeps,
            stop,
            task,
            status,
        }
    }

    /// The next sweep. Each good value in it is the one of its own register.
    pub(crate) async fn next(&mut self) -> Sweep {
        let sweep = tokio::time::timeout(DEADLINE, self.sweeps.recv()).await;
        let sweep = sweep.expect("no sweep in time").expect("driver ended");
        self.check(&sweep);
        sweep
    }

    /// Takes what is there.
    pub(crate) fn take_all(&mut self) -> Vec<Sweep> {
        let mut all = Vec::new();
        while let Ok(sweep) = self.sweeps.try_recv() {
            self.check(&sweep);
            all.push(sweep);
        }
        all
    }

    /// Sweeps until one fulfils the condition; all of them.
    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&Sweep) -> bool) -> Vec<Sweep> {
        let end = Instant::now() + DEADLINE;
        let mut all = Vec::new();
        while Instant::now() < end {
            all.push(self.next().await);
            if wanted(all.last().unwrap()) {
                return all;
            }
        }
        panic!("the wanted sweep never came; last: {:?}", all.last());
    }

    /// All sweeps of the next `span`.
    pub(crate) async fn during(&mut self, span: Duration) -> Vec<Sweep> {
        let end = tokio::time::Instant::now() + span;
        let mut all = Vec::new();
        while let Ok(sweep) = tokio::time::timeout_at(end, self.sweeps.recv()).await {
            let sweep = sweep.expect("driver ended");
            self.check(&sweep);
            all.push(sweep);
        }
        all
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let values = self.status.counters.values();
        values.iter().find(|v| v.name == name).unwrap().value
    }

    /// Stops the driver, which must end within its bound.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(STOP_BOUND, self.task).await;
        ended
            .expect("driver did not stop")
            .expect("driver panicked");
    }

    fn check(&self, sweep: &Sweep) {
        assert!(!sweep.readings.is_empty());
        let stamps = sweep.readings.iter().map(|r| r.sampled);
        assert!(stamps.collect::<std::collections::HashSet<_>>().len() == 1);
        for reading in &sweep.readings {
            let mut points = self
                .bus
                .devices
                .iter()
                .flat_map(|d| d.points.iter().map(move |p| (d, p)));
            let (device, point) = points.find(|(_, p)| p.key == reading.point).unwrap();
            assert_eq!(device.id, sweep.device);
            assert_eq!(reading.value.is_none(), reading.quality.is_bad());
            let Some(value) = &reading.value else {
                continue;
            };
            let (unit, at) = (device.unit, point.address.register);
            let expected = if point.address.space.is_bits() {
                Value::Bool(bit(unit, at))
            } else if let Some(bits) = point.address.bits {
                Value::Bool(bits.of(word(unit, at)) == 1)
            } else {
                Value::U64(word(unit, at).into())
            };
            assert_eq!(
                *value, expected,
                "a wrong value for {} of unit {unit}",
                point.address
            );
        }
    }
}

pub(crate) fn good(sweep: &Sweep) -> bool {
    sweep.readings.iter().all(|r| r.quality == Quality::Good)
}

pub(crate) fn bad(sweep: &Sweep, reason: Reason) -> bool {
    let is = |r: &Reading| r.quality == Quality::Bad(reason);
    sweep.readings.iter().all(is)
}

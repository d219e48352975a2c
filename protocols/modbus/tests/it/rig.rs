//! A driver under test: started from a bus, its sweeps received and checked.

use crate::sim::{Framing, Sim, bit, word};
use protocols_driver::{
    BusStatus, CancellationToken, Driver as _, DriverContext, OrderDesk, STOP_BOUND, Sweep,
    WriteError, Written, order_queue,
};
use protocols_modbus::ModbusDriver;
use protocols_modbus::config::{
    Bus, Device, Limits, Order, Point, Quirks, Retry, Scale, Transport, Write,
};
use protocols_model::{
    Clock, DeviceId, Instant, PointId, PointKey, Quality, Reading, Reason, Timestamp, Value,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Nothing in these tests takes so long, on the paused clock or on a machine that stands still for a
/// while.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How long devices over memory get: time passes there only while everybody waits, so a good answer is
/// never late.
pub(crate) const TIMEOUT: Duration = ms(300);

/// How long devices over real ports and connections get: longer than any machine stands still.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

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
        limits: Limits {
            max_gap: Some(8),
            ..Limits::default()
        },
        quirks: Quirks::default(),
        points: addresses.iter().map(point).collect(),
    }
}

/// The same with every point writable.
pub(crate) fn writable(unit: u8, period: Duration, addresses: &[&str]) -> Device {
    let mut device = device(unit, period, addresses);
    for point in &mut device.points {
        point.write = Some(Write::default());
    }
    device
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

/// Both clocks on tokio's, so that they stand still with it.
#[derive(Debug)]
pub(crate) struct TokioClock(tokio::time::Instant);

impl TokioClock {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn wall(&self) -> Timestamp {
        Timestamp(0).plus(self.0.elapsed())
    }

    fn monotonic(&self) -> Instant {
        Instant(self.0.elapsed())
    }
}

pub(crate) struct Rig {
    bus: Bus,
    sweeps: mpsc::Receiver<Sweep>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    desk: OrderDesk,
    clock: Arc<TokioClock>,
    pub(crate) status: Arc<BusStatus>,
    /// Whether registers hold what they held from the start.
    pub(crate) is_unwritten: bool,
}

impl Rig {
    /// Over memory.
    pub(crate) fn start(sim: &Sim, devices: Vec<Device>) -> Self {
        Self::with_room(sim, devices, 64)
    }

    pub(crate) fn with_room(sim: &Sim, devices: Vec<Device>, room: usize) -> Self {
        let transport = match sim.framing() {
            Framing::Tcp => tcp(502),
            Framing::Rtu => serial(Path::new("memory")),
        };
        Self::build(transport, devices, room, |driver| {
            driver.over(Arc::new(sim.clone()))
        })
    }

    /// Over the machine's own ports and connections.
    pub(crate) fn real(transport: Transport, mut devices: Vec<Device>) -> Self {
        for device in &mut devices {
            device.timeout = PATIENT;
        }
        Self::build(transport, devices, 64, |driver| driver)
    }

    /// On its own terms.
    pub(crate) fn build(
        transport: Transport,
        mut devices: Vec<Device>,
        room: usize,
        change: impl FnOnce(ModbusDriver) -> ModbusDriver,
    ) -> Self {
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
        let driver = Box::new(change(ModbusDriver::new(bus.clone()).unwrap()));
        let status = driver.status();
        let (sender, sweeps) = mpsc::channel(room);
        let stop = CancellationToken::new();
        let clock = Arc::new(TokioClock::start());
        let (desk, orders) = order_queue();
        let ctx = DriverContext {
            sweeps: sender,
            stop: stop.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            orders,
        };
        let task = tokio::spawn(driver.run(ctx));
        Self {
            bus,
            sweeps,
            stop,
            task,
            desk,
            clock,
            status,
            is_unwritten: true,
        }
    }

    /// Writes a point; sweeps that come meanwhile are taken and checked.
    pub(crate) async fn write(&mut self, point: u32, value: Value) -> Result<Written, WriteError> {
        let within = self.clock.monotonic().plus(DEADLINE);
        self.write_before(point, value, within).await
    }

    pub(crate) async fn write_before(
        &mut self,
        point: u32,
        value: Value,
        before: Instant,
    ) -> Result<Written, WriteError> {
        self.is_unwritten = false;
        let desk = self.desk.clone();
        let placed = desk.place(PointKey(point), value, before);
        tokio::pin!(placed);
        loop {
            tokio::select! {
                outcome = &mut placed => return outcome,
                _sweep = self.next() => {}
            }
        }
    }

    pub(crate) fn desk(&self) -> OrderDesk {
        self.desk.clone()
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.monotonic()
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
        let end = tokio::time::Instant::now() + DEADLINE;
        let mut all = Vec::new();
        while tokio::time::Instant::now() < end {
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

    /// Stops the driver, which must end within its bound: exactly on the paused clock, within what a
    /// machine stands still on the real one.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(STOP_BOUND + PATIENT, self.task).await;
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
            let Some(value) = reading.value.as_ref().filter(|_| self.is_unwritten) else {
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

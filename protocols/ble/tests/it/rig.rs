//! A driver under test: started on a radio, its sweeps received and checked.

use crate::fake::Fake;
use protocols_ble::BleDriver;
use protocols_ble::advert::Advert;
use protocols_ble::config::{
    Access, Adapter, Address, AdvertPoint, Adverts, Bus, Device, Field, Format, Gatt, GattPoint,
    Identity, Kind, Uuid, WriteMode,
};
use protocols_ble::radio::Radio;
use protocols_driver::{
    BusStatus, CancellationToken, Driver as _, DriverContext, LinkState, OrderDesk, STOP_BOUND,
    Sweep, WriteError, Written, order_queue,
};
use protocols_model::{
    Clock, DeviceId, Instant, PointId, PointKey, Quality, Reason, Timestamp, Value,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Nothing that is well takes so long.
const DEADLINE: Duration = Duration::from_mins(3);

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Both clocks are tokio's, so that a paused clock is one for the driver too.
#[derive(Debug)]
pub(crate) struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus(self.0.elapsed())
    }

    fn monotonic(&self) -> Instant {
        Instant(self.0.elapsed())
    }
}

/// The `number`-th sensor of a test.
pub(crate) const fn address(number: u8) -> Address {
    Address([0xc0, 0xff, 0xee, 0, 0, number])
}

/// An advertising sensor with points for these fields, expected every 10 s.
pub(crate) fn sensor(number: u8, format: Format, fields: &[&str]) -> Device {
    let point = |field: &&str| AdvertPoint {
        key: PointKey(0),
        id: PointId::try_new(field).unwrap(),
        field: (*field).to_owned(),
        range: None,
    };
    Device {
        id: DeviceId::try_new(&format!("sensor-{number}")).unwrap(),
        identity: Identity::Address(address(number)),
        kind: Kind::Adverts(Adverts {
            format,
            key: None,
            interval: secs(10),
            points: fields.iter().map(point).collect(),
        }),
    }
}

/// A point of a connected device.
pub(crate) fn point(id: &str, characteristic: u16, value: &str, access: Access) -> GattPoint {
    GattPoint {
        key: PointKey(0),
        id: PointId::try_new(id).unwrap(),
        characteristic: Uuid::short(characteristic),
        service: None,
        access,
        value: value.parse::<Field>().unwrap(),
        range: None,
        write: Some(WriteMode::WithResponse),
        verify: false,
    }
}

pub(crate) fn peripheral(number: u8, points: Vec<GattPoint>) -> Device {
    Device {
        id: DeviceId::try_new(&format!("sensor-{number}")).unwrap(),
        identity: Identity::Address(address(number)),
        kind: Kind::Gatt(Gatt {
            points,
            ..Gatt::default()
        }),
    }
}

pub(crate) fn bus(devices: Vec<Device>) -> Bus {
    Bus::new("radio", Adapter::default(), devices)
}

/// An advertisement of BTHome objects, in hexadecimal.
pub(crate) fn bthome(number: u8, objects: &str) -> Advert {
    let mut advert = Advert::new(address(number));
    advert.rssi = Some(-60);
    let digits: Vec<char> = objects.chars().filter(|c| *c != ' ').collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let mut data = vec![0x40];
    data.extend(digits.chunks(2).map(byte));
    advert.service_data = vec![(Uuid::short(0xfcd2), data)];
    advert
}

pub(crate) struct Rig {
    pub(crate) desk: OrderDesk,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: Arc<BusStatus>,
    pub(crate) stop: CancellationToken,
    pub(crate) told: Vec<String>,
    sweeps: Option<mpsc::Receiver<Sweep>>,
    task: JoinHandle<()>,
}

impl Rig {
    /// On a radio in memory.
    pub(crate) fn fake(bus: Bus) -> (Self, Fake) {
        let fake = Fake::default();
        (Self::start(bus, Arc::new(fake.clone()), 64), fake)
    }

    /// The points get the keys 0, 1, 2 … in the order of the configuration.
    pub(crate) fn start(mut bus: Bus, radio: Arc<dyn Radio>, room: usize) -> Self {
        let mut key = 0..;
        for device in &mut bus.devices {
            match &mut device.kind {
                Kind::Adverts(adverts) => {
                    for point in &mut adverts.points {
                        point.key = PointKey(key.next().unwrap());
                    }
                }
                Kind::Gatt(gatt) => {
                    for point in &mut gatt.points {
                        point.key = PointKey(key.next().unwrap());
                    }
                }
            }
        }
        let driver = BleDriver::with_radio(bus, radio).unwrap();
        let status = driver.status();
        let (sender, sweeps) = mpsc::channel(room);
        let stop = CancellationToken::new();
        let (desk, orders) = order_queue();
        let clock: Arc<dyn Clock> = Arc::new(TokioClock(tokio::time::Instant::now()));
        let ctx = DriverContext {
            sweeps: sender,
            stop: stop.clone(),
            clock: Arc::clone(&clock),
            orders,
        };
        Self {
            desk,
            clock,
            status,
            stop,
            told: Vec::new(),
            sweeps: Some(sweeps),
            task: tokio::spawn(Box::new(driver).run(ctx)),
        }
    }

    /// The next sweep.
    pub(crate) async fn next(&mut self) -> Sweep {
        self.within(DEADLINE).await.expect("no sweep in time")
    }

    /// The next sweep, if it comes in this span.
    pub(crate) async fn within(&mut self, span: Duration) -> Option<Sweep> {
        let sweeps = self.sweeps.as_mut().expect("sweeps are taken");
        let sweep = tokio::time::timeout(span, sweeps.recv()).await.ok()?;
        let sweep = sweep.expect("the driver ended");
        assert!(!sweep.readings.is_empty());
        let first = sweep.readings[0].sampled;
        for reading in &sweep.readings {
            assert_eq!(reading.sampled, first);
            assert_eq!(reading.value.is_none(), reading.quality.is_bad());
        }
        Some(sweep)
    }

    /// All sweeps of this span.
    pub(crate) async fn during(&mut self, span: Duration) -> Vec<Sweep> {
        let end = tokio::time::Instant::now() + span;
        let mut all = Vec::new();
        while let Some(left) = end.checked_duration_since(tokio::time::Instant::now())
            && !left.is_zero()
            && let Some(sweep) = self.within(left).await
        {
            all.push(sweep);
        }
        all
    }

    /// Sweeps until one fulfils the condition; that one.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Sweep) -> bool) -> Sweep {
        let end = tokio::time::Instant::now() + DEADLINE;
        while tokio::time::Instant::now() < end {
            if let Some(sweep) = self.within(secs(1)).await
                && wanted(&sweep)
            {
                return sweep;
            }
        }
        panic!("waited in vain for {what}; told: {:?}", self.events());
    }

    /// Waits until a condition holds, taking sweeps meanwhile.
    pub(crate) async fn eventually(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while tokio::time::Instant::now() < end {
            if holds(self) {
                return;
            }
            if self.sweeps.is_some() {
                self.within(Duration::from_millis(20)).await;
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        panic!("waited in vain until {what}; told: {:?}", self.events());
    }

    /// Everything that was told so far.
    pub(crate) fn events(&mut self) -> &[String] {
        let told = self.status.take_events();
        let texts = told.events.into_iter();
        self.told
            .extend(texts.map(|event| format!("{}: {}", event.subject, event.text)));
        &self.told
    }

    pub(crate) fn has_told(&mut self, text: &str) -> bool {
        self.events().iter().any(|told| told.contains(text))
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let values = self.status.counters.values();
        values.iter().find(|v| v.name == name).unwrap().value
    }

    pub(crate) fn link(&self, index: usize) -> LinkState {
        self.status.links()[index].state
    }

    /// Nobody takes sweeps any more.
    pub(crate) fn hang_up(&mut self) {
        self.sweeps = None;
    }

    /// Places an order that may begin within a minute.
    pub(crate) fn order(
        &self,
        point: u32,
        value: Value,
    ) -> JoinHandle<Result<Written, WriteError>> {
        let desk = self.desk.clone();
        let before = self.clock.monotonic().plus(secs(60));
        tokio::spawn(async move { desk.place(PointKey(point), value, before).await })
    }

    /// Waits for the driver to end, which it does within its bound.
    pub(crate) async fn ended(self) {
        let ended = tokio::time::timeout(STOP_BOUND, self.task).await;
        ended
            .expect("the driver did not stop")
            .expect("the driver panicked");
    }

    /// Stops the driver; it has seconds in real time too.
    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended
            .expect("the driver did not stop")
            .expect("the driver panicked");
    }
}

/// The good values of a sweep, by point.
pub(crate) fn values(sweep: &Sweep) -> Vec<(u32, Value)> {
    let good = sweep.readings.iter();
    good.filter_map(|r| Some((r.point.0, r.value.clone()?)))
        .collect()
}

pub(crate) fn is_bad(sweep: &Sweep, reason: Reason) -> bool {
    let mut readings = sweep.readings.iter();
    readings.all(|r| r.quality == Quality::Bad(reason))
}

pub(crate) fn is_good(sweep: &Sweep) -> bool {
    sweep.readings.iter().all(|r| r.quality == Quality::Good)
}

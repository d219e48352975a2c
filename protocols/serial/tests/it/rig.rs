//! A driver on a port in memory, on tokio's paused clock. The test is the device.

use protocols_driver::{
    BusStatus, CancellationToken, Driver as _, DriverContext, LinkState, OrderDesk, Sweep,
    order_queue,
};
use protocols_line::PortConfig;
use protocols_model::{
    Clock, DeviceId, Instant, PointId, PointKey, Quality, Reason, Timestamp, Value,
};
use protocols_serial::config::{Bus, Bytes, Device, Message, Point, ValueRules};
use protocols_serial::{Opener, SerialDriver, Wire};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Notify, mpsc};

/// Tokio's clock, paused or not.
#[derive(Debug)]
pub(crate) struct TokioClock(tokio::time::Instant);

impl TokioClock {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus(self.0.elapsed())
    }

    fn monotonic(&self) -> Instant {
        Instant(self.0.elapsed())
    }
}

/// What stands at the path of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plug {
    In,
    Out,
    Held,
}

/// The port of a driver in memory; each opening gives the device a new end.
#[derive(Debug)]
pub(crate) struct Ports {
    plug: Mutex<Plug>,
    changed: Notify,
    ends: mpsc::Sender<DuplexStream>,
}

impl Ports {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<DuplexStream>) {
        let (ends, opened) = mpsc::channel(16);
        let plug = Mutex::new(Plug::In);
        let changed = Notify::new();
        (
            Arc::new(Self {
                plug,
                changed,
                ends,
            }),
            opened,
        )
    }

    pub(crate) fn set(&self, plug: Plug) {
        *self.plug.lock().unwrap() = plug;
        self.changed.notify_waiters();
    }
}

#[async_trait::async_trait]
impl Opener for Ports {
    async fn open(&self, port: &PortConfig) -> io::Result<Box<dyn Wire>> {
        let path = port.path.display();
        match *self.plug.lock().unwrap() {
            Plug::In => {}
            Plug::Out => {
                let text = format!("{path}: no such port; is the adapter plugged in?");
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            Plug::Held => {
                let text = format!("{path}: held by minicom (process 4711)");
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
        }
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        self.ends.try_send(theirs).map_err(io::Error::other)?;
        Ok(Box::new(ours))
    }

    async fn appeared(&self, _: &PortConfig) {
        loop {
            let changed = self.changed.notified();
            if *self.plug.lock().unwrap() != Plug::Out {
                return;
            }
            changed.await;
        }
    }
}

/// A driver at work.
pub(crate) struct Rig {
    pub(crate) ports: Arc<Ports>,
    pub(crate) opened: mpsc::Receiver<DuplexStream>,
    pub(crate) sweeps: mpsc::Receiver<Sweep>,
    pub(crate) status: Arc<BusStatus>,
    pub(crate) desk: OrderDesk,
    pub(crate) stop: CancellationToken,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

/// What a reading says, in short.
pub(crate) type Said = Result<Value, Quality>;

pub(crate) const fn bad(reason: Reason) -> Said {
    Err(Quality::Bad(reason))
}

pub(crate) const fn good(number: f64) -> Said {
    Ok(Value::F64(number))
}

impl Rig {
    pub(crate) fn new(bus: Bus) -> Self {
        Self::with_room(bus, 64)
    }

    pub(crate) fn with_room(bus: Bus, room: usize) -> Self {
        let (ports, opened) = Ports::new();
        let driver = SerialDriver::with_opener(bus, Arc::clone(&ports) as Arc<dyn Opener>).unwrap();
        let (sweeps, receiver) = mpsc::channel(room);
        let (desk, orders) = order_queue();
        let clock = Arc::new(TokioClock::start());
        let (stop, status) = (CancellationToken::new(), driver.status());
        let ctx = DriverContext {
            sweeps,
            stop: stop.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            orders,
        };
        Self {
            ports,
            opened,
            sweeps: receiver,
            status,
            desk,
            stop,
            clock,
            task: tokio::spawn(Box::new(driver).run(ctx)),
        }
    }

    /// The device's end of the port, once the driver has opened it.
    pub(crate) async fn port(&mut self) -> DuplexStream {
        self.opened.recv().await.expect("the driver lives")
    }

    /// What the next sweep says of its points, by their order.
    pub(crate) async fn next(&mut self) -> Vec<Said> {
        let sweep = self.sweeps.recv().await.expect("the driver lives");
        let said = sweep.readings.into_iter();
        said.map(|reading| reading.value.ok_or(reading.quality))
            .collect()
    }

    /// What the next sweep says of its only point.
    pub(crate) async fn one(&mut self) -> Said {
        let mut said = self.next().await;
        assert_eq!(said.len(), 1);
        said.remove(0)
    }

    /// Reads on until this is said; what was said before.
    pub(crate) async fn eventually(&mut self, said: Said) -> Vec<Said> {
        let mut before = Vec::new();
        loop {
            let next = self.one().await;
            if next == said {
                return before;
            }
            before.push(next);
            assert!(before.len() < 100, "{before:?}");
        }
    }

    /// No sweep comes for so long.
    pub(crate) async fn nothing_for(&mut self, span: Duration) {
        let sweep = tokio::time::timeout(span, self.sweeps.recv()).await;
        assert!(sweep.is_err(), "{sweep:?}");
    }

    pub(crate) fn link(&self) -> LinkState {
        self.status.links()[0].state
    }

    pub(crate) fn told(&self) -> String {
        let told = self.status.take_events().events.into_iter();
        told.map(|event| event.text).collect::<Vec<_>>().join("\n")
    }

    /// Places an order; what became of it.
    pub(crate) fn place(
        &self,
        point: u32,
        value: Value,
    ) -> tokio::task::JoinHandle<Result<protocols_driver::Written, protocols_driver::WriteError>>
    {
        let desk = self.desk.clone();
        let before = self.clock.monotonic().plus(Duration::from_secs(60));
        tokio::spawn(async move { desk.place(PointKey(point), value, before).await })
    }
}

/// The bytes that come until `end` is complete.
pub(crate) async fn until(port: &mut DuplexStream, end: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    while !got.ends_with(end) {
        got.push(port.read_u8().await.expect("the driver's end is open"));
    }
    got
}

pub(crate) async fn say(port: &mut DuplexStream, bytes: &[u8]) {
    port.write_all(bytes)
        .await
        .expect("the driver's end is open");
}

pub(crate) async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub(crate) fn bus(frame: &str, check: &str) -> Bus {
    let port = PortConfig::new("/dev/scale", "9600 8N1".parse().unwrap());
    let mut bus = Bus::new("line", port, frame.parse().unwrap());
    bus.checksum = (!check.is_empty()).then(|| check.parse().unwrap());
    bus
}

pub(crate) fn device(id: &str) -> Device {
    Device::new(DeviceId::try_new(id).unwrap())
}

/// Adds a point and gives its place.
pub(crate) fn point<'a>(
    device: &'a mut Device,
    key: u32,
    ask: Option<&str>,
    period: u64,
    parse: &str,
    field: Option<&str>,
) -> &'a mut Point {
    let message = Message {
        ask: ask.map(|ask| ask.parse().unwrap()),
        period: Duration::from_millis(period),
        parser: parse.parse().unwrap(),
        starts: Bytes::default(),
        length: None,
    };
    let field = message.parser.field(field).unwrap();
    let message = device.message(message);
    device.points.push(Point {
        key: PointKey(key),
        id: PointId::try_new(&format!("p{key}")).unwrap(),
        read: Some((message, field)),
        value: ValueRules::default(),
        write: None,
    });
    device.points.last_mut().unwrap()
}

pub(crate) const WEIGHT: &str = r"regex:ST,(?<w>[+-] *[0-9]+\.[0-9]{2})kg";

/// A scale that sends lines by itself, at least every two seconds.
pub(crate) fn listening() -> Bus {
    let mut bus = bus("line", "");
    let mut scale = device("scale");
    point(&mut scale, 0, None, 2000, WEIGHT, Some("w"));
    bus.devices.push(scale);
    bus
}

/// An instrument asked every second, with a time-out of 400 ms.
pub(crate) fn asked() -> Bus {
    let mut bus = bus("line", "");
    let mut meter = device("meter");
    meter.timeout = Duration::from_millis(400);
    point(&mut meter, 0, Some("V?\\n"), 1000, "text", None);
    bus.devices.push(meter);
    bus
}

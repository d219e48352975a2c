//! Reads one number from a file: how Linux shows a temperature (`/sys/class/hwmon/hwmon0/temp1_input`), a
//! voltage or a counter.

use protocols_driver::{
    BusStatus, Driver, DriverContext, LinkState, Next, Stopped, Sweep, WriteError,
};
use protocols_model::{DeviceId, PointKey, Reading, Reason, Value};
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};

/// No number is longer, in bytes.
const MAX_TEXT: u64 = 64;

/// What to read.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) bus: Arc<str>,
    pub(crate) device: DeviceId,
    pub(crate) point: PointKey,
    pub(crate) path: PathBuf,
    /// How often.
    pub(crate) period: Duration,
    /// A file that needs longer is as good as silent.
    pub(crate) timeout: Duration,
    /// From the number to the value: 0.001 for millidegrees.
    pub(crate) scale: f64,
}

/// The driver of one file.
pub(crate) struct FileDriver {
    config: Config,
    status: Arc<BusStatus>,
    /// A read that did not end in time. There is never a second one beside it.
    hung: Option<JoinHandle<Result<f64, Reason>>>,
}

impl FileDriver {
    pub(crate) fn new(config: Config) -> Self {
        let devices = [config.device.clone()];
        Self {
            status: Arc::new(BusStatus::new(Arc::clone(&config.bus), devices)),
            config,
            hung: None,
        }
    }
}

#[async_trait::async_trait]
impl Driver for FileDriver {
    fn name(&self) -> &str {
        &self.config.bus
    }

    fn status(&self) -> Arc<BusStatus> {
        Arc::clone(&self.status)
    }

    async fn run(mut self: Box<Self>, ctx: DriverContext) {
        let Stopped = self.polls(&ctx).await;
    }
}

impl FileDriver {
    async fn polls(&mut self, ctx: &DriverContext) -> Stopped {
        let mut due = ctx.clock.monotonic();
        loop {
            // Nothing is due: wait for it, and answer orders meanwhile.
            let pause = due.since(ctx.clock.monotonic());
            tokio::select! {
                biased;
                () = ctx.stop.cancelled() => return Stopped,
                order = ctx.orders.next() => {
                    order.answer(Err(WriteError::ReadOnly));
                    continue;
                }
                () = tokio::time::sleep(pause) => {}
            }
            // Room first, question second.
            let room = match ctx.turn().await {
                Err(stopped) => return stopped,
                Ok(Next::Room(room)) => room,
                Ok(Next::Order(order)) => {
                    order.answer(Err(WriteError::ReadOnly));
                    continue;
                }
            };
            let Some(answer) = ctx.stop.run_until_cancelled(self.ask()).await else {
                return Stopped;
            };
            // First the state, then the reading: who sees the reading sees the state it means.
            let at = ctx.clock.wall();
            let state = match answer {
                Ok(_) | Err(Reason::BadAnswer | Reason::DeviceError) => LinkState::Up,
                Err(reason) => LinkState::Down(reason),
            };
            self.status.set_link(0, state, at);
            self.status.counters.readings.inc();
            let point = self.config.point;
            room.send(Sweep {
                bus: Arc::clone(&self.config.bus),
                device: self.config.device.clone(),
                taken: ctx.clock.monotonic(),
                readings: vec![match answer {
                    Ok(value) => Reading::good(point, at, Value::F64(value)),
                    Err(reason) => Reading::bad(point, at, reason),
                }],
            });
            // The next poll lies on the grid of the period. What was passed over is missed, not queued.
            due = due.plus(self.config.period);
            while due <= ctx.clock.monotonic() {
                due = due.plus(self.config.period);
                self.status.counters.missed_polls.inc();
            }
        }
    }

    /// The value, or why there is none.
    async fn ask(&mut self) -> Result<f64, Reason> {
        let still = |read: JoinHandle<_>| (!read.is_finished()).then_some(read);
        self.hung = self.hung.take().and_then(still);
        if self.hung.is_some() {
            return Err(Reason::Timeout);
        }
        self.status.counters.requests.inc();
        let (path, scale) = (self.config.path.clone(), self.config.scale);
        // Reading a file may wait for a sensor or for ever: not on the thread of all drivers.
        let mut read = spawn_blocking(move || read(&path).map(|number| number * scale));
        match tokio::time::timeout(self.config.timeout, &mut read).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_cancelled)) => Err(Reason::LinkDown),
            Err(_elapsed) => {
                self.hung = Some(read);
                self.status.counters.timeouts.inc();
                Err(Reason::Timeout)
            }
        }
    }
}

/// The number in the file. The kernel ends it with a line feed: without one it is not complete.
fn read(path: &PathBuf) -> Result<f64, Reason> {
    let mut text = String::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Reason::LinkDown),
        Err(error) if error.kind() == ErrorKind::InvalidData => return Err(Reason::BadAnswer),
        Err(_) => return Err(Reason::DeviceError),
    }
    let number = text.strip_suffix('\n').and_then(|text| text.parse().ok());
    number
        .filter(|number: &f64| number.is_finite())
        .ok_or(Reason::BadAnswer)
}

//! Our driver on the measured line: asked for every register far more often than any line can carry, so
//! that the line is never idle; good readings are counted from sweep to sweep.
//!
//! It runs on one thread with its runtime, as in the gateway. What it hands over is checked: a good
//! reading with another register's value ends the run.

use super::units::{Units, registers, value};
use protocols_driver::{
    BusStatus, CancellationToken, Driver as _, DriverContext, LinkState, Orders, Sweep,
};
use protocols_modbus::ModbusDriver;
use protocols_modbus::config::{
    Bus, Device, Limits, LineSettings, Order, Point, Quirks, RawType, Retry, Scale, Transport,
};
use protocols_model::{DeviceId, PointId, PointKey, SystemClock, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// More often than any line can: it is never idle.
const PERIOD: Duration = Duration::from_millis(10);
/// Sweeps that may wait; the gateway has as many.
const SWEEPS: usize = 64;
/// Time to learn every unit's limits, once in its life.
const WARM: Duration = Duration::from_secs(5);
/// When all living units must have been found, and all dead ones.
const FOUND_BY: Duration = Duration::from_secs(90);

/// How the units are asked, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// What is counted: at least so long, from when the driver knows who lives.
    pub span: Duration,
    /// Count from one probe of a dead unit to a later one: what probes cost is in the result as often as
    /// in the driver's life, neither more nor less by luck.
    pub by_probes: bool,
}

/// Good readings a second.
pub(crate) fn read(
    link: &Path,
    line: &LineSettings,
    units: &Units,
    terms: Terms,
) -> anyhow::Result<f64> {
    let bus = Bus {
        name: "line".into(),
        transport: Transport::Rtu {
            path: link.to_owned(),
            line: *line,
            rs485: None,
        },
        gap: Duration::ZERO,
        devices: (1..=units.living + units.dead)
            .map(|unit| device(unit, terms.timeout))
            .collect::<anyhow::Result<_>>()?,
    };
    let driver = ModbusDriver::new(bus).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let status = driver.status();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (sender, mut sweeps) = mpsc::channel(SWEEPS);
        let stop = CancellationToken::new();
        let ctx = DriverContext {
            sweeps: sender,
            stop: stop.clone(),
            clock: Arc::new(SystemClock::start()),
            orders: Orders::none(),
        };
        let task = tokio::spawn(Box::new(driver).run(ctx));
        let counted = count(&mut sweeps, &status, units, terms).await;
        stop.cancel();
        drop(sweeps);
        task.await?;
        counted
    })
}

async fn count(
    sweeps: &mut mpsc::Receiver<Sweep>,
    status: &BusStatus,
    units: &Units,
    terms: Terms,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut begun: Option<Instant> = None;
    let mut probes = status.counters.probes.get();
    let mut good = 0u32;
    while let Some(sweep) = sweeps.recv().await {
        let now = Instant::now();
        let right = right(&sweep)?;
        let probed = status.counters.probes.get();
        let at_a_cut = !terms.by_probes || probed > probes;
        probes = probed;
        let Some(since) = begun else {
            anyhow::ensure!(
                started.elapsed() < FOUND_BY,
                "after {FOUND_BY:?} the driver knows of its units only: {:?}",
                status.links()
            );
            let warm = started.elapsed() >= WARM && known(status, units);
            begun = (warm && at_a_cut).then_some(now);
            continue;
        };
        good += right;
        let took = now.duration_since(since);
        if took >= terms.span && at_a_cut {
            return Ok(f64::from(good) / took.as_secs_f64());
        }
    }
    anyhow::bail!("the driver ended by itself")
}

/// Whether the driver has found out who lives.
fn known(status: &BusStatus, units: &Units) -> bool {
    let links = status.links();
    (1..=units.living + units.dead)
        .zip(&links)
        .all(|(unit, link)| match link.state {
            LinkState::Unknown => false,
            LinkState::Up => unit <= units.living,
            LinkState::Down(_) => unit > units.living,
        })
}

/// Good readings of a sweep, all of which must be right.
fn right(sweep: &Sweep) -> anyhow::Result<u32> {
    let mut good = 0;
    for reading in sweep
        .readings
        .iter()
        .filter(|reading| reading.quality.is_good())
    {
        let [_, unit, high, low] = reading.point.0.to_be_bytes();
        let wanted = value(unit, u16::from_be_bytes([high, low]));
        anyhow::ensure!(
            reading.value == Some(Value::U64(wanted.into())),
            "unit {unit}: {:?} instead of {wanted}",
            reading.value
        );
        good += 1;
    }
    Ok(good)
}

fn device(unit: u8, timeout: Duration) -> anyhow::Result<Device> {
    let point = |register: u16| {
        let [high, low] = register.to_be_bytes();
        Ok(Point {
            key: PointKey(u32::from_be_bytes([0, unit, high, low])),
            id: PointId::try_new(&format!("r{register}"))?,
            address: format!("hr:{register}").parse()?,
            raw: RawType::U16,
            order: Order::BIG_ENDIAN,
            scale: Scale::IDENTITY,
            period: PERIOD,
            range: None,
            names: None,
            write: None,
        })
    };
    Ok(Device {
        id: DeviceId::try_new(&format!("unit-{unit}"))?,
        unit,
        timeout,
        retry: Retry::default(),
        limits: Limits::default(),
        quirks: Quirks::default(),
        points: registers().map(point).collect::<anyhow::Result<_>>()?,
    })
}

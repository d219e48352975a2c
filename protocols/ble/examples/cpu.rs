//! What hearing costs: 200 sensors at 1 Hz on a simulated BlueZ in another process, for a minute.
//!
//! ```text
//! cargo run --release -p protocols-ble --example cpu              # the driver
//! cargo run --release -p protocols-ble --example cpu -- btleplug  # btleplug's own stream of events
//! ```
//! Prints the share of one core that the listening process used; the simulator, the message bus and (on a
//! real gateway) bluetoothd are not in it. Needs `dbus-daemon`.

use protocols_ble::BleDriver;
use protocols_ble::config::{
    Adapter, Address, AdvertPoint, Adverts, Bus, Device, Format, Identity, Kind,
};
use protocols_bluez_sim as sim;
use protocols_driver::{CancellationToken, Driver as _, DriverContext, Orders};
use protocols_model::{DeviceId, PointId, PointKey, SystemClock};
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SENSORS: u8 = 200;
const WARM: Duration = Duration::from_secs(5);
const SPAN: Duration = Duration::from_secs(60);
/// Clock ticks a second in `/proc` (Linux, every architecture we run on).
const TICKS: f64 = 100.0;
const FIELDS: [&str; 3] = ["temperature", "humidity", "battery"];

type Failure = Box<dyn std::error::Error>;

const fn address(number: u8) -> [u8; 6] {
    [0xc0, 0xff, 0xee, 0, 0, number]
}

fn main() -> Result<(), Failure> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if std::env::var("LISTEN").is_ok() {
        return runtime.block_on(listen(&mode));
    }
    let bus = sim::Bus::start()?;
    runtime.block_on(async {
        let bluez = sim::BlueZ::start(bus.address(), sim::Setup::default()).await?;
        for number in 0..SENSORS {
            let said = move |turn: sim::Turn| {
                let [packet, ..] = turn.number.to_le_bytes();
                let objects = [0x40, 0, packet, 1, 97, 2, packet, 9, 3, number, 19];
                sim::Advert::service(sim::Uuid::short(0xfcd2), objects.to_vec())
            };
            let sensor = sim::Sensor::new(sim::Address(address(number)));
            bluez
                .add(sensor.advertising(Duration::from_secs(1), said))
                .await;
        }
        let listener = Command::new(std::env::current_exe()?)
            .arg(&mode)
            .env("LISTEN", "1")
            .env(sim::BUS_VARIABLE, bus.address())
            .spawn()?;
        let output = tokio::task::spawn_blocking(|| listener.wait_with_output());
        output.await??;
        Ok(())
    })
}

async fn listen(mode: &str) -> Result<(), Failure> {
    let heard = if mode == "btleplug" {
        tokio::spawn(async { events().await.unwrap_or(0) })
    } else {
        tokio::spawn(driver())
    };
    tokio::time::sleep(WARM).await;
    let (began, before) = (Instant::now(), used()?);
    tokio::time::sleep(SPAN).await;
    let share = (used()? - before) / began.elapsed().as_secs_f64();
    let heard = heard.await?;
    writeln!(
        std::io::stdout(),
        "{heard} heard, {:.2} % of a core",
        share * 100.0
    )?;
    Ok(())
}

/// CPU seconds of this process so far.
fn used() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let times = after.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.map(|ticks| ticks.parse().unwrap_or(0.0)).sum();
    Ok(ticks / TICKS)
}

/// Runs the driver until the measurement is over. How many sweeps it handed over.
async fn driver() -> u64 {
    let mut key = 0;
    let mut point = |field: &&str| {
        key += 1;
        AdvertPoint {
            key: PointKey(key),
            id: PointId::try_new(field).expect("an id"),
            field: (*field).to_owned(),
            range: None,
        }
    };
    let device = |number| Device {
        id: DeviceId::try_new(&format!("sensor-{number}")).expect("an id"),
        identity: Identity::Address(Address(address(number))),
        kind: Kind::Adverts(Adverts {
            format: Format::Bthome,
            key: None,
            interval: Adverts::INTERVAL,
            points: FIELDS.iter().map(&mut point).collect(),
        }),
    };
    let bus = Bus::new(
        "radio",
        Adapter::default(),
        (0..SENSORS).map(device).collect(),
    );
    let driver = Box::new(BleDriver::new(bus).expect("a sound bus"));
    let (sweeps, mut taken) = tokio::sync::mpsc::channel(64);
    let stop = CancellationToken::new();
    let ctx = DriverContext {
        sweeps,
        stop: stop.clone(),
        clock: Arc::new(SystemClock::start()),
        orders: Orders::none(),
    };
    let running = tokio::spawn(driver.run(ctx));
    let mut heard = 0;
    let end = tokio::time::Instant::now() + WARM + SPAN;
    while let Ok(Some(_sweep)) = tokio::time::timeout_at(end, taken.recv()).await {
        heard += 1;
    }
    stop.cancel();
    // Nothing more is asked of it.
    running.await.ok();
    heard
}

/// The same by btleplug alone. How many events there were.
async fn events() -> Result<u64, btleplug::Error> {
    use btleplug::api::{Central as _, Manager as _, ScanFilter};
    use futures::StreamExt as _;
    let manager = btleplug::platform::Manager::new().await?;
    let mut adapters = manager.adapters().await?;
    let Some(adapter) = adapters.pop() else {
        return Ok(0);
    };
    let mut events = adapter.events().await?;
    adapter.start_scan(ScanFilter::default()).await?;
    let mut heard = 0;
    let end = tokio::time::Instant::now() + WARM + SPAN;
    while let Ok(Some(_event)) = tokio::time::timeout_at(end, events.next()).await {
        heard += 1;
    }
    Ok(heard)
}

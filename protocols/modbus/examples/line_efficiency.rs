//! How much of a serial line the driver uses on this machine: eight living units and a dead one on a
//! line that keeps real time, asked as fast as it goes, against the readings that a master without any
//! loss would get.
//!
//! `cargo run --release -p protocols-modbus --example line_efficiency [seconds]`

use protocols_driver::{BusStatus, CancellationToken, Driver as _, DriverContext, Orders};
use protocols_modbus::ModbusDriver;
use protocols_modbus::config::{
    Bus, Device, Limits, LineSettings, Order, Point, Quirks, RawType, Retry, Scale, Transport,
};
use protocols_model::{DeviceId, PointId, PointKey, SystemClock};
use protocols_sim::line::Port;
use protocols_sim::modbus::{Carrier, LineTrouble, Reply, RtuLine, RtuOptions, Station};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const UNITS: u8 = 8;
/// Takes at most [`SHORT`] registers.
const LIMITED: u8 = 3;
const SHORT: u16 = 30;
/// Refuses to read what is not there.
const STRICT: u8 = 5;
const DEAD: u8 = 9;
/// Each unit has registers 0 to 39 and 46 to 59.
const POINTS: [std::ops::Range<u16>; 2] = [0..40, 46..60];

fn turnaround(unit: u8) -> Duration {
    Duration::from_micros(2000 + 18_000 * u64::from(unit - 1) / u64::from(UNITS - 1))
}

#[derive(Debug)]
struct Units;

impl Station for Units {
    fn ask(&self, unit: u8, pdu: &[u8]) -> Carrier {
        let [function, start_high, start_low, count_high, count_low] = *pdu else {
            return Carrier::Silence;
        };
        if unit == DEAD {
            return Carrier::Silence;
        }
        let start = u16::from_be_bytes([start_high, start_low]);
        let count = u16::from_be_bytes([count_high, count_low]);
        let hole = start < 46 && start + count > 40;
        let refused = unit == LIMITED && count > SHORT || unit == STRICT && hole;
        let answer = if refused {
            vec![function | 0x80, if unit == STRICT { 2 } else { 3 }]
        } else {
            let bytes = u8::try_from(2 * count).unwrap_or(u8::MAX);
            let mut answer = vec![function, bytes];
            answer.resize(2 + usize::from(bytes), 0);
            answer
        };
        Carrier::Answer(Reply::good(unit, turnaround(unit), answer))
    }

    #[expect(clippy::print_stderr, reason = "an example says what happens")]
    fn trouble(&self, trouble: LineTrouble) {
        eprintln!("{trouble}");
    }
}

fn device(unit: u8) -> Device {
    let registers = POINTS.into_iter().flatten();
    let points = registers.map(|register| Point {
        key: PointKey(u32::from(unit) * 1000 + u32::from(register)),
        id: PointId::try_new(&format!("r{register}")).expect("invariant: a valid id"),
        address: format!("hr:{register}")
            .parse()
            .expect("invariant: a valid address"),
        raw: RawType::U16,
        order: Order::BIG_ENDIAN,
        scale: Scale::IDENTITY,
        // More than any line can do: it is never idle.
        period: Duration::from_millis(10),
        range: None,
        names: None,
        write: None,
    });
    Device {
        id: DeviceId::try_new(&format!("unit-{unit}")).expect("invariant: a valid id"),
        unit,
        timeout: Duration::from_millis(200),
        retry: Retry::default(),
        limits: Limits::default(),
        quirks: Quirks::default(),
        points: points.collect(),
    }
}

/// Readings a second of a master that loses nothing and knows every device.
fn ideal(line: LineSettings) -> f64 {
    let gap = line.frame_gap();
    let request =
        |unit, count: u32| line.characters(8 + 5 + 2 * count) + turnaround(unit).max(gap) + gap;
    let cycle: Duration = (1..=UNITS)
        .map(|unit| {
            let apart = request(unit, 40) + request(unit, 14);
            match unit {
                LIMITED => request(unit, 30) + request(unit, 30),
                STRICT => apart,
                _ => apart.min(request(unit, 60)),
            }
        })
        .sum();
    f64::from(UNITS) * 54.0 / cycle.as_secs_f64()
}

/// Good readings of a run, and the time it took.
async fn run(
    link: &std::path::Path,
    line: LineSettings,
    span: Duration,
) -> (u64, Duration, Arc<BusStatus>) {
    let bus = Bus {
        name: "line".into(),
        transport: Transport::Rtu {
            path: link.to_owned(),
            line,
            rs485: None,
        },
        gap: Duration::ZERO,
        devices: (1..=UNITS).chain([DEAD]).map(device).collect(),
    };
    let driver = Box::new(ModbusDriver::new(bus).expect("invariant: a good configuration"));
    let status = driver.status();
    let (sender, mut sweeps) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let ctx = DriverContext {
        sweeps: sender,
        stop: stop.clone(),
        clock: Arc::new(SystemClock::start()),
        orders: Orders::none(),
    };
    let task = tokio::spawn(driver.run(ctx));
    // The search for limits and for the dead one is made once in a device's life.
    let warm = Instant::now() + Duration::from_secs(5);
    let (mut begun, mut good) = (Instant::now(), 0);
    while let Some(sweep) = sweeps.recv().await {
        let now = Instant::now();
        if now < warm {
            (begun, good) = (now, 0);
        } else {
            let fine = sweep.readings.iter().filter(|r| r.quality.is_good());
            good += fine.count() as u64;
        }
        if now.duration_since(begun) >= span {
            break;
        }
    }
    let took = begun.elapsed();
    stop.cancel();
    drop(sweeps);
    drop(task.await);
    (good, took, status)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example says what it found")]
async fn main() -> std::io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let span = Duration::from_secs(seconds.unwrap_or(20));
    let folder = std::env::temp_dir().join(format!("line-efficiency-{}", std::process::id()));
    println!("baud     readings/s    ideal   share   line late p50    p99");
    for text in ["9600 8E1", "19200 8E1", "115200 8E1"] {
        let line: LineSettings = text.parse().expect("invariant: a good line");
        let sim =
            protocols_sim::line::LineSettings::new(line.baud, protocols_sim::line::Parity::Even, 1);
        let options = RtuOptions {
            line: sim,
            strict: true,
        };
        let core = RtuLine::new(options, Arc::new(Units));
        let port = Port::start(&folder, Box::new(core), None)?;
        let (good, took, status) = run(&folder, line, span).await;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let rate = good as f64 / took.as_secs_f64();
        let accuracy = port.state().accuracy;
        println!(
            "{:<8} {rate:>10.1} {:>8.1} {:>6.1}% {:>14.0?} {:>6.0?}",
            line.baud,
            ideal(line),
            100.0 * rate / ideal(line),
            accuracy.quantile(0.5),
            accuracy.quantile(0.99),
        );
        for counter in status.counters.values().iter().filter(|c| c.value > 0) {
            println!("    {:<14} {}", counter.name, counter.value);
        }
    }
    Ok(())
}

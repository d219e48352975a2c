//! How exact the simulated line is on this machine: an ideal client asks one unit without a pause, and
//! every transaction is compared with what request, turnaround, answer and gap take on the line.
//!
//! `cargo run --release -p protocols-sim --example line_accuracy`

use protocols_sim::line::{LineSettings, Parity, Port};
use protocols_sim::modbus::{Carrier, LineTrouble, Reply, RtuLine, RtuOptions, Station, crc16};
use rustix::event::{Timespec, poll};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TURNAROUND: Duration = Duration::from_millis(2);
const REGISTERS: u8 = 20;
const RUN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Unit;

impl Station for Unit {
    fn ask(&self, unit: u8, _pdu: &[u8]) -> Carrier {
        let mut pdu = vec![3, 2 * REGISTERS];
        pdu.resize(2 + 2 * usize::from(REGISTERS), 0);
        Carrier::Answer(Reply::good(unit, TURNAROUND, pdu))
    }

    #[expect(clippy::print_stderr, reason = "an example says what happens")]
    fn trouble(&self, trouble: LineTrouble) {
        eprintln!("{trouble}");
    }
}

#[expect(clippy::print_stdout, reason = "an example says what it found")]
fn main() -> std::io::Result<()> {
    let _kernel_without = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    let folder = std::env::temp_dir().join(format!("line-accuracy-{}", std::process::id()));
    println!("baud     transactions/s   ideal    share   late p50    p99     worst");
    for baud in [9600, 19_200, 115_200] {
        let line = LineSettings::new(baud, Parity::Even, 1);
        let options = RtuOptions { line, strict: true };
        let core = RtuLine::new(options, Arc::new(Unit));
        let port = Port::start(&folder, Box::new(core), None)?;
        let mut client = File::options().read(true).write(true).open(&folder)?;
        // The line looks every 10 ms whether it was opened.
        wait(Duration::from_millis(100))?;
        let mut request = vec![1, 3, 0, 0, 0, REGISTERS];
        request.extend(crc16(&request));
        let length = 5 + 2 * usize::from(REGISTERS);
        let (begun, mut done) = (Instant::now(), 0u32);
        while begun.elapsed() < RUN {
            client.write_all(&request)?;
            let mut answer = vec![0; length];
            client.read_exact(&mut answer)?;
            wait(line.t3_5())?;
            done += 1;
        }
        let rate = f64::from(done) / begun.elapsed().as_secs_f64();
        let characters = line.characters((request.len() + length) as u64);
        let ideal = 1.0 / (characters + TURNAROUND.max(line.t3_5()) + line.t3_5()).as_secs_f64();
        let accuracy = port.state().accuracy;
        println!(
            "{baud:<8} {rate:>14.2} {ideal:>7.2} {:>7.2}% {:>10.0?} {:>6.0?} {:>9.0?}",
            100.0 * rate / ideal,
            accuracy.quantile(0.5),
            accuracy.quantile(0.99),
            accuracy.worst(),
        );
    }
    Ok(())
}

/// Waits by a timer of the kernel.
fn wait(time: Duration) -> std::io::Result<()> {
    let span = Timespec::try_from(time).map_err(std::io::Error::other)?;
    poll(&mut [], Some(&span))?;
    Ok(())
}

//! The ideal master, driven: a thread that knows the units, asks nothing in vain, and sends the next
//! request when the line has been silent for a frame gap after the last answer.
//!
//! It shares the line's simulator, its machine and its moods with what it is the measure of. What it
//! loses to the machine a driver may lose too; what its plan alone would take is computed beside it.

use super::units::{Request, value};
use anyhow::Context as _;
use protocols_modbus::config::LineSettings;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// A unit that has not answered by then ends the measurement.
const PATIENCE: Duration = Duration::from_secs(10);
/// The line notices an opening within 10 ms; nothing is asked before.
const SETTLE: Duration = Duration::from_millis(100);

/// Cycles a second that `requests` are made in, on the line behind `link`, for about `span`.
pub(crate) fn drive(
    link: &Path,
    line: &LineSettings,
    requests: &[Request],
    span: Duration,
) -> anyhow::Result<f64> {
    let mut port = File::options().read(true).write(true).open(link)?;
    let mut mode = tcgetattr(&port)?;
    mode.make_raw();
    tcsetattr(&port, OptionalActions::Now, &mode)?;
    // The kernel's slack of 50 µs is not the line's; one without the call stays at that.
    let _kernel_without = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    rest(SETTLE);
    let begun = Instant::now();
    let mut cycles = 0u32;
    while begun.elapsed() < span {
        for request in requests {
            ask(&mut port, *request)?;
            rest(line.frame_gap());
        }
        cycles += 1;
    }
    Ok(f64::from(cycles) / begun.elapsed().as_secs_f64())
}

/// Waits, to the kernel's best; a signal may cut it short, which this process does not get.
fn rest(span: Duration) {
    let span = Timespec::try_from(span).unwrap_or_default();
    let _whole = rustix::thread::nanosleep(&span);
}

/// One request and its answer, which must be whole and right.
fn ask(port: &mut File, request: Request) -> anyhow::Result<()> {
    let Request { unit, start, count } = request;
    let [start_high, start_low] = start.to_be_bytes();
    let [count_high, count_low] = count.to_be_bytes();
    port.write_all(&summed(vec![
        unit, 3, start_high, start_low, count_high, count_low,
    ]))?;
    let words = (start..start + count).flat_map(|register| value(unit, register).to_be_bytes());
    let head = [unit, 3, u8::try_from(2 * count)?];
    let wanted = summed(head.into_iter().chain(words).collect());
    let mut got: Vec<u8> = Vec::with_capacity(wanted.len());
    let deadline = Instant::now() + PATIENCE;
    while got.len() < wanted.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut waited = [PollFd::new(&*port, PollFlags::IN)];
        let ready = poll(&mut waited, Some(&Timespec::try_from(left)?))?;
        anyhow::ensure!(ready > 0, "unit {unit} did not answer the ideal master");
        let mut bytes = [0u8; 256];
        let read = port.read(&mut bytes)?;
        got.extend(bytes.get(..read).context("more than there was room for")?);
    }
    anyhow::ensure!(got == wanted, "unit {unit} gave {got:02x?} for {request:?}");
    Ok(())
}

/// The frame with its checksum, low byte first.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let sum = protocols_sim::modbus::crc16(&frame);
    frame.extend_from_slice(&sum);
    frame
}

//! `status`: what the gateway is doing, at a glance; without network and without a valid
//! configuration.
//!
//! Asks the local endpoint of a running gateway; where none answers, tells what can be found without:
//! the configuration's problems, what the state directory holds, how the gateway looked when it
//! stopped.

use crate::cli::{Format, StatusArgs};
use crate::console::{colour_out, say};
use crate::exit::Exit;
use crate::gateway::{ADDRESS_FILE, LAST_REPORT_FILE};
use crate::snapshot::Report;
use crate::{last_good, machine};
use anyhow::Context;
use gateway_config::units::show_duration;
use gateway_config::{Loaded, Options, Severity, load};
use std::fmt::{self, Write as _};
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The endpoint is on this machine: it answers at once or not at all.
const ANSWER: Duration = Duration::from_secs(3);
/// Longest answer: a few hundred bytes a device.
const MAX_ANSWER: u64 = 16 << 20;

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let options = Options {
        unknown_keys: Severity::Warning,
        memory: machine::memory_limit(),
    };
    let loaded = load(&args.config, options);
    let state_dir = args
        .state_dir
        .clone()
        .unwrap_or_else(|| loaded.state_dir.clone());
    let running = ask(&state_dir);
    let healthy = running.as_ref().is_ok_and(|report| report.health().ok);
    match (args.format, &running) {
        (Format::Json, Ok(report)) => say(format_args!("{}\n", serde_json::to_string(report)?)),
        (Format::Json, Err(why)) => {
            let problems: Vec<_> = loaded.problems.iter().map(|p| p.report()).collect();
            let found = Found::look(&state_dir, &loaded);
            say(format_args!(
                "{}\n",
                serde_json::json!({
                    "running": false,
                    "why": format!("{why:#}"),
                    "state_dir": state_dir,
                    "config_problems": problems,
                    "spool_bytes": found.spool_bytes,
                    "last_good": found.last_good,
                    "last_report": found.last_report,
                })
            ));
        }
        (Format::Human, Ok(report)) => say(Running(report, Paint::new())),
        (Format::Human, Err(why)) => {
            let found = Found::look(&state_dir, &loaded);
            say(NotRunning {
                args,
                loaded: &loaded,
                state_dir: &state_dir,
                why,
                found,
                paint: Paint::new(),
            });
        }
    }
    Ok(if healthy {
        Exit::Done
    } else {
        Exit::NotHealthy
    })
}

/// Asks the gateway of this state directory.
fn ask(state_dir: &Path) -> anyhow::Result<Report> {
    let file = state_dir.join(ADDRESS_FILE);
    let address = std::fs::read_to_string(&file)
        .with_context(|| format!("there is no {}", file.display()))?;
    let address: SocketAddr = address
        .trim()
        .parse()
        .context("its address cannot be read")?;
    anyhow::ensure!(
        address.ip().is_loopback(),
        "{address} is not on this machine"
    );
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)
        .with_context(|| format!("nothing listens at {address}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream
        .take(MAX_ANSWER)
        .read_to_string(&mut answer)
        .context("no answer")?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is not HTTP")?;
    anyhow::ensure!(
        head.starts_with("HTTP/1.1 200"),
        "{address} is something else"
    );
    serde_json::from_str(body).context("the answer is not a gateway's")
}

/// What can be found without a running gateway.
struct Found {
    spool_bytes: Option<u64>,
    last_good: bool,
    last_report: Option<Report>,
}

impl Found {
    fn look(state_dir: &Path, loaded: &Loaded) -> Self {
        let configured = loaded
            .config
            .as_ref()
            .map(|config| config.spool.dir.clone());
        let spool = configured.unwrap_or_else(|| state_dir.join("spool"));
        let last_report = std::fs::read(state_dir.join(LAST_REPORT_FILE)).ok();
        Self {
            spool_bytes: folder_bytes(&spool, 8),
            last_good: state_dir.join(last_good::FILE).exists(),
            last_report: last_report.and_then(|json| serde_json::from_slice(&json).ok()),
        }
    }
}

/// Bytes of the files in a folder; `None` when there is no such folder. Links are not followed.
fn folder_bytes(folder: &Path, depth: u32) -> Option<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_file() {
            total += about.len();
        } else if about.is_dir() && depth > 0 {
            total += folder_bytes(&entry.path(), depth - 1).unwrap_or(0);
        }
    }
    Some(total)
}

/// Marks of a state, coloured where a terminal reads.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn new() -> Self {
        Self(colour_out())
    }

    fn mark(self, good: bool) -> &'static str {
        match (self.0, good) {
            (true, true) => "\x1b[32m●\x1b[0m",
            (true, false) => "\x1b[31m●\x1b[0m",
            (false, true) => "ok ",
            (false, false) => "!! ",
        }
    }
}

struct Running<'a>(&'a Report, Paint);

impl fmt::Display for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report, paint) = self;
        let health = report.health();
        let up = show_span(i64::try_from(report.uptime_s).unwrap_or(0) * 1000);
        writeln!(
            f,
            "{} gateway {}  up {up}, pid {}, {}",
            paint.mark(health.ok),
            report.gateway,
            report.pid,
            report.version
        )?;
        for problem in &health.problems {
            writeln!(f, "    {problem}")?;
        }
        let config = &report.config;
        let about = if config.last_good { " (last good)" } else { "" };
        writeln!(
            f,
            "  config   {} revision {}{about}, {} points",
            config.path.display(),
            config.revision,
            config.points
        )?;
        for bus in &report.buses {
            let up = bus
                .devices
                .iter()
                .filter(|device| device.state == "up")
                .count();
            let count = |name| {
                bus.counters
                    .iter()
                    .find(|c| c.name == name)
                    .map_or(0, |c| c.value)
            };
            writeln!(
                f,
                "{} bus {}  {up}/{} devices up, {} requests, {} time-outs, {} skipped polls, {} driver restarts",
                paint.mark(up == bus.devices.len()),
                bus.name,
                bus.devices.len(),
                count("requests"),
                count("timeouts"),
                count("missed_polls"),
                bus.restarts
            )?;
            for device in bus.devices.iter().filter(|device| device.state != "up") {
                let reason = device.reason.as_deref().unwrap_or("not asked yet");
                let since = device.since.map_or_else(String::new, |since| {
                    format!(" for {}", show_span(report.now - since))
                });
                writeln!(f, "    {} {}: {reason}{since}", device.id, device.state)?;
            }
        }
        let p = &report.pipeline;
        writeln!(
            f,
            "  readings {} taken, {} kept, {} filtered, {} not good",
            p.taken, p.kept, p.filtered, p.not_good
        )?;
        let spool = &report.spool;
        let full = if spool.quota_bytes == 0 {
            0
        } else {
            spool.live_bytes.saturating_mul(100) / spool.quota_bytes
        };
        writeln!(
            f,
            "{} spool    {} records, {} of {} ({full} %), loss window {}",
            paint.mark(spool.alarms.is_empty()),
            spool.records,
            show_bytes(spool.live_bytes),
            show_bytes(spool.quota_bytes),
            show_duration(Duration::from_millis(spool.loss_window_ms))
        )?;
        match &report.uplink {
            None => writeln!(f, "  uplink   none configured"),
            Some(uplink) => {
                let server = uplink.server.as_deref().unwrap_or("no server yet");
                let state = if uplink.connected {
                    "connected to"
                } else {
                    "not connected to"
                };
                let since = uplink.since.map_or_else(String::new, |since| {
                    format!(" for {}", show_span(report.now - since))
                });
                writeln!(
                    f,
                    "{} uplink {}  {state} {server}{since}",
                    paint.mark(uplink.connected && !uplink.store_away),
                    uplink.name
                )?;
                if let Some(error) = uplink.error.as_ref().filter(|_| !uplink.connected) {
                    writeln!(f, "    {error}")?;
                }
                let settled = uplink.last_settled.map_or_else(
                    || "never".to_owned(),
                    |at| format!("{} ago", show_span(report.now - at)),
                );
                write!(
                    f,
                    "    last settled {settled}, {} sent and not settled, {} not sent",
                    uplink.unsettled_records, uplink.backlog_records
                )?;
                if let (Some(p50), Some(p99)) = (uplink.settling_p50_ms, uplink.settling_p99_ms) {
                    write!(f, ", settling {p50:.0} ms (99 %: {p99:.0} ms)")?;
                }
                writeln!(f)
            }
        }?;
        let process = &report.process;
        let memory = process
            .resident_bytes
            .map_or_else(|| "?".to_owned(), show_bytes);
        writeln!(
            f,
            "  process  {memory} memory, {:.1} s CPU",
            process.cpu_seconds.unwrap_or(0.0)
        )
    }
}

struct NotRunning<'a> {
    args: &'a StatusArgs,
    loaded: &'a Loaded,
    state_dir: &'a PathBuf,
    why: &'a anyhow::Error,
    found: Found,
    paint: Paint,
}

impl fmt::Display for NotRunning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paint = self.paint;
        writeln!(
            f,
            "{} no gateway is running here: {:#}",
            paint.mark(false),
            self.why
        )?;
        let errors = self
            .loaded
            .problems
            .iter()
            .filter(|p| p.severity == Severity::Error);
        let errors = errors.count();
        let config = self.args.config.display();
        if errors == 0 {
            writeln!(f, "{} config   {config} can be used", paint.mark(true))?;
        } else {
            writeln!(
                f,
                "{} config   {config} has {errors} errors; see: fogline-gateway check {config}",
                paint.mark(false)
            )?;
            let kept = if self.found.last_good {
                "the last good one would run instead"
            } else {
                "none is kept that could run instead"
            };
            writeln!(f, "    {kept}")?;
        }
        writeln!(f, "  state    {}", self.state_dir.display())?;
        match self.found.spool_bytes {
            Some(bytes) => writeln!(
                f,
                "  spool    {} on disk; see: fogline-gateway spool stat",
                show_bytes(bytes)
            )?,
            None => writeln!(f, "  spool    none yet")?,
        }
        if let Some(report) = &self.found.last_report {
            let mut line = String::new();
            let _ = write!(
                line,
                "{} readings taken, {} records left in the spool",
                report.pipeline.taken, report.spool.records
            );
            writeln!(
                f,
                "  stopped  after {}: {line}",
                show_span(i64::try_from(report.uptime_s).unwrap_or(0) * 1000)
            )?;
        }
        Ok(())
    }
}

/// A span for people: its two largest units.
fn show_span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A size for people.
fn show_bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_at_a_glance() {
        assert_eq!(show_span(-5), "0s");
        assert_eq!(show_span(65_000), "1m 5s");
        assert_eq!(show_span(90_000_000), "1d 1h");
        assert_eq!(show_bytes(999), "999 B");
        assert_eq!(show_bytes(1_572_864), "1.5 MiB");
    }
}

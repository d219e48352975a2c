//! What `status` shows to people: one line a part, a mark in front, details only where something
//! is wrong.

use super::{Found, StatusArgs};
use crate::console::colour_out;
use crate::human::{bytes as show_bytes, span as show_span};
use crate::snapshot::{BusReport, Report, SpoolReport, TimeReport, UplinkReport};
use gateway_config::units::show_duration;
use gateway_config::{Loaded, Severity};
use protocols_model::AlarmState;
use std::fmt::{self, Formatter};
use std::path::Path;
use std::time::Duration;

/// Marks of a state, coloured where a terminal reads.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn new() -> Self {
        Self(colour_out())
    }

    fn mark(self, good: bool) -> &'static str {
        match (self.0, good) {
            (true, true) => "\x1b[32m●\x1b[0m ",
            (true, false) => "\x1b[31m●\x1b[0m ",
            (false, true) => "ok",
            (false, false) => "!!",
        }
    }
}

/// A gateway that answered.
pub(super) struct Running<'a>(pub(super) &'a Report, pub(super) Paint);

impl fmt::Display for Running<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(report, paint) = self;
        let health = report.health();
        let up = show_span(i64::try_from(report.uptime_s).unwrap_or(0) * 1000);
        let mark = paint.mark(health.ok);
        let (name, pid, version) = (&report.gateway, report.pid, &report.version);
        writeln!(f, "{mark} gateway {name}  up {up}, pid {pid}, {version}")?;
        for problem in &health.problems {
            writeln!(f, "     {problem}")?;
        }
        let config = &report.config;
        let about = if config.last_good { " (last good)" } else { "" };
        let (path, revision) = (config.path.display(), &config.revision);
        writeln!(
            f,
            "   config   {path} revision {revision}{about}, {} points",
            config.points
        )?;
        for bus in &report.buses {
            self.bus(f, bus)?;
        }
        let p = &report.pipeline;
        let (taken, kept, filtered, not_good) = (p.taken, p.kept, p.filtered, p.not_good);
        writeln!(
            f,
            "   readings {taken} taken, {kept} kept, {filtered} filtered, {not_good} not good"
        )?;
        for alarm in &report.alarms {
            let mark = paint.mark(alarm.state == AlarmState::Normal);
            let (level, name, text) = (alarm.level.as_str(), &alarm.name, &alarm.text);
            let (state, ago) = (alarm.state.as_str(), self.ago(alarm.since));
            writeln!(
                f,
                "{mark} alarm    {name} {state} for {ago} ({level}): {text}"
            )?;
        }
        self.spool(f, &report.spool)?;
        match &report.uplink {
            None => writeln!(f, "   uplink   none configured")?,
            Some(uplink) => self.uplink(f, uplink)?,
        }
        self.clock(f, &report.time)?;
        let process = &report.process;
        let memory = process
            .resident_bytes
            .map_or_else(|| "?".to_owned(), show_bytes);
        let cpu = process.cpu_seconds.unwrap_or(0.0);
        writeln!(f, "   process  {memory} memory, {cpu:.1} s CPU")
    }
}

impl Running<'_> {
    /// How long ago `then` was, as the gateway's clock says.
    fn ago(&self, then: i64) -> String {
        show_span(self.0.now - then)
    }

    fn bus(&self, f: &mut Formatter<'_>, bus: &BusReport) -> fmt::Result {
        let up = bus
            .devices
            .iter()
            .filter(|device| device.state == "up")
            .count();
        let all = bus.devices.len();
        let mark = self.1.mark(up == all);
        let count = |name| {
            bus.counters
                .iter()
                .find(|c| c.name == name)
                .map_or(0, |c| c.value)
        };
        let (requests, late) = (count("requests"), count("timeouts"));
        write!(
            f,
            "{mark} bus {}  {up}/{all} devices up, {requests} requests, ",
            bus.name
        )?;
        let (missed, restarts) = (count("missed_polls"), bus.restarts);
        writeln!(
            f,
            "{late} time-outs, {missed} skipped polls, {restarts} driver restarts"
        )?;
        for device in bus.devices.iter().filter(|device| device.state != "up") {
            let reason = device.reason.as_deref().unwrap_or("not asked yet");
            write!(f, "     {} {}: {reason}", device.id, device.state)?;
            match device.since {
                Some(since) => writeln!(f, " for {}", self.ago(since))?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }

    fn clock(&self, f: &mut Formatter<'_>, time: &TimeReport) -> fmt::Result {
        let who = match (&time.confirmed_by, &time.gnss) {
            (Some(name), _) => format!("right, says {name}"),
            (None, Some(gnss)) if gnss.offset_ms.is_some() => {
                format!("not confirmed; readings are placed by {}", gnss.point)
            }
            (None, _) => "not confirmed by any time service".to_owned(),
        };
        write!(f, "   clock    {who}")?;
        if let Some(rtc) = &time.rtc {
            match rtc.offset_s.filter(|_| rtc.is_set) {
                Some(off) => write!(f, ", {} {off} s ahead of it", rtc.device)?,
                None => write!(f, ", {} is not set", rtc.device)?,
            }
        }
        match time.steps {
            0 => writeln!(f),
            steps => writeln!(f, ", {steps} steps since the start"),
        }
    }

    fn spool(&self, f: &mut Formatter<'_>, spool: &SpoolReport) -> fmt::Result {
        let mark = self.1.mark(spool.alarms.is_empty());
        let percent = spool
            .live_bytes
            .saturating_mul(100)
            .checked_div(spool.quota_bytes);
        let percent = percent.unwrap_or(0);
        let (live, quota) = (show_bytes(spool.live_bytes), show_bytes(spool.quota_bytes));
        let window = show_duration(Duration::from_millis(spool.loss_window_ms));
        let records = spool.records;
        writeln!(
            f,
            "{mark} spool    {records} records, {live} of {quota} ({percent} %), loss window {window}"
        )?;
        for lane in spool.lanes.iter().filter(|lane| lane.bytes > 0) {
            let name = &lane.lane;
            let (bytes, share) = (show_bytes(lane.bytes), show_bytes(lane.share_bytes));
            write!(
                f,
                "     {name}: {bytes}, sure of {share}, when full {}",
                lane.full
            )?;
            match lane.thinned_to_s.map(Duration::from_secs) {
                Some(bucket) => writeln!(f, "; thinned to {}", show_duration(bucket))?,
                None => writeln!(f)?,
            }
        }
        if spool.alarms.iter().any(|alarm| alarm == "stretched") {
            let commit = show_duration(Duration::from_millis(spool.commit_interval_ms));
            writeln!(f, "     max_write stretches commit to {commit}")?;
        }
        Ok(())
    }

    fn uplink(&self, f: &mut Formatter<'_>, uplink: &UplinkReport) -> fmt::Result {
        let mark = self.1.mark(uplink.connected && !uplink.store_away);
        let server = uplink.server.as_deref().unwrap_or("a server");
        let state = if uplink.connected {
            "connected to"
        } else {
            "not connected to"
        };
        write!(f, "{mark} uplink {}  {state} {server}", uplink.name)?;
        match uplink.since {
            Some(since) => writeln!(f, " for {}", self.ago(since))?,
            None => writeln!(f)?,
        }
        if let Some(error) = uplink.error.as_ref().filter(|_| !uplink.connected) {
            writeln!(f, "     {error}")?;
        }
        let settled = uplink
            .last_settled
            .map(|at| format!("{} ago", self.ago(at)));
        let settled = settled.as_deref().unwrap_or("never");
        let (sent, waiting) = (uplink.unsettled_records, uplink.backlog_records);
        write!(
            f,
            "     last settled {settled}, {sent} sent and not settled, {waiting} not sent"
        )?;
        if let (Some(p50), Some(p99)) = (uplink.settling_p50_ms, uplink.settling_p99_ms) {
            write!(f, ", settling {p50:.0} ms (99 %: {p99:.0} ms)")?;
        }
        writeln!(f)?;
        if let Some(rate) = uplink.slowed_to_bytes_per_s {
            let rate = show_bytes(rate);
            writeln!(
                f,
                "     the cloud is behind and asked for backlog at {rate}/s at most"
            )?;
        }
        Ok(())
    }
}

/// What was found where no gateway answered.
pub(super) struct NotRunning<'a> {
    pub(super) args: &'a StatusArgs,
    pub(super) loaded: &'a Loaded,
    pub(super) state_dir: &'a Path,
    pub(super) why: &'a anyhow::Error,
    pub(super) found: Found,
    pub(super) paint: Paint,
}

impl fmt::Display for NotRunning<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
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
            let mark = paint.mark(false);
            writeln!(
                f,
                "{mark} config   {config} has {errors} errors; see: fogline-gateway check {config}"
            )?;
            let kept = if self.found.last_good {
                "the last good one would run instead"
            } else {
                "none is kept that could run instead"
            };
            writeln!(f, "     {kept}")?;
        }
        writeln!(f, "   state    {}", self.state_dir.display())?;
        match self.found.spool_bytes.map(show_bytes) {
            Some(size) => writeln!(
                f,
                "   spool    {size} on disk; see: fogline-gateway spool stat"
            )?,
            None => writeln!(f, "   spool    none yet")?,
        }
        if let Some(report) = &self.found.last_report {
            let up = show_span(i64::try_from(report.uptime_s).unwrap_or(0) * 1000);
            let (taken, left) = (report.pipeline.taken, report.spool.records);
            writeln!(
                f,
                "   stopped  after {up}: {taken} readings taken, {left} records left in the spool"
            )?;
        }
        Ok(())
    }
}

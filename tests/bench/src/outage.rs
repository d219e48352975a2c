//! `outage` and `flash`: what a gateway holds while the link is down for an hour, and what it writes to
//! flash while the link is up.
//!
//! An hour of the 10 000 points at 1 Hz is run in a tenth of the time: every unit is asked ten times a
//! second, and batches are sealed ten times as often, so that a batch holds as many readings of each
//! point as it would, and as many of them come as in an hour. What is different: times are closer together
//! and the commit interval is not shortened. Memory is looked at each second beside what the spool
//! says it holds; at the end everything must be in the database, once.

use crate::config::Config;
use crate::field;
use crate::figures::{Figure, Limit};
use crate::measure::{float, resident_kib};
use crate::report::{row, say};
use crate::rig::{FLOW_LIMIT, GATEWAY, Rig};
use anyhow::Context as _;
use std::collections::HashSet;
use std::time::Duration;
use tests_fieldsim::answer_log::AnswerLine;
use tests_harness::proxy::Link;
use tests_harness::wait::wait_for;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// So many times faster than the clock.
const FASTER: u32 = 10;
/// A second of the field.
const PERIOD: Duration = Duration::from_millis(1000 / FASTER as u64);
/// Batches while the link is up and while it is down, as by default, that much faster.
const LIVE: Duration = PERIOD;
const OFFLINE: Duration = Duration::from_secs(10 / FASTER as u64);
/// Buffers find their size before the link goes.
const WARM_UP: Duration = Duration::from_secs(4);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(1);
/// How long everything may take to be settled afterwards.
const DRAIN_LIMIT: Duration = Duration::from_secs(900);
/// Room for the hour: the bound is somebody else's measurement.
const SPOOL: &str = "\n[spool]\nmax = \"192MiB\"\n";
/// Resident beside the spool's live bytes, and of each of these.
const BESIDE_MB: f64 = 20.0;
const EACH: f64 = 0.6;
const MB: f64 = 1e6;
/// The small site whose flash is counted: 200 readings a second.
const FLASH_UNITS: u16 = 2;

/// What an outage gave.
#[derive(Debug)]
pub(crate) struct Outage {
    /// Highest resident memory less [`EACH`] of the spool's live bytes at that moment, MB.
    beside_mb: f64,
    /// Highest resident memory, and the spool's live bytes at the end, MB.
    resident_mb: f64,
    live_mb: f64,
    /// Live bytes a reading.
    bytes_per_reading: f64,
    /// Minutes at 1 Hz that were run.
    minutes: f64,
    /// Seconds until everything was settled.
    drained_s: f64,
}

impl Rig {
    /// An outage of so many seconds, ten times as fast.
    pub(crate) async fn outage(&mut self, seconds: u64) -> anyhow::Result<Outage> {
        let config = Config::aged(GATEWAY, LIVE, OFFLINE).add_text(SPOOL);
        let config = config.meters_each(&self.ports, field::UNITS, PERIOD, "");
        let gateway = self.stack.gateways.first_mut().context("no gateway")?;
        std::fs::write(gateway.dir().join("gateway.toml"), config.text())?;
        gateway.restart()?;
        let pid = gateway.pid().context("the gateway has no process id")?;
        self.stack.wait_for_flow(FLOW_LIMIT).await?;
        sleep(WARM_UP).await;
        let from = self.now(pid)?;
        self.stack.link.set(Link::Cut);
        let looked = self.look_at_memory(pid, seconds).await;
        // What was read by now is sealed and in the spool.
        let to = self.now(pid)?;
        sleep(OFFLINE * 2).await;
        let gateway = self.stack.gateways.first().context("no gateway")?;
        let status = gateway.status().await?;
        let evicted = status.spool.counters.get("evicted_records").copied();
        self.stack.link.set(Link::Passing);
        let (beside_mb, resident_mb) = looked?;
        let until_now = self.now(pid)?;
        let offline = self.answers(&from, &until_now)?.len() as u64;
        let drained = self.drain().await?;
        anyhow::ensure!(
            evicted.unwrap_or(0) == 0,
            "the spool was too small: {evicted:?} records evicted"
        );
        // The last of the backlog is as small as what is live, and may still be on its way.
        let answers = self.answers(&from, &to)?;
        wait_for("everything read in the outage", DRAIN_LIMIT, async || {
            self.all_stored_once(from.newest, &answers)
        })
        .await?;
        let gateway = self.stack.gateways.first_mut().context("no gateway")?;
        gateway.stop().await?;
        let read = float(offline * field::READINGS_PER_ANSWER);
        let each_second = float(u64::from(field::UNITS) * u64::from(field::REGISTERS));
        Ok(Outage {
            beside_mb,
            resident_mb,
            live_mb: float(status.spool.live_bytes) / MB,
            bytes_per_reading: float(status.spool.live_bytes) / read,
            minutes: read / each_second / 60.0,
            drained_s: drained.as_secs_f64(),
        })
    }

    /// Highest memory beside the spool, and highest memory at all, over `seconds`.
    async fn look_at_memory(&self, pid: u32, seconds: u64) -> anyhow::Result<(f64, f64)> {
        let gateway = self.stack.gateways.first().context("no gateway")?;
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let (mut beside, mut most) = (0.0f64, 0.0f64);
        while tokio::time::Instant::now() < until {
            tick.tick().await;
            let live = float(gateway.status().await?.spool.live_bytes) / MB;
            let resident = float(resident_kib(pid)?) * 1024.0 / MB;
            beside = beside.max(resident - EACH * live);
            most = most.max(resident);
        }
        Ok((beside, most))
    }

    /// Whether the database has every one of `answers`, and nothing twice.
    fn all_stored_once(&self, from: i64, answers: &[AnswerLine]) -> anyhow::Result<()> {
        let last = self.database.newest()?;
        let records = self.database.records(from, last, field::PROBE)?;
        let mut stored = HashSet::new();
        for (device, value) in records.iter().flat_map(|record| &record.probes) {
            let news = stored.insert((device.as_str(), *value));
            anyhow::ensure!(news, "{device} answered {value}: stored twice");
        }
        for line in answers {
            let value = line.polls.first().context("an answer without a probe")?.raw;
            anyhow::ensure!(
                stored.contains(&(line.device.as_str(), value)),
                "{} answered {value} in the outage, and the database lacks it",
                line.device
            );
        }
        Ok(())
    }

    /// Waits until hardly anything waits any more; how long that took.
    async fn drain(&self) -> anyhow::Result<Duration> {
        let begun = tokio::time::Instant::now();
        wait_for("the backlog to be settled", DRAIN_LIMIT, async || {
            let gateway = self.stack.gateways.first().context("no gateway")?;
            let status = gateway.status().await?;
            // One live batch at most.
            anyhow::ensure!(
                status.spool.live_bytes < 200_000,
                "{} bytes wait",
                status.spool.live_bytes
            );
            Ok(())
        })
        .await?;
        Ok(begun.elapsed())
    }

    /// Megabytes that a gateway with 200 readings a second and a healthy uplink writes to flash in a day.
    pub(crate) async fn flash(&mut self, seconds: u64) -> anyhow::Result<f64> {
        let age = Duration::from_secs(1);
        let config = Config::new(GATEWAY, age);
        let config = config.meters_each(&self.ports, FLASH_UNITS, Duration::from_secs(1), "");
        let turn = self
            .watch(&config, age, Duration::from_secs(seconds))
            .await?;
        let stored = self.stored(&turn, "meter-")? / turn.seconds();
        anyhow::ensure!(
            (150.0..300.0).contains(&stored),
            "{stored:.0} readings a second were stored, not 200"
        );
        let a_day = 86_400.0 / turn.seconds();
        Ok(float(turn.used().written_bytes) * a_day / MB)
    }
}

/// Figures of the outage; memory and bytes hardly depend on who else is busy.
pub(crate) fn figures(outage: &Outage) -> Vec<Figure> {
    use Limit::{AtMost, None};
    say(&format!(
        "  {:.0} minutes of 10 000 points/s without a link: {:.1} MB in the spool, {:.1} MB resident",
        outage.minutes, outage.live_mb, outage.resident_mb
    ));
    #[rustfmt::skip]
    let figures = vec![
        row("outage_rss_beside_mb", "outage: resident less 0.6 × live spool, highest, MB", AtMost(BESIDE_MB), vec![outage.beside_mb], 0, 1),
        row("outage_spool_bytes", "outage: live spool bytes per reading", AtMost(2.0), vec![outage.bytes_per_reading], 0, 1),
        row("outage_rss_mb", "outage: resident, highest, MB", None, vec![outage.resident_mb], 0, 1),
        row("outage_live_mb", "outage: live spool at its end, MB", None, vec![outage.live_mb], 0, 1),
        row("outage_minutes", "outage: minutes at 1 Hz that were run", None, vec![outage.minutes], 0, 1),
        row("outage_drained_s", "outage: seconds until everything was settled", None, vec![outage.drained_s], 0, 1),
    ];
    figures
}

/// The figure of the flash.
pub(crate) fn flash(mb_per_day: f64) -> Vec<Figure> {
    #[rustfmt::skip]
    let figures = vec![
        row("flash_mb_per_day", "200 readings/s, healthy uplink: written to flash, MB a day", Limit::AtMost(5.0), vec![mb_per_day], 0, 1),
    ];
    figures
}

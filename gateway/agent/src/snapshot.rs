//! What the gateway shows of itself: one report behind `/status`, `/health`, `/metrics` and the
//! `status` command. Made when somebody asks, kept nowhere while the gateway runs.

use crate::machine;
use crate::supervisor::BusSlot;
use crate::uplink::UplinkView;
use gateway_config::GatewayConfig;
use gateway_pipeline::{KeptAlarms, Stats, Totals};
use gateway_spool::{LaneUse, SpoolAlarm, SpoolState};
use protocols_driver::LinkState;
use protocols_model::{AlarmLevel, AlarmState, BootId, Clock, Lane, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Everything worth knowing at one moment. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) gateway: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) version: String,
    pub(crate) boot: String,
    pub(crate) pid: u32,
    pub(crate) now: i64,
    pub(crate) started: i64,
    pub(crate) uptime_s: u64,
    pub(crate) config: ConfigReport,
    pub(crate) buses: Vec<BusReport>,
    pub(crate) pipeline: PipelineReport,
    /// Alarms that are not normal, or shelved.
    #[serde(default)]
    pub(crate) alarms: Vec<AlarmReport>,
    pub(crate) spool: SpoolReport,
    pub(crate) uplink: Option<UplinkReport>,
    #[serde(default)]
    pub(crate) time: TimeReport,
    pub(crate) process: ProcessReport,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConfigReport {
    pub(crate) path: PathBuf,
    pub(crate) revision: String,
    /// The file cannot be used; what runs is the last one that could.
    pub(crate) last_good: bool,
    /// The last reload was refused for this reason.
    pub(crate) refused: Option<String>,
    pub(crate) points: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BusReport {
    pub(crate) name: String,
    pub(crate) restarts: u64,
    /// The part of its time that its schedule takes, where that can be computed.
    #[serde(default)]
    pub(crate) planned_load: Option<f64>,
    pub(crate) counters: Vec<CounterReport>,
    pub(crate) devices: Vec<DeviceReport>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CounterReport {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) value: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeviceReport {
    pub(crate) id: String,
    /// `up`, `down` or `unknown`.
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) since: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PipelineReport {
    pub(crate) taken: u64,
    pub(crate) kept: u64,
    pub(crate) filtered: u64,
    pub(crate) not_good: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) unsealable: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AlarmReport {
    pub(crate) name: String,
    pub(crate) level: AlarmLevel,
    pub(crate) state: AlarmState,
    pub(crate) text: String,
    pub(crate) since: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SpoolReport {
    pub(crate) epoch: String,
    pub(crate) records: u64,
    pub(crate) live_bytes: u64,
    pub(crate) quota_bytes: u64,
    pub(crate) memory_bytes: u64,
    #[serde(default)]
    pub(crate) lanes: Vec<LaneReport>,
    /// How long a record waits for the disk now: longer than configured while `max_write` stretches it.
    #[serde(default)]
    pub(crate) commit_interval_ms: u64,
    pub(crate) loss_window_ms: u64,
    pub(crate) alarms: Vec<String>,
    /// Why the disk cannot be used, while it cannot.
    pub(crate) disk_trouble: Option<String>,
    pub(crate) counters: BTreeMap<String, u64>,
}

/// What one lane holds, all epochs together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LaneReport {
    pub(crate) lane: String,
    /// From the oldest that is not settled to the newest; what was settled between counts too.
    pub(crate) records: u64,
    /// Highest seq of this run.
    pub(crate) last_seq: u64,
    /// Bytes of its records, claims apart.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// Bytes that it is sure of.
    #[serde(default)]
    pub(crate) share_bytes: u64,
    /// What it does when it is full.
    #[serde(default)]
    pub(crate) full: String,
    /// The longest bucket that held readings were thinned to.
    #[serde(default)]
    pub(crate) thinned_to_s: Option<u64>,
}

/// What is known of the time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TimeReport {
    /// A time service says that the wall clock is right.
    pub(crate) synced: bool,
    /// Which one.
    #[serde(default)]
    pub(crate) confirmed_by: Option<String>,
    /// Where readings of this run are known to lie: how far off at most, milliseconds.
    #[serde(default)]
    pub(crate) placed_within_ms: Option<u64>,
    /// Time services of this machine.
    #[serde(default)]
    pub(crate) services: Vec<SourceReport>,
    /// The battery-backed clock.
    #[serde(default)]
    pub(crate) rtc: Option<RtcReport>,
    /// The GNSS receiver that the configuration names.
    #[serde(default)]
    pub(crate) gnss: Option<GnssReport>,
    /// Steps seen since the start.
    pub(crate) steps: u64,
    /// The last of them, and when, by the clock after it.
    pub(crate) last_step_ms: Option<i64>,
    pub(crate) last_step_at: Option<i64>,
}

/// A time service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceReport {
    pub(crate) name: String,
    /// It says that the wall clock is right.
    pub(crate) right: bool,
    /// More, for people.
    pub(crate) state: String,
}

/// The battery-backed clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RtcReport {
    pub(crate) device: String,
    /// It shows a time that can be.
    pub(crate) is_set: bool,
    /// So far ahead of the wall clock; none when it cannot be read.
    pub(crate) offset_s: Option<i64>,
}

/// A GNSS receiver's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GnssReport {
    /// The point that carries it.
    pub(crate) point: String,
    /// `good`, or why there is none.
    pub(crate) state: String,
    /// So far ahead of the wall clock.
    pub(crate) offset_ms: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UplinkReport {
    pub(crate) name: String,
    pub(crate) connected: bool,
    pub(crate) server: Option<String>,
    pub(crate) since: Option<i64>,
    /// Why it does not run, or why the last attempt failed.
    pub(crate) error: Option<String>,
    /// It cannot even try: the identity cannot be used.
    pub(crate) no_identity: bool,
    pub(crate) store_away: bool,
    pub(crate) last_settled: Option<i64>,
    pub(crate) unsettled_records: u64,
    /// Bytes of envelopes that are not settled, and how many may be.
    #[serde(default)]
    pub(crate) unsettled_bytes: u64,
    #[serde(default)]
    pub(crate) window_bytes: u64,
    /// Bytes the broker has not taken yet.
    #[serde(default)]
    pub(crate) in_flight_bytes: u64,
    pub(crate) backlog_records: u64,
    pub(crate) backlog_bytes: u64,
    /// The cloud asked for no more backlog than this.
    pub(crate) slowed_to_bytes_per_s: Option<u64>,
    /// Backlog that may be unsettled now.
    #[serde(default)]
    pub(crate) history_window_bytes: u64,
    /// What the link is thought to carry.
    #[serde(default)]
    pub(crate) link_bytes_per_s: u64,
    pub(crate) settling_p50_ms: Option<f64>,
    pub(crate) settling_p99_ms: Option<f64>,
    pub(crate) counters: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProcessReport {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) resident_peak_bytes: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
}

/// Whether the gateway does its work; being offline is part of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) ok: bool,
    pub(crate) problems: Vec<String>,
}

impl Report {
    /// What is wrong, if anything.
    pub(crate) fn health(&self) -> Health {
        let mut problems = Vec::new();
        if self.config.last_good {
            problems.push("the configuration file has errors; the last good one runs".to_owned());
        }
        if let Some(refused) = &self.config.refused {
            problems.push(format!("the last reload was refused: {refused}"));
        }
        problems.extend(
            self.spool
                .alarms
                .iter()
                .map(|alarm| format!("spool: {alarm}")),
        );
        problems.extend(
            self.spool
                .disk_trouble
                .iter()
                .map(|why| format!("disk: {why}")),
        );
        if self.pipeline.unsealable > 0 {
            problems.push(format!(
                "{} readings could not be encoded",
                self.pipeline.unsealable
            ));
        }
        if let Some(uplink) = &self.uplink {
            if let Some(error) = uplink.error.as_ref().filter(|_| uplink.no_identity) {
                problems.push(format!("uplink: {error}"));
            }
            if uplink.store_away {
                problems
                    .push("uplink: the cloud takes messages but does not store them".to_owned());
            }
        }
        Health {
            ok: problems.is_empty(),
            problems,
        }
    }
}

/// What changes when the configuration does.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) about: ConfigReport,
    pub(crate) slots: Arc<[Arc<BusSlot>]>,
    pub(crate) uplink: Option<UplinkView>,
    pub(crate) time: TimeReport,
}

impl Running {
    /// A configuration before anything of it runs.
    pub(crate) fn new(config: &Arc<GatewayConfig>, about: ConfigReport) -> Self {
        Self {
            config: Arc::clone(config),
            about,
            slots: Arc::default(),
            uplink: None,
            time: TimeReport::default(),
        }
    }
}

/// Where reports come from.
pub(crate) struct Source {
    pub(crate) boot: BootId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Timestamp,
    pub(crate) stats: Arc<Stats>,
    pub(crate) spool: watch::Receiver<Arc<SpoolState>>,
    pub(crate) alarms: watch::Receiver<KeptAlarms>,
    pub(crate) running: Mutex<Running>,
}

impl Source {
    /// Changes what is shown of the running configuration.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Running)) {
        change(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The report of this moment.
    pub(crate) fn report(&self) -> Report {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let resident = machine::resident();
        Report {
            gateway: running.config.gateway.id.to_string(),
            labels: running.config.gateway.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.boot.to_string(),
            pid: std::process::id(),
            now: self.clock.wall().as_millis(),
            started: self.started.as_millis(),
            uptime_s: self.clock.monotonic().0.as_secs(),
            config: running.about.clone(),
            buses: running.slots.iter().map(|slot| bus(slot)).collect(),
            pipeline: pipeline(self.stats.totals()),
            alarms: alarms(&self.alarms.borrow()),
            spool: spool(&self.spool.borrow()),
            uplink: running.uplink.as_ref().map(UplinkView::report),
            time: running.time.clone(),
            process: ProcessReport {
                resident_bytes: resident.map(|(now, _)| now),
                resident_peak_bytes: resident.map(|(_, peak)| peak),
                cpu_seconds: machine::cpu_seconds(),
            },
        }
    }
}

fn bus(slot: &BusSlot) -> BusReport {
    let status = slot.status();
    let counters = status
        .counters
        .values()
        .into_iter()
        .map(|counter| CounterReport {
            name: counter.name.to_owned(),
            help: counter.help.to_owned(),
            value: counter.value,
        });
    let devices = status.links().into_iter().map(|link| {
        let (state, reason) = match link.state {
            LinkState::Unknown => ("unknown", None),
            LinkState::Up => ("up", None),
            LinkState::Down(reason) => ("down", Some(reason.as_str().to_owned())),
        };
        DeviceReport {
            id: link.device.to_string(),
            state: state.to_owned(),
            reason,
            since: link.since.map(Timestamp::as_millis),
        }
    });
    BusReport {
        name: slot.name(),
        restarts: slot.restarts.get(),
        planned_load: slot.planned_load,
        counters: counters.collect(),
        devices: devices.collect(),
    }
}

const fn pipeline(totals: Totals) -> PipelineReport {
    PipelineReport {
        taken: totals.taken,
        kept: totals.kept,
        filtered: totals.filtered,
        not_good: totals.not_good,
        records: totals.records,
        bytes: totals.bytes,
        unsealable: totals.unsealable,
    }
}

fn alarms(kept: &KeptAlarms) -> Vec<AlarmReport> {
    let alarms = kept.iter().map(|(name, alarm)| AlarmReport {
        name: name.clone(),
        level: alarm.level,
        state: alarm.state,
        text: alarm.text.clone(),
        since: Timestamp(alarm.since).as_millis(),
    });
    alarms.collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn spool(state: &SpoolState) -> SpoolReport {
    let c = &state.counters;
    let counters = [
        ("appended_records", c.appended),
        ("settled_records", c.settled),
        ("settled_in_memory_records", c.settled_in_memory),
        ("refused_records", c.refused),
        ("unknown_settled_records", c.unknown_settled),
        ("thinned_records", c.thinned_records),
        ("thinned_readings", c.thinned_readings),
        ("evicted_records", c.evicted_records),
        ("evicted_readings", c.evicted_readings),
        ("damaged_records", c.damaged_records),
        ("quarantined_stores", c.quarantined_stores),
        ("claims", c.claims),
        ("commits", c.commits),
        ("committed_bytes", c.committed_bytes),
        ("flash_bytes", c.flash_bytes),
        ("failed_commits", c.failed_commits),
        ("rotations", c.rotations),
        ("compactions", c.compactions),
    ];
    SpoolReport {
        epoch: format!("{:016x}", state.epoch.0),
        records: state.records,
        live_bytes: state.live_bytes,
        quota_bytes: state.quota_bytes,
        memory_bytes: state.memory_bytes,
        lanes: lanes(state),
        commit_interval_ms: millis(state.commit_interval),
        loss_window_ms: millis(state.loss_window),
        alarms: state
            .alarms
            .iter()
            .copied()
            .map(SpoolAlarm::as_str)
            .map(str::to_owned)
            .collect(),
        disk_trouble: state.disk_trouble.clone(),
        counters: counters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

fn lanes(state: &SpoolState) -> Vec<LaneReport> {
    let lane = |(lane, used): (Lane, &LaneUse)| {
        let held = state
            .held
            .iter()
            .filter(|held| held.lane == lane && held.first > 0);
        LaneReport {
            lane: lane.as_str().to_owned(),
            records: held
                .map(|held| (held.last + 1).saturating_sub(held.first))
                .sum(),
            last_seq: state.last_seq(lane),
            bytes: used.bytes,
            share_bytes: used.share_bytes,
            full: used.full.as_str().to_owned(),
            thinned_to_s: used.thinned_to.map(|bucket| bucket.as_secs()),
        }
    };
    Lane::ALL.into_iter().zip(&state.lanes).map(lane).collect()
}

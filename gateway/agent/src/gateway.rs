//! The gateway's life: start in order, react, stop in order.
//!
//! ```text
//! start:  state directory → spool → pipeline → drivers → local endpoint → uplink
//! stop:   drivers → pipeline flush → uplink drain → spool close; each stage has a deadline
//! ```
//!
//! Polling never depends on the uplink, the network or a right clock. A driver's panic is its
//! supervisor's business; when spool, pipeline or uplink end by themselves the process ends with an
//! error and is started again from outside. The watchdog hears of progress only after a round trip
//! through the spool, on the thread that everything else runs on.

mod clocks;
mod gnss;
mod swap;

use crate::alarm_file;
use crate::clock_watch::Seen;
use crate::control::{self, CurrentReach, Reach};
use crate::events::Events;
use crate::exit::Exit;
use crate::generation::{Generation, Shared, prepare};
use crate::links::SkipReporter;
use crate::reload::Chosen;
use crate::snapshot::{Running, Source};
use crate::spool_watch::SpoolWatch;
use crate::uplink::{Ground, Uplink};
use crate::{boot, http, last_good, lock, systemd, uplink};
use anyhow::Context;
use clocks::Clocks;
use gateway_config::GatewayConfig;
use gateway_spool::{OpenReport, SpoolHandle, SpoolState};
use protocols_model::{BootId, Clock, SystemClock};
use protocols_wire::EventKind;
use std::fs::File;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

/// How often clocks, skipped polls and a missing identity are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What the uplink may use to send what the stop brought to light.
const UPLINK_GRACE: Duration = Duration::from_secs(5);
/// The last event; a spool that hangs must not keep the rest from its turn.
const EVENT_DEADLINE: Duration = Duration::from_secs(2);
/// Writing the spool's memory to a slow disk.
const SPOOL_DEADLINE: Duration = Duration::from_secs(10);

/// The last report of a gateway that stopped, for `status`.
pub(crate) const LAST_REPORT_FILE: &str = "last-report.json";

/// A running gateway.
pub(crate) struct Gateway {
    path: PathBuf,
    config: Arc<GatewayConfig>,
    spool: SpoolHandle,
    spool_state: watch::Receiver<Arc<SpoolState>>,
    shared: Shared,
    generation: Generation,
    ground: Ground,
    uplink: Option<Uplink>,
    source: Arc<Source>,
    clocks: Clocks,
    skips: SkipReporter,
    spool_watch: SpoolWatch,
    _lock: Option<File>,
    _endpoint: AbortOnDropHandle<()>,
    _alarms: AbortOnDropHandle<()>,
    /// Something in the running configuration must not leave the site.
    private: bool,
    reach: CurrentReach,
    _door: Option<AbortOnDropHandle<()>>,
    _watchdog: AbortOnDropHandle<()>,
}

enum Wake {
    Stop(&'static str),
    Reload,
    Look,
    Failed(String),
}

/// What wakes the gateway. Made before anything is started: a signal that comes early is kept.
pub(crate) struct Wakers {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    look: Interval,
}

impl Wakers {
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            look,
        })
    }
}

/// Makes the state directory. Where it cannot be made the spool runs in memory, and says so.
fn make_folder(state_dir: &Path) {
    if let Err(error) = std::fs::create_dir_all(state_dir) {
        tracing::error!(%error, "cannot make the state directory {}", state_dir.display());
    }
}

/// Opens the spool on a thread that may block.
async fn open_spool(
    config: &GatewayConfig,
    clock: &Arc<dyn Clock>,
    boot: BootId,
) -> anyhow::Result<(SpoolHandle, OpenReport)> {
    let (spool, clock) = (config.spool.clone(), Arc::clone(clock));
    let open = move || gateway_spool::start(spool, clock, boot);
    tokio::task::spawn_blocking(open)
        .await
        .context("the spool could not be opened")
}

impl Gateway {
    /// Starts everything; when it returns, devices are being read.
    pub(crate) async fn start(path: PathBuf, mut chosen: Chosen) -> anyhow::Result<Self> {
        let config = Arc::clone(&chosen.config);
        let state_dir = config.gateway.state_dir.clone();
        make_folder(&state_dir);
        let lock = lock::take(&state_dir)?;
        let boot = boot::draw()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let started = clock.wall();
        let clocks = Clocks::start(&config, &clock, boot).await;
        let (spool, found) = open_spool(&config, &clock, boot).await?;
        let events = Events {
            spool: spool.clone(),
            clock: Arc::clone(&clock),
            boot,
        };
        let (live, live_seen) = watch::channel(false);
        let shared = Shared {
            events,
            stats: Arc::default(),
            live: live_seen,
            alarms: watch::Sender::new(alarm_file::read(&state_dir)),
        };
        let kept = alarm_file::keep(state_dir.clone(), shared.alarms.subscribe());
        let about = swap::about(&path, &chosen);
        let field = std::mem::take(&mut chosen.field);
        let generation = prepare(&config, field, &shared)?.start(&shared);
        let reach = Arc::new(Mutex::new(Reach::of(&generation, &chosen.revision)));
        let ground = Ground {
            spool: spool.clone(),
            clock: Arc::clone(&clock),
            boot,
            state_dir: state_dir.clone(),
            clock_synced: Arc::new(AtomicBool::new(false)),
            live,
            began: Arc::new(AtomicBool::new(false)),
        };
        uplink::warn_of_readable_secret(&config);
        let uplink = Uplink::start(&config, &chosen.revision, &ground);
        let source = Arc::new(Source {
            boot,
            clock,
            started,
            stats: Arc::clone(&shared.stats),
            spool: spool.state(),
            alarms: shared.alarms.subscribe(),
            running: Mutex::new(Running {
                slots: generation.slots(),
                uplink: uplink.as_ref().map(Uplink::view),
                ..Running::new(&config, about)
            }),
        });
        let gateway = Self {
            path,
            spool_state: spool.state(),
            generation,
            uplink,
            clocks,
            skips: SkipReporter::new(),
            spool_watch: SpoolWatch::new(),
            _lock: lock,
            _endpoint: http::start(&config, Arc::clone(&source)).await,
            _alarms: AbortOnDropHandle::new(tokio::spawn(kept)),
            _door: control::start(&state_dir, Arc::clone(&reach), Arc::clone(&source)),
            private: chosen.private,
            reach,
            _watchdog: AbortOnDropHandle::new(tokio::spawn(systemd::feed_watchdog(spool.clone()))),
            config,
            spool,
            shared,
            ground,
            source,
        };
        gateway.tell_start(&chosen, &found).await;
        if !chosen.last_good {
            gateway.keep(&chosen);
        }
        systemd::ready();
        Ok(gateway)
    }

    /// Runs until it is told to stop, or until something ended that must not.
    pub(crate) async fn run(mut self, mut wakers: Wakers) -> anyhow::Result<Exit> {
        loop {
            match self.wait(&mut wakers).await {
                Wake::Stop(why) => return Ok(self.stop(why).await),
                Wake::Reload => self = self.reload().await?,
                Wake::Look => self.look().await,
                Wake::Failed(what) => {
                    tracing::error!("{what}");
                    // Whatever still works gets the chance to bring its part home.
                    self.stop("failure").await;
                    anyhow::bail!("{what}; it must be started again");
                }
            }
        }
    }

    async fn wait(&mut self, wakers: &mut Wakers) -> Wake {
        let uplink = async {
            match &mut self.uplink {
                Some(uplink) => uplink.ended().await,
                None => pending().await,
            }
        };
        let spool = async { while self.spool_state.changed().await.is_ok() {} };
        tokio::select! {
            biased;
            _ = wakers.terminate.recv() => Wake::Stop("SIGTERM"),
            _ = wakers.interrupt.recv() => Wake::Stop("SIGINT"),
            _ = wakers.hangup.recv() => Wake::Reload,
            () = spool => Wake::Failed("the spool has ended".to_owned()),
            why = self.generation.pipeline_ended() => Wake::Failed(format!("the pipeline has ended: {why}")),
            ended = uplink => Wake::Failed(match ended {
                Ok(()) => "the uplink has ended by itself".to_owned(),
                Err(error) => error.to_string(),
            }),
            _ = wakers.look.tick() => Wake::Look,
        }
    }

    async fn tell_start(&self, chosen: &Chosen, found: &OpenReport) {
        let events = &self.shared.events;
        let version = env!("CARGO_PKG_VERSION");
        let mut told = vec![(
            EventKind::Started,
            self.config.gateway.id.to_string(),
            format!(
                "fogline-gateway {version}, configuration {}, {} records from before",
                chosen.revision, found.records
            ),
        )];
        if chosen.last_good {
            let text = "the configuration has errors; the last good one runs".to_owned();
            told.push((
                EventKind::Configuration,
                self.path.display().to_string(),
                text,
            ));
        }
        let quarantined = found.quarantined.as_ref();
        let quarantined =
            quarantined.map(|path| format!("a damaged store was set aside: {}", path.display()));
        let unusable = found
            .disk_unusable
            .as_ref()
            .map(|why| format!("the disk cannot be used: {why}"));
        let notes = found
            .notes
            .iter()
            .cloned()
            .chain(quarantined)
            .chain(unusable);
        told.extend(notes.map(|text| (EventKind::Spool, String::new(), text)));
        events.tell_all(told).await;
        tracing::info!("{}", chosen.summary);
    }

    /// Keeps the files of a configuration that came up. Failing to is no reason to stop.
    fn keep(&self, chosen: &Chosen) {
        last_good::note_place(&self.path, &self.config.gateway.state_dir);
        if let Err(error) = last_good::save(&self.config.gateway.state_dir, &chosen.files) {
            tracing::warn!("{error:#}");
        }
    }

    async fn look(&mut self) {
        let clock = &self.shared.events.clock;
        let found = self.clocks.found.borrow().clone();
        let synced = found.confirmed_by().is_some();
        self.ground.clock_synced.store(synced, Ordering::Relaxed);
        let gnss = gnss::look(&self.config, &self.generation, clock.as_ref()).await;
        self.source.update(|running| {
            found.tell(&mut running.time);
            running.time.gnss = gnss.as_ref().map(|(report, _)| report.clone());
        });
        let gnss = gnss.and_then(|(_, origin)| origin);
        let (mono, wall) = (clock.monotonic(), clock.wall());
        for seen in self.clocks.watch.look(mono, wall, synced, gnss) {
            match seen {
                Seen::Step(ns) => {
                    self.source.update(|running| {
                        let time = &mut running.time;
                        time.steps += 1;
                        time.last_step_ms = Some(ns / 1_000_000);
                        time.last_step_at = Some(wall.as_millis());
                    });
                    let text = format!("the wall clock stepped by {} ms", ns / 1_000_000);
                    self.shared
                        .events
                        .tell(EventKind::ClockStep, "", text)
                        .await;
                }
                Seen::Map(origin, uncertainty) => {
                    self.shared.events.map(origin, uncertainty).await;
                    let within = Some(uncertainty / 1_000_000);
                    self.source
                        .update(|running| running.time.placed_within_ms = within);
                    let earlier = self.clocks.boots.mapped(mono, origin, uncertainty);
                    self.shared.events.maps(earlier).await;
                }
            }
        }
        self.clocks.boots.look(mono);
        let state = Arc::clone(&self.spool_state.borrow());
        let mut events = self.spool_watch.look(mono, &state);
        events.extend(self.skips.look(mono, &self.generation.slots()));
        if !events.is_empty() {
            self.shared.events.tell_all(events).await;
        }
        if let Some(uplink) = &mut self.uplink
            && uplink.look(&self.ground).await
        {
            self.show_uplink();
        }
        let totals = self.shared.stats.totals();
        let held = state.records;
        systemd::line(&format!(
            "{} readings, {held} records in the spool",
            totals.taken
        ));
    }

    fn show_uplink(&self) {
        let view = self.uplink.as_ref().map(Uplink::view);
        self.source.update(|running| running.uplink = view);
    }

    async fn stop(mut self, why: &'static str) -> Exit {
        tracing::info!("stopping: {why}");
        systemd::stopping();
        let state_dir = self.config.gateway.state_dir.clone();
        let handed_over = self.generation.stop().await;
        // The task that keeps them may not come to the last change any more.
        let alarms = self.shared.alarms.borrow().clone();
        alarm_file::keep_last(&state_dir, &alarms);
        let gateway = self.config.gateway.id.to_string();
        let events = &self.shared.events;
        self.clocks.boots.note(events.now());
        let last = events.tell(EventKind::Stopping, &gateway, why.to_owned());
        if tokio::time::timeout(EVENT_DEADLINE, last).await.is_err() {
            tracing::error!("the spool does not take the last event");
        }
        let sent = match self.uplink.take() {
            Some(uplink) => uplink.stop(UPLINK_GRACE).await,
            None => false,
        };
        let report = self.source.report();
        // What did not reach the spool is lost: the next start claims it like a crash tail.
        let closed = if handed_over {
            self.spool.stop(SPOOL_DEADLINE).await
        } else {
            self.spool.stop_incomplete(SPOOL_DEADLINE).await
        };
        if let Err(error) = &closed {
            tracing::error!("the spool was not closed cleanly: {error}");
        }
        if let Ok(json) = serde_json::to_vec(&report) {
            let kept = last_good::replace(&state_dir.join(LAST_REPORT_FILE), &json);
            if let Err(error) = kept {
                tracing::warn!(%error, "the last report is not kept");
            }
        }
        if let Err(error) = std::fs::remove_file(state_dir.join(http::ADDRESS_FILE)) {
            tracing::debug!(%error, "the endpoint's address file is not there");
        }
        tracing::info!(everything_sent = sent, "stopped");
        if handed_over && closed.is_ok() {
            Exit::Done
        } else {
            Exit::Failed
        }
    }
}

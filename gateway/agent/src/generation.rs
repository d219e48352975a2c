//! Everything that one configuration runs: its drivers and its pipeline, started and stopped
//! together. A reload swaps generations; spool and uplink live on.

use crate::events::Events;
use crate::field::{self, Desks};
use crate::point_names::PointNames;
use crate::processing;
use crate::reload::Field;
use crate::supervisor::{BusSlot, supervise};
use gateway_config::{BusConfig, GatewayConfig};
use gateway_pipeline::{
    ASK_CAPACITY, Ask, BatchAge, Inputs, KeptAlarms, Pipeline, SWEEP_CAPACITY, Stats, Writable,
};
use gateway_rules::Engine;
use gateway_spool::SpoolStopped;
use protocols_driver::{BusStatus, DriverContext, STOP_BOUND, Sweep, order_queue};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Drivers promise to return within their bound; then they are let go.
const DRIVERS_DEADLINE: Duration = STOP_BOUND.saturating_add(Duration::from_secs(1));
/// The pipeline seals one batch and waits for the spool to take it.
const PIPELINE_DEADLINE: Duration = Duration::from_secs(5);

/// What generations share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) events: Events,
    pub(crate) stats: Arc<Stats>,
    /// Whether the uplink is live.
    pub(crate) live: watch::Receiver<bool>,
    /// The alarms that must survive a restart and a reload.
    pub(crate) alarms: watch::Sender<KeptAlarms>,
}

/// Everything checked and built, nothing started: what can fail has not failed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pipeline: Pipeline,
    buses: Vec<BusConfig>,
    names: Arc<PointNames>,
    state_dir: PathBuf,
}

/// A running configuration.
#[derive(Debug)]
pub(crate) struct Generation {
    stop: CancellationToken,
    supervisors: JoinSet<()>,
    pipeline: JoinSet<Result<(), SpoolStopped>>,
    /// The pipeline ends with its last sender. This one is there also when no bus is: a gateway that
    /// has nothing to read yet stays up and reachable.
    sweeps: mpsc::Sender<Sweep>,
    slots: Arc<[Arc<BusSlot>]>,
    desks: Desks,
    names: Arc<PointNames>,
    asks: mpsc::Sender<Ask>,
}

/// Builds what a configuration asks for.
///
/// # Errors
/// What the configuration's own check could not see.
pub(crate) fn prepare(
    config: &GatewayConfig,
    field: Field,
    shared: &Shared,
) -> anyhow::Result<Prepared> {
    let age = config.uplink.as_ref();
    let age = age.map_or_else(BatchAge::default, |uplink| BatchAge {
        live: uplink.batch_live,
        offline: uplink.batch_offline,
    });
    let clock = &shared.events.clock;
    let now = (clock.monotonic(), clock.wall());
    let names = Arc::new(PointNames::of(&field.points));
    let (setup, rules) = processing::setup(field.points, field.fog);
    // The alarms are taken at the start: those of a configuration that still runs may change until then.
    let engine = Engine::new(rules, KeptAlarms::new(), now.0);
    let pipeline = Pipeline::try_new(setup, engine, age, Arc::clone(&shared.stats), now)?;
    for bus in &field.buses {
        field::driver(bus, None)?;
    }
    Ok(Prepared {
        pipeline,
        buses: field.buses,
        names,
        state_dir: config.gateway.state_dir.clone(),
    })
}

impl Prepared {
    /// Starts the pipeline, then the drivers.
    pub(crate) fn start(mut self, shared: &Shared) -> Generation {
        let events = &shared.events;
        let kept = shared.alarms.borrow().clone();
        let now = events.clock.monotonic();
        self.pipeline.engine().restore(kept, now);
        let stop = CancellationToken::new();
        let (sweeps, receiver) = mpsc::channel(SWEEP_CAPACITY);
        let (asks, asked) = mpsc::channel(ASK_CAPACITY);
        let mut desks = Desks::default();
        let buses: Vec<_> = self
            .buses
            .into_iter()
            .map(|bus| {
                let (desk, orders) = order_queue();
                desks.add(bus.clone(), desk);
                (bus, orders)
            })
            .collect();
        let written = self.pipeline.written();
        let writable: Writable = written
            .filter_map(|point| Some((point, desks.desk(point)?)))
            .collect();
        let inputs = Inputs {
            sweeps: receiver,
            spool: events.spool.clone(),
            live: shared.live.clone(),
            boot: events.boot,
            writable,
            asks: asked,
            alarms: shared.alarms.clone(),
        };
        let mut pipeline = JoinSet::new();
        pipeline.spawn(gateway_pipeline::run(
            self.pipeline,
            inputs,
            Arc::clone(&events.clock),
        ));
        let mut supervisors = JoinSet::new();
        let mut slots = Vec::new();
        for (bus, orders) in buses {
            let context = DriverContext {
                sweeps: sweeps.clone(),
                stop: stop.clone(),
                clock: Arc::clone(&events.clock),
                orders,
            };
            let status = BusStatus::new(Arc::clone(bus.name()), bus.devices());
            let slot = Arc::new(BusSlot::new(Arc::new(status)).planned(planned_load(&bus)));
            slots.push(Arc::clone(&slot));
            let state_dir = self.state_dir.clone();
            let make = move || {
                field::driver(&bus, Some(&state_dir))
                    .expect("invariant: the same bus was accepted before")
            };
            supervisors.spawn(supervise(make, slot, context, events.clone()));
        }
        Generation {
            stop,
            supervisors,
            pipeline,
            sweeps,
            slots: slots.into(),
            desks,
            names: self.names,
            asks,
        }
    }
}

impl Generation {
    /// Where points of this generation are written.
    pub(crate) fn desks(&self) -> Desks {
        self.desks.clone()
    }

    /// What its points are called.
    pub(crate) fn names(&self) -> Arc<PointNames> {
        Arc::clone(&self.names)
    }

    /// Where the pipeline is asked.
    pub(crate) fn asks(&self) -> mpsc::Sender<Ask> {
        self.asks.clone()
    }

    /// The buses of this generation.
    pub(crate) fn slots(&self) -> Arc<[Arc<BusSlot>]> {
        Arc::clone(&self.slots)
    }

    /// Waits until the pipeline ends although nobody stopped it. Cancel-safe.
    pub(crate) async fn pipeline_ended(&mut self) -> String {
        let ended = self.pipeline.join_next().await;
        ended.map_or_else(|| "it had ended before".to_owned(), why)
    }

    /// Stops the drivers, then lets the pipeline hand over what it has. Returns whether all of it
    /// reached the spool.
    pub(crate) async fn stop(mut self) -> bool {
        self.stop.cancel();
        let all = async { while self.supervisors.join_next().await.is_some() {} };
        if tokio::time::timeout(DRIVERS_DEADLINE, all).await.is_err() {
            let left = self.supervisors.len();
            tracing::warn!(left, "drivers did not stop in time and are let go");
            self.supervisors.shutdown().await;
        }
        drop(self.sweeps);
        match tokio::time::timeout(PIPELINE_DEADLINE, self.pipeline.join_next()).await {
            Ok(Some(Ok(Ok(())))) => true,
            Ok(Some(ended)) => {
                tracing::error!("the pipeline failed while it stopped: {}", why(ended));
                false
            }
            Ok(None) => false,
            Err(_) => {
                tracing::error!("the pipeline did not hand over its last batch in time");
                false
            }
        }
    }
}

/// The part of a bus' time that its schedule takes; nobody plans the air and what is listened to.
fn planned_load(bus: &BusConfig) -> Option<f64> {
    match bus {
        BusConfig::Modbus(bus) => Some(protocols_modbus::load::load(bus, None).share),
        BusConfig::Serial(_) | BusConfig::Ble(_) => None,
    }
}

fn why(ended: Result<Result<(), SpoolStopped>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}

//! Drivers run for a moment, by hand: their readings taken, their orders placed, then stopped.
//!
//! A serial port has one owner: whoever has it is named before anything is tried.

use super::names::Named;
use crate::field;
use anyhow::{Context, anyhow};
use gateway_config::BusConfig;
use protocols_driver::{
    CancellationToken, DriverContext, OrderDesk, STOP_BOUND, Sweep, order_queue,
};
use protocols_line::OpenError;
use protocols_model::{Clock, Reading, SystemClock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Sweeps that may wait to be printed.
const ROOM: usize = 256;

/// Drivers under way.
pub(super) struct Direct {
    stop: CancellationToken,
    drivers: JoinSet<()>,
    sweeps: mpsc::Receiver<Sweep>,
    desks: Vec<(BusConfig, OrderDesk)>,
    clock: Arc<dyn Clock>,
}

impl Direct {
    /// Starts a driver for each bus.
    ///
    /// # Errors
    /// A bus whose port somebody else has.
    pub(super) async fn start(buses: Vec<BusConfig>) -> anyhow::Result<Self> {
        for bus in &buses {
            check_free(bus).await?;
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let stop = CancellationToken::new();
        let (sender, sweeps) = mpsc::channel(ROOM);
        let mut drivers = JoinSet::new();
        let mut desks = Vec::new();
        for bus in buses {
            let (desk, orders) = order_queue();
            let context = DriverContext {
                sweeps: sender.clone(),
                stop: stop.clone(),
                clock: Arc::clone(&clock),
                orders,
            };
            drivers.spawn(field::driver(&bus, None)?.run(context));
            desks.push((bus, desk));
        }
        Ok(Self {
            stop,
            drivers,
            sweeps,
            desks,
            clock,
        })
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where orders for the first bus are placed.
    pub(super) fn desk(&self) -> anyhow::Result<OrderDesk> {
        let first = self.desks.first();
        first
            .map(|(_, desk)| desk.clone())
            .context("there is no bus")
    }

    /// The next readings; `None` when every driver has ended. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Vec<Reading>> {
        self.sweeps.recv().await.map(|sweep| sweep.readings)
    }

    /// The first telling reading of each of `points`, as far as they come within `wait`. "The link is
    /// down" and "not asked" tell little as long as there is time for more.
    pub(super) async fn first(
        &mut self,
        points: &[Named],
        wait: Duration,
    ) -> BTreeMap<u32, Reading> {
        let mut found = BTreeMap::new();
        let mut waiting: Vec<u32> = points.iter().map(|point| point.key.0).collect();
        let deadline = tokio::time::Instant::now() + wait;
        while !waiting.is_empty() {
            let Ok(Some(readings)) = tokio::time::timeout_at(deadline, self.next()).await else {
                break;
            };
            for reading in readings {
                if !says_little(&reading) {
                    waiting.retain(|key| *key != reading.point.0);
                }
                found.insert(reading.point.0, reading);
            }
        }
        found
    }

    /// Stops the drivers and closes their ports.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        self.sweeps.close();
        let all = async { while self.drivers.join_next().await.is_some() {} };
        // One that does not keep its bound ends with the process.
        drop(tokio::time::timeout(STOP_BOUND, all).await);
    }
}

fn says_little(reading: &Reading) -> bool {
    use protocols_model::{Quality, Reason};
    matches!(
        reading.quality,
        Quality::Bad(Reason::LinkDown | Reason::NotAsked)
    )
}

/// Whether the port of a bus is free; who has it, if not, and what to do.
async fn check_free(bus: &BusConfig) -> anyhow::Result<()> {
    let Some(port) = bus.serial_port() else {
        return Ok(());
    };
    match protocols_line::open(&port).await {
        Ok(_) => Ok(()),
        Err(error) => Err(explain_port(error)),
    }
}

/// Why a port cannot be opened, and what to do.
pub(super) fn explain_port(error: OpenError) -> anyhow::Error {
    match &error {
        OpenError::Held { holder, .. } => {
            let remedy = if holder.program.starts_with("fogline-gatewa") {
                "a gateway reads this port: look at its readings with `fogline-gateway status`, write through it with `fogline-gateway write --config`, or stop it first (systemctl stop fogline-gateway)"
            } else {
                "end that program first"
            };
            anyhow!("{error}; {remedy}")
        }
        _ => error.into(),
    }
}

/// Why a bus that gave nothing could not be reached, as far as asking again tells.
pub(super) async fn why_unreachable(bus: &BusConfig) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let BusConfig::Modbus(modbus) = bus else {
        return None;
    };
    use protocols_modbus::config::Transport;
    let (host, port) = match &modbus.transport {
        Transport::Tcp { host, port } | Transport::RtuOverTcp { host, port, .. } => (host, *port),
        Transport::Rtu { .. } => return None,
    };
    let connecting = tokio::net::TcpStream::connect((host.as_str(), port));
    match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("{host}:{port}: {error}")),
        Err(_) => Some(format!("{host}:{port}: no answer in {PATIENCE:?}")),
    }
}

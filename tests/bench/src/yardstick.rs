//! The yardstick: a bare loop of the same libraries, with durability and TLS and nothing else.
//!
//! tokio-modbus polls every unit on one grid of a second, the raw registers of all units go to sled
//! as one record a second, `flush` and `sync_data`, are published at `QoS 1` by rumqttc over TLS, and
//! leave sled at the PUBACK. No configuration, no qualities, no filters, no identities, no
//! compression, no acknowledgement from a database: what a gateway costs on top of this is what it
//! adds. Any failure ends it, and with it the measurement.

use crate::broker::{Identity, QUEUE};
use anyhow::Context as _;
use rumqttc::{Event, EventLoop, Packet, QoS};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_modbus::client::{Context, Reader as _, tcp};
use tokio_modbus::slave::Slave;

/// What the loop is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Yardstick {
    /// Where each unit listens.
    #[arg(long, value_delimiter = ',', required = true)]
    units: Vec<SocketAddr>,
    /// Registers of each unit.
    #[arg(long)]
    registers: u16,
    /// The broker, `host:port`.
    #[arg(long)]
    broker: String,
    /// The identity file: client id, CA, certificate, key.
    #[arg(long)]
    identity: PathBuf,
    /// sled's folder.
    #[arg(long)]
    spool: PathBuf,
}

/// As the gateway's own poll period and batch age.
const PERIOD: Duration = Duration::from_secs(1);
/// All connections are made before the first poll, so that all polls share one grid.
const HEAD_START: Duration = Duration::from_secs(1);
/// After the polls of a second: their answers are there.
const GATHER: Duration = Duration::from_millis(500);
/// Publishes under way at most.
const INFLIGHT: u16 = 16;

/// Runs until the process is ended from outside.
pub(crate) async fn run(args: Yardstick) -> anyhow::Result<std::process::ExitCode> {
    let spool = sled::Config::default()
        .path(&args.spool)
        .flush_every_ms(None)
        .cache_capacity(8 << 20)
        .open()
        .context("opening sled")?;
    let file = std::fs::File::open(args.spool.join("db"))?;
    let identity = Identity::read(&args.identity)?;
    let (client, events) = identity.client(&args.broker, INFLIGHT)?;
    // Granted to every gateway, and no topic of readings: the cloud sets these aside.
    let topic = format!("gw/{}/up/reply", identity.gateway);
    let spool = Arc::new(spool);
    let (published, confirmed) = mpsc::channel(QUEUE);
    let begin = Instant::now() + HEAD_START;
    let (answers, mut gathered) = mpsc::channel(args.units.len().max(1));
    let mut tasks = JoinSet::new();
    tasks.spawn(confirm(events, confirmed, Arc::clone(&spool)));
    for &unit in &args.units {
        tasks.spawn(poll(unit, args.registers, begin, answers.clone()));
    }
    let mut tick = interval_at(begin + GATHER, PERIOD);
    let mut seq = 0u64;
    let mut record = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => {
                ended?.context("the yardstick broke")?;
                anyhow::bail!("a part of the yardstick ended");
            }
            _ = tick.tick() => {
                seq += 1;
                let bytes = std::mem::take(&mut record);
                spool.insert(seq.to_be_bytes(), bytes.as_slice())?;
                spool.flush()?;
                file.sync_data()?;
                published.send(seq).await?;
                client.publish(&topic, QoS::AtLeastOnce, false, bytes).await?;
            }
            Some(registers) = gathered.recv() => {
                let registers: Vec<u16> = registers;
                record.extend(registers.iter().flat_map(|word| word.to_be_bytes()));
            }
        }
    }
}

async fn poll(
    unit: SocketAddr,
    registers: u16,
    begin: Instant,
    answers: mpsc::Sender<Vec<u16>>,
) -> anyhow::Result<()> {
    let mut context: Context = tcp::connect_slave(unit, Slave(1)).await?;
    let mut tick = interval_at(begin, PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let words = context.read_input_registers(0, registers).await??;
        answers.send(words).await?;
    }
}

/// Drives the connection; a record leaves sled when the broker has it.
async fn confirm(
    mut events: EventLoop,
    mut published: mpsc::Receiver<u64>,
    spool: Arc<sled::Db>,
) -> anyhow::Result<()> {
    let mut waiting = VecDeque::new();
    loop {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
            while let Ok(seq) = published.try_recv() {
                waiting.push_back(seq);
            }
            let seq = waiting.pop_front().context("a PUBACK for nothing")?;
            spool.remove(u64::to_be_bytes(seq))?;
        }
    }
}

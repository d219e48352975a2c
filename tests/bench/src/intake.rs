//! What ingest and database take: many gateways at once as fast as they are taken, and then how fast
//! the compactor makes blocks of it, because what it cannot follow is not taken for long.

use crate::broker::Identity;
use crate::ingest::{self, Sender};
use crate::measure::{Usage, float};
use crate::rig::Rig;
use anyhow::Context as _;
use protocols_model::{Epoch, Timestamp};
use std::time::Duration;
use tests_fieldsim::answer_log::wall_ns;
use tests_harness::stack::START_LIMIT;
use tests_harness::wait::wait_for;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

/// How long a round may take.
const INGEST_LIMIT: Duration = Duration::from_secs(120);
/// How long the compactor may take for what a whole run left.
const COMPACT_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at the compactor.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What `cloud.toml` says, and what it says here: the shortest that is allowed.
const COMPACT_AFTER: [&str; 2] = ["compact_after_s = 300", "compact_after_s = 10"];
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Senders of the ingest measurement and how far their field time has come.
#[derive(Debug)]
pub(crate) struct IngestLoad {
    /// The senders.
    pub senders: Vec<Sender>,
    epoch: Epoch,
    next: Timestamp,
    /// Published so far.
    records: u64,
    readings: u64,
}

/// One round of ingest.
#[derive(Debug)]
pub(crate) struct IngestRound {
    /// Readings stored.
    pub readings: u64,
    /// From the first publish to the last record visible.
    pub seconds: f64,
    /// What the cloud's process spent.
    pub cloud_cpu_s: f64,
    /// Share of the machine that others took.
    pub foreign: f64,
}

impl Rig {
    /// Has the cloud compact as soon as it may, and waits until it has nothing left to do.
    pub(crate) async fn compact_soon(&mut self) -> anyhow::Result<()> {
        let file = self.stack.cloud_dir().join("cloud.toml");
        let text = std::fs::read_to_string(&file)?;
        let [usual, soon] = COMPACT_AFTER;
        anyhow::ensure!(text.contains(usual), "{} lacks {usual}", file.display());
        std::fs::write(&file, text.replace(usual, soon))?;
        self.stack.cloud.stop(STOP_LIMIT).await?;
        self.stack.cloud.restart()?;
        let url = self.stack.url();
        let address = url.trim_start_matches("https://");
        wait_for("the cloud to be back", START_LIMIT, async || {
            Ok(TcpStream::connect(address).await.map(drop)?)
        })
        .await?;
        wait_for("the compactor to finish", COMPACT_LIMIT, async || {
            let left = self.database.count(0)?;
            anyhow::ensure!(left == 0, "{left} records left");
            Ok(())
        })
        .await
    }

    /// Readings a second that the compactor makes blocks of; nothing else is written meanwhile.
    pub(crate) async fn compaction(&self, load: &IngestLoad) -> anyhow::Result<f64> {
        let deadline = Instant::now() + COMPACT_LIMIT;
        let mut tick = interval(LOOK_EVERY);
        let all = self.database.count(0)?;
        let (mut begun, mut at_begin) = (None, all);
        loop {
            tick.tick().await;
            let left = self.database.count(0)?;
            if begun.is_none() && left < all {
                (begun, at_begin) = (Some(Instant::now()), left);
            }
            if let (0, Some(begun)) = (left, begun) {
                let readings = float(load.readings) * float(at_begin) / float(load.records);
                return Ok(readings / begun.elapsed().as_secs_f64());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{left} of {all} records are not compacted after {COMPACT_LIMIT:?}"
            );
        }
    }

    /// Connects the senders of the ingest measurement and lets each settle its dictionaries.
    pub(crate) async fn ingest_load(&self) -> anyhow::Result<IngestLoad> {
        let broker = self.stack.link.address().to_string();
        let mut senders = Vec::with_capacity(ingest::GATEWAYS);
        for number in 0..ingest::GATEWAYS {
            let file = self.enter(&format!("load-{number}")).await?;
            let identity = Identity::read(&file)?;
            senders.push(Sender::connect(&identity, &broker, number).await?);
        }
        // An hour ago: no stamp of the run lies in the future.
        let begin = Timestamp(wall_ns() / 1_000_000_000 * 1_000_000_000);
        let mut load = IngestLoad {
            senders,
            epoch: Epoch(u64::try_from(begin.0)?),
            next: begin.minus(Duration::from_hours(1)),
            records: 0,
            readings: 0,
        };
        self.ingest(&mut load, 1).await?;
        Ok(load)
    }

    /// Publishes `seconds` of all senders as fast as they are taken, and waits until they are stored.
    pub(crate) async fn ingest(
        &self,
        load: &mut IngestLoad,
        seconds: u32,
    ) -> anyhow::Result<IngestRound> {
        let mut packed = Vec::with_capacity(load.senders.len());
        for sender in &mut load.senders {
            packed.push(sender.pack(load.epoch, load.next, seconds)?);
        }
        load.next = load.next.plus(Duration::from_secs(u64::from(seconds)));
        let records: u64 = packed.iter().map(|load| load.records).sum();
        let readings: u64 = packed.iter().map(|load| load.readings).sum();
        load.records += records;
        load.readings += readings;
        let cloud = self.stack.cloud.id().context("the cloud does not run")?;
        let from = self.edge(cloud).await?;
        let watch = self.database.watch()?;
        let begun = wall_ns();
        ingest::publish(&load.senders, packed).await?;
        wait_for("everything to be stored", INGEST_LIMIT, async || {
            let stored = self.database.count(from.newest)?;
            anyhow::ensure!(stored >= records, "{stored} of {records} records");
            Ok(())
        })
        .await?;
        let usage = Usage::of(cloud)?;
        let to = self.edge(cloud).await?;
        let seen = watch.end().await?;
        let stored = self.database.records(from.newest, to.newest, "")?;
        let last = stored.last().and_then(|record| seen.at(record.row));
        let ended = last.context("the last record was not seen")?;
        let found: u64 = stored.iter().map(|record| record.readings).sum();
        anyhow::ensure!(
            found == readings,
            "{found} of {readings} published readings are stored"
        );
        Ok(IngestRound {
            readings,
            seconds: float(u64::try_from(ended - begun)?) / 1e9,
            cloud_cpu_s: usage.since(&from.usage).cpu_s,
            foreign: to.machine.foreign_since(&from.machine),
        })
    }
}

//! The faults, and how each is done.

use super::damage;
use anyhow::Context as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tests_harness::process::arm;
use tests_harness::proxy::Link;
use tests_harness::stack::Stack;

/// How long an armed fail point may take to be hit.
const HIT_LIMIT: Duration = Duration::from_secs(120);
/// How often a process that is to end by itself is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long it takes at most to fill a spool to its bound; on a quiet machine half a minute.
const FILL_LIMIT: Duration = Duration::from_secs(300);

/// Reads over TCP, fast enough to fill a spool in seconds; a serial line would take minutes.
const FAST_GATEWAY: usize = 0;

/// The fail points that a full set of rounds must hit.
pub(crate) const FAILPOINTS: [&str; 6] = [
    "spool.append",
    "ingest.after_commit",
    "spool.delete",
    "spool.evict",
    "spool.rotate",
    "spool.open",
];

/// What can go wrong in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The gateway is killed and comes back.
    KillGateway,
    /// The gateway is killed and comes back while the broker is down.
    KillGatewayAndBroker,
    /// The broker is killed and comes back.
    KillBroker,
    /// The cloud is killed and comes back.
    KillCloud,
    /// The link is cut.
    CutLink,
    /// The link stalls: connections stay open, nothing moves.
    StallLink,
    /// What the gateways send arrives, nothing comes back.
    HalfOpenLink,
    /// The gateway is killed and its spool damaged.
    DamageSpool,
    /// The link is cut until the spool gives up its oldest; one eviction is interrupted.
    FillSpool,
    /// The gateway's clock steps away and back.
    StepClock,
    /// The gateway ends between appending and publishing.
    EndAtAppend,
    /// The cloud ends between commit and acknowledgement.
    EndAtCommit,
    /// The gateway ends between settling and deleting.
    EndAtDelete,
    /// The gateway ends while the spool moves to a fresh directory.
    EndAtRotate,
    /// The gateway ends while the spool opens.
    EndAtOpen,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::KillGateway,
        Self::KillGatewayAndBroker,
        Self::KillBroker,
        Self::KillCloud,
        Self::CutLink,
        Self::StallLink,
        Self::HalfOpenLink,
        Self::DamageSpool,
        Self::FillSpool,
        Self::StepClock,
        Self::EndAtAppend,
        Self::EndAtCommit,
        Self::EndAtDelete,
        Self::EndAtRotate,
        Self::EndAtOpen,
    ];
}

/// One round.
pub(crate) struct Round<'a> {
    pub(crate) stack: &'a mut Stack,
    pub(crate) random: &'a mut fastrand::Rng,
    pub(crate) hits: &'a Path,
}

impl Round<'_> {
    /// Does one fault and heals it; says who suffered.
    pub(crate) async fn run(&mut self, fault: Fault) -> anyhow::Result<String> {
        let victim = self.random.usize(..self.stack.gateways.len());
        self.pause(500..2500).await;
        let who = match fault {
            Fault::KillBroker => {
                self.stack.broker.kill().await?;
                self.pause(0..6000).await;
                self.stack.broker.restart()?;
                "broker"
            }
            Fault::KillCloud => {
                self.stack.cloud.kill().await?;
                self.pause(0..6000).await;
                self.stack.cloud.restart()?;
                "cloud"
            }
            Fault::CutLink => self.break_link(Link::Cut).await,
            Fault::StallLink => self.break_link(Link::Stalled).await,
            Fault::HalfOpenLink => self.break_link(Link::HalfOpen).await,
            Fault::EndAtCommit => {
                self.end_cloud_at("ingest.after_commit=kill:1:5").await?;
                "cloud"
            }
            _ => {
                let victim = if fault == Fault::FillSpool {
                    FAST_GATEWAY
                } else {
                    victim
                };
                self.hurt_gateway(fault, victim).await?;
                return self.gateway(victim).map(|gateway| gateway.id.clone());
            }
        };
        Ok(who.to_owned())
    }

    async fn hurt_gateway(&mut self, fault: Fault, victim: usize) -> anyhow::Result<()> {
        match fault {
            Fault::KillGatewayAndBroker => {
                self.gateway(victim)?.kill().await?;
                self.stack.broker.kill().await?;
                self.pause(0..2000).await;
                self.gateway(victim)?.restart()?;
                self.pause(2000..6000).await;
                self.stack.broker.restart()?;
            }
            Fault::DamageSpool => {
                // With the link down there is something on the disk to damage.
                self.stack.link.set(Link::Cut);
                self.pause(4000..6000).await;
                let random = &mut *self.random;
                let gateway = self
                    .stack
                    .gateways
                    .get_mut(victim)
                    .context("no such gateway")?;
                gateway.kill().await?;
                damage::one_file(&gateway.dir().join("state/spool"), random)?;
                gateway.note_damage();
                gateway.restart()?;
                self.pause(500..2000).await;
                self.stack.link.set(Link::Passing);
            }
            Fault::FillSpool => self.fill(victim).await?,
            Fault::StepClock => {
                let hours = self.random.i64(1..6);
                let sign = if self.random.bool() { 1 } else { -1 };
                self.gateway(victim)?.step_clock(sign * hours * 3600)?;
                self.pause(4000..8000).await;
                self.gateway(victim)?.step_clock(0)?;
            }
            Fault::EndAtAppend => {
                let nth = self.random.u32(3..20);
                self.end_gateway_at(victim, &format!("spool.append=kill:1:{nth}"))
                    .await?;
            }
            Fault::EndAtDelete => {
                self.end_after_outage(victim, "spool.delete=kill:1:1")
                    .await?;
            }
            Fault::EndAtRotate => {
                self.end_after_outage(victim, "spool.rotate=kill:1:1")
                    .await?;
            }
            Fault::EndAtOpen => self.end_gateway_at(victim, "spool.open=kill:1:1").await?,
            _ => {
                self.gateway(victim)?.kill().await?;
                self.pause(0..8000).await;
                self.gateway(victim)?.restart()?;
            }
        }
        Ok(())
    }

    fn gateway(&mut self, victim: usize) -> anyhow::Result<&mut tests_harness::gateway::Gateway> {
        self.stack
            .gateways
            .get_mut(victim)
            .context("no such gateway")
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(millis))).await;
    }

    async fn break_link(&mut self, how: Link) -> &'static str {
        self.stack.link.set(how);
        self.pause(1000..9000).await;
        self.stack.link.set(Link::Passing);
        "link"
    }

    /// Starts the gateway with a fail point armed, waits until it ended there, starts it in peace.
    async fn end_gateway_at(&mut self, victim: usize, failpoint: &str) -> anyhow::Result<()> {
        self.gateway(victim)?.kill().await?;
        self.start_armed(victim, failpoint)?;
        self.wait_for_end(victim, failpoint).await
    }

    /// As [`Self::end_gateway_at`], with an outage long enough that records reach the disk.
    async fn end_after_outage(&mut self, victim: usize, failpoint: &str) -> anyhow::Result<()> {
        self.gateway(victim)?.kill().await?;
        self.stack.link.set(Link::Cut);
        self.start_armed(victim, failpoint)?;
        // It may well end before the link heals, and when it ended decides what its crash tail is.
        let heals = Instant::now() + Duration::from_millis(self.random.u64(5000..8000));
        while Instant::now() < heals && !self.gateway(victim)?.has_ended()? {
            tokio::time::sleep(LOOK).await;
        }
        self.stack.link.set(Link::Passing);
        self.wait_for_end(victim, failpoint).await
    }

    fn start_armed(&mut self, victim: usize, failpoint: &str) -> anyhow::Result<()> {
        let hits = self.hits.to_owned();
        let gateway = self.gateway(victim)?;
        gateway.arm(failpoint, &hits);
        gateway.restart()
    }

    async fn wait_for_end(&mut self, victim: usize, failpoint: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + HIT_LIMIT;
        let hits = self.hits.to_owned();
        let gateway = self.gateway(victim)?;
        while !gateway.has_ended()? {
            anyhow::ensure!(
                Instant::now() < deadline,
                "{failpoint} was not hit in {HIT_LIMIT:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
        gateway.arm("", &hits);
        gateway.restart()
    }

    async fn end_cloud_at(&mut self, failpoint: &str) -> anyhow::Result<()> {
        self.stack.cloud.kill().await?;
        arm(self.stack.cloud.recipe_mut(), failpoint, self.hits);
        self.stack.cloud.restart()?;
        let deadline = Instant::now() + HIT_LIMIT;
        while self.stack.cloud.ended()?.is_none() {
            anyhow::ensure!(
                Instant::now() < deadline,
                "{failpoint} was not hit in {HIT_LIMIT:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
        arm(self.stack.cloud.recipe_mut(), "", self.hits);
        self.stack.cloud.restart()
    }

    /// Cuts the link until the spool evicts; the second eviction ends the process, the ones after
    /// its restart go on.
    async fn fill(&mut self, victim: usize) -> anyhow::Result<()> {
        self.gateway(victim)?.kill().await?;
        self.stack.link.set(Link::Cut);
        self.start_armed(victim, "spool.evict=kill:1:2")?;
        let deadline = Instant::now() + FILL_LIMIT;
        let hits = self.hits.to_owned();
        while !self.gateway(victim)?.has_ended()? {
            anyhow::ensure!(
                Instant::now() < deadline,
                "the spool was not full in {FILL_LIMIT:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
        let gateway = self.gateway(victim)?;
        gateway.arm("", &hits);
        gateway.restart()?;
        self.pause(4000..8000).await;
        self.stack.link.set(Link::Passing);
        Ok(())
    }
}

//! How each fault is done. Healing everything is the caller's.

use super::fault::Fault;
use anyhow::Context as _;
use std::path::Path;
use std::time::Duration;
use tests_cluster::status::{Status, UnitStatus};
use tests_cluster::{Control, Request};
use tests_harness::wait::wait_for;

/// How long the stream may be without a leader before a fault that needs to know it.
const LEADER_LIMIT: Duration = Duration::from_secs(60);

/// How long what is asked for in order may take: a broker node lets its sessions go over half a minute.
const WISH_LIMIT: Duration = Duration::from_secs(180);
/// Some envelopes and no more.
const FEW_BYTES: u64 = 16 * 1024;

/// One round.
pub(super) struct Round<'a> {
    /// Where our own binaries are.
    pub(super) binaries: &'a Path,
    pub(super) control: &'a Control,
    pub(super) random: &'a mut fastrand::Rng,
}

impl Round<'_> {
    /// Does one fault, and lets it be for a while; says who suffered.
    pub(super) async fn run(&mut self, fault: Fault) -> anyhow::Result<String> {
        self.pause(500..2500).await;
        match fault {
            Fault::KillFollower | Fault::KillLeader => {
                let host = self.broker(fault == Fault::KillLeader).await?;
                let name = process(&host);
                self.ask(Request::Kill { name: name.clone() }).await?;
                // Its supervisor brings it back meanwhile.
                self.pause(2000..6000).await;
                Ok(name)
            }
            Fault::PauseLeader | Fault::PauseFollower => {
                let host = self.broker(fault == Fault::PauseLeader).await?;
                let name = process(&host);
                self.ask(Request::Pause { name: name.clone() }).await?;
                self.pause(5000..16_000).await;
                Ok(name)
            }
            Fault::LeaderLosesPower => {
                let host = self.broker(true).await?;
                self.power_off(&host).await
            }
            Fault::ZoneLosesPower => {
                let zone = ["a", "b", "c"].get(self.random.usize(0..3)).copied();
                self.power_off(zone.unwrap_or("a")).await
            }
            Fault::BalancerLosesPower => {
                let name = format!("lb-{}", self.random.u8(1..=2));
                self.power_off(&name).await
            }
            Fault::OneAgainstTwo | Fault::OneWay | Fault::GatewaysCutFromOneNode => {
                self.partition(fault).await
            }
            Fault::LossAndDelay => {
                let slow = Request::Slow {
                    from: "all".to_owned(),
                    to: "all".to_owned(),
                    delay_ms: 200,
                    loss: 0.05,
                    rate: None,
                };
                self.ask(slow).await?;
                self.pause(10_000..20_000).await;
                Ok("every link".to_owned())
            }
            Fault::KillIngest
            | Fault::KillAuthAndApi
            | Fault::IngestStopped
            | Fault::AuthDown
            | Fault::CloudLosesPower => self.roles(fault).await,
            Fault::DiskFull
            | Fault::StreamDeleted
            | Fault::ConsumerDeleted
            | Fault::StreamAtLimit => self.stream(fault).await,
            Fault::RollingRestart => self.rolling_restart().await,
            Fault::Scale => self.scale().await,
        }
    }

    async fn stream(&mut self, fault: Fault) -> anyhow::Result<String> {
        match fault {
            Fault::DiskFull => {
                let name = self.broker(false).await?;
                self.ask(Request::Fill { name: name.clone() }).await?;
                self.pause(5000..12_000).await;
                Ok(name)
            }
            Fault::StreamDeleted => {
                self.ask(Request::DeleteStream).await?;
                Ok("the stream".to_owned())
            }
            Fault::StreamAtLimit => {
                let name = "ingest-1".to_owned();
                self.ask(Request::Drain { name }).await?;
                self.until("ingest-1 ends", |status| {
                    status
                        .unit("ingest-1")
                        .is_some_and(|unit| unit.state == "off")
                })
                .await?;
                self.ask(Request::BoundStream { bytes: FEW_BYTES }).await?;
                self.pause(15_000..25_000).await;
                Ok("the stream".to_owned())
            }
            _ => {
                self.ask(Request::DeleteConsumer).await?;
                Ok("ingest-live".to_owned())
            }
        }
    }

    async fn scale(&self) -> anyhow::Result<String> {
        for count in [5, 2] {
            let role = "auth".to_owned();
            self.ask(Request::Scale { role, count }).await?;
            self.until("scaled", |status| {
                let is_auth = |unit: &&UnitStatus| unit.name.starts_with("auth-");
                let units = status.hosts.iter().flat_map(|host| &host.units);
                let ready = units
                    .filter(is_auth)
                    .filter(|unit| unit.ready == Some(true));
                ready.count() == usize::from(count) && status.troubles().is_empty()
            })
            .await?;
        }
        Ok("auth 2, 5, 2".to_owned())
    }

    async fn roles(&mut self, fault: Fault) -> anyhow::Result<String> {
        match fault {
            Fault::KillIngest => {
                let name = "ingest-1".to_owned();
                self.ask(Request::Kill { name: name.clone() }).await?;
                self.pause(1000..6000).await;
                Ok(name)
            }
            Fault::KillAuthAndApi => {
                let names = [
                    "api-1".to_owned(),
                    format!("auth-{}", self.random.u8(1..=2)),
                ];
                for name in names.clone() {
                    self.ask(Request::Kill { name }).await?;
                }
                self.pause(1000..6000).await;
                Ok(names.join(", "))
            }
            Fault::IngestStopped => {
                let name = "ingest-1".to_owned();
                self.ask(Request::Drain { name: name.clone() }).await?;
                self.pause(15_000..25_000).await;
                Ok(name)
            }
            Fault::AuthDown => {
                for name in ["auth-1", "auth-2"].map(str::to_owned) {
                    self.ask(Request::Drain { name }).await?;
                }
                let name = format!("lb-{}", self.random.u8(1..=2));
                self.power_off(&name).await?;
                Ok(format!("both auth, {name}"))
            }
            _ => self.power_off("cloud-1").await,
        }
    }

    async fn partition(&mut self, fault: Fault) -> anyhow::Result<String> {
        let leads = self.random.bool();
        let own = self.broker(leads).await?;
        let others: Vec<String> = brokers().filter(|name| *name != own).collect();
        let (from, to): (Vec<String>, &[String]) = match fault {
            Fault::OneAgainstTwo => (vec![own.clone()], &others),
            Fault::OneWay => (vec![own.clone()], others.get(..1).unwrap_or_default()),
            // The way of gateways leads through the balancers.
            _ => (
                vec!["lb-1".to_owned(), "lb-2".to_owned()],
                std::slice::from_ref(&own),
            ),
        };
        for from in &from {
            for to in to {
                let cut = Request::Cut {
                    from: from.clone(),
                    to: to.clone(),
                    one_way: fault == Fault::OneWay,
                };
                self.ask(cut).await?;
            }
        }
        self.pause(8000..20_000).await;
        Ok(own)
    }

    async fn rolling_restart(&mut self) -> anyhow::Result<String> {
        let names = [
            "api-1", "auth-1", "auth-2", "ingest-1", "nats-1", "nats-2", "nats-3",
        ];
        let dir = self.binaries.to_owned();
        for name in names {
            let pid = self
                .control
                .status()
                .await?
                .unit(name)
                .and_then(|unit| unit.pid);
            let again = Request::Upgrade {
                name: name.to_owned(),
                dir: dir.clone(),
            };
            self.ask(again).await?;
            self.until(name, |status| {
                let unit = status.unit(name);
                let is_new = unit.is_some_and(|unit| unit.pid.is_some() && unit.pid != pid);
                is_new && status.troubles().is_empty()
            })
            .await?;
        }
        Ok(format!("{} processes", names.len()))
    }

    /// Waits until the cluster is as wished.
    async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> anyhow::Result<()> {
        wait_for(what, WISH_LIMIT, async || {
            let status = self.control.status().await?;
            anyhow::ensure!(holds(&status), "{}", status.render());
            Ok(())
        })
        .await
    }

    async fn power_off(&mut self, name: &str) -> anyhow::Result<String> {
        let name = name.to_owned();
        self.ask(Request::Kill { name: name.clone() }).await?;
        self.pause(4000..12_000).await;
        Ok(name)
    }

    /// The host of the node that leads the stream, or of one that does not.
    async fn broker(&mut self, leads: bool) -> anyhow::Result<String> {
        let leader = wait_for("a leader of the stream", LEADER_LIMIT, async || {
            let stream = self.control.status().await?.stream;
            Ok(stream.context("nobody leads the stream")?.leader)
        })
        .await?;
        if leads {
            return Ok(leader);
        }
        let others: Vec<String> = brokers().filter(|name| *name != leader).collect();
        let other = others.get(self.random.usize(..others.len()));
        Ok(other.context("no other node")?.clone())
    }

    async fn ask(&self, request: Request) -> anyhow::Result<()> {
        self.control.ask(request).await.map(drop)
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(millis))).await;
    }
}

fn brokers() -> impl Iterator<Item = String> {
    (1..=3).map(|number| format!("broker-{number}"))
}

/// The broker's process on a host.
fn process(host: &str) -> String {
    host.replace("broker", "nats")
}

//! The faults, and how each is done. Healing everything is the caller's.

use anyhow::Context as _;
use std::time::Duration;
use tests_cluster::{Control, Request};
use tests_harness::wait::wait_for;

/// How long the stream may be without a leader before a fault that needs to know it.
const LEADER_LIMIT: Duration = Duration::from_secs(60);

/// What can go wrong in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A broker node that does not lead the stream is killed, and comes back.
    KillFollower,
    /// The node that leads the stream is killed, and comes back.
    KillLeader,
    /// The node that leads the stream stands still, and goes on.
    PauseLeader,
    /// Another node stands still, and goes on.
    PauseFollower,
    /// The host of the leader loses its power, with what its disk was not told to keep.
    LeaderLosesPower,
    /// A zone loses its power: a broker, and in two of three zones a balancer, in one the cloud.
    ZoneLosesPower,
    /// One broker is cut from the other two.
    OneAgainstTwo,
    /// What one broker says to another does not arrive; the other way round it does.
    OneWay,
    /// Gateways are cut from one node; the nodes among themselves are not.
    GatewaysCutFromOneNode,
    /// 5 % of the packets of everybody are lost, the others arrive 200 ms late.
    LossAndDelay,
    /// The process that ingests and maintains the database is killed, and comes back.
    KillIngest,
    /// It ends in order and stays away for a while: the broker holds what comes.
    IngestStopped,
    /// Both that answer for gateways end in order, and a balancer loses its power: whoever was connected
    /// there stays out for as long.
    AuthDown,
    /// One of two that answer for gateways is killed with the API, and both come back.
    KillAuthAndApi,
    /// The host of all cloud roles loses its power, with what the database had not synced.
    CloudLosesPower,
    /// The disk of a broker takes nothing more.
    DiskFull,
    /// Somebody deletes the broker's stream.
    StreamDeleted,
    /// Somebody deletes a consumer of ingest.
    ConsumerDeleted,
    /// The balancer's host loses its power.
    BalancerLosesPower,
}

impl Fault {
    /// All of them.
    const ALL: [Self; 19] = [
        Self::KillFollower,
        Self::KillLeader,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::LeaderLosesPower,
        Self::ZoneLosesPower,
        Self::OneAgainstTwo,
        Self::OneWay,
        Self::GatewaysCutFromOneNode,
        Self::LossAndDelay,
        Self::KillIngest,
        Self::IngestStopped,
        Self::AuthDown,
        Self::KillAuthAndApi,
        Self::CloudLosesPower,
        Self::DiskFull,
        Self::StreamDeleted,
        Self::ConsumerDeleted,
        Self::BalancerLosesPower,
    ];

    /// The faults with these names; all where none is named.
    pub(super) fn named(names: &[String]) -> anyhow::Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(Self::ALL.to_vec());
        }
        let known = || Self::ALL.map(|fault| format!("{fault:?}")).join(", ");
        let find = |name: &String| {
            let is_it = |fault: &Self| format!("{fault:?}").eq_ignore_ascii_case(name);
            let found = Self::ALL.into_iter().find(is_it);
            found.with_context(|| format!("there is no fault {name}; there are {}", known()))
        };
        names.iter().map(find).collect()
    }
}

/// One round.
pub(super) struct Round<'a> {
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
            Fault::ConsumerDeleted => {
                self.ask(Request::DeleteConsumer).await?;
                Ok("ingest-live".to_owned())
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_by_its_name_and_an_unknown_one_tells_what_there_is() {
        let found = Fault::named(&["killleader".to_owned()]).unwrap();
        assert_eq!(found, [Fault::KillLeader]);
        assert_eq!(Fault::named(&[]).unwrap().len(), Fault::ALL.len());
        let error = Fault::named(&["KillKenny".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("OneAgainstTwo"), "{error}");
    }
}

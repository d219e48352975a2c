//! Asks every process how it is, all at once and each with a limit: one that is paused must not keep the
//! others from being seen.

use crate::jetstream;
use crate::status::{GatewayStatus, HostStatus, Status, StreamStatus, UnitStatus};
use std::net::SocketAddr;
use std::time::Duration;
use tests_harness::gateway::Door;
use tests_harness::http;
use tests_net::Host;
use tokio::task::JoinSet;

/// How long one process may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

/// What to ask, and what is known without asking.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) known: Status,
    pub(crate) health: Vec<Health>,
    pub(crate) doors: Vec<Door>,
}

/// Which of those that can be asked say that they are alive.
pub(crate) async fn alive(asked: Vec<Health>) -> Vec<String> {
    let mut asking = JoinSet::new();
    for health in asked {
        asking.spawn(async move {
            let alive = tokio::time::timeout(LIMIT, health.alive()).await;
            alive.unwrap_or(false).then_some(health.unit)
        });
    }
    let mut alive = Vec::new();
    while let Some(answer) = asking.join_next().await {
        alive.extend(answer.ok().flatten());
    }
    alive
}

/// Where a process tells whether it is ready.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) unit: String,
    pub(crate) host: Host,
    pub(crate) address: SocketAddr,
    /// It is a broker node, and is asked for its stream as well.
    pub(crate) is_broker: bool,
}

impl Probe {
    /// Asks.
    pub(crate) async fn take(self) -> Status {
        let mut status = self.known;
        let mut asked = JoinSet::new();
        for health in self.health {
            asked.spawn(async move {
                let ready = tokio::time::timeout(LIMIT, health.ready()).await;
                let stream = tokio::time::timeout(LIMIT, health.stream()).await;
                (health.unit, ready, stream.ok().flatten())
            });
        }
        let mut doors = JoinSet::new();
        for door in self.doors {
            doors.spawn(ask(door));
        }
        let mut told = Vec::new();
        while let Some(answer) = asked.join_next().await {
            let Ok((name, ready, stream)) = answer else {
                continue;
            };
            told.extend(stream);
            if let Some(unit) = unit(&mut status.hosts, &name) {
                let ready = ready.unwrap_or_else(|_| Err("does not answer".to_owned()));
                unit.ready = Some(ready.is_ok());
                unit.reason = ready.err();
            }
        }
        status.stream = jetstream::agreed(&told);
        while let Some(gateway) = doors.join_next().await {
            status.gateways.extend(gateway);
        }
        status.gateways.sort_by(|a, b| a.name.cmp(&b.name));
        status
    }
}

impl Health {
    async fn ready(&self) -> Result<(), String> {
        let path = if self.is_broker {
            "/healthz"
        } else {
            "/readyz"
        };
        let asked = http::ask(Some(&self.host), self.address, path).await;
        match asked {
            Ok((200, _)) => Ok(()),
            Ok((_, why)) => Err(why.lines().collect::<Vec<_>>().join("; ")),
            Err(_) => Err("does not answer".to_owned()),
        }
    }

    /// A node that lost `JetStream`, to a full disk, says so here, and gets it back by a restart alone.
    async fn alive(&self) -> bool {
        let path = if self.is_broker {
            "/healthz?js-enabled-only=true"
        } else {
            "/livez"
        };
        let asked = http::ask(Some(&self.host), self.address, path).await;
        matches!(asked, Ok((200, _)))
    }

    async fn stream(&self) -> Option<StreamStatus> {
        if !self.is_broker {
            return None;
        }
        let page = http::get(Some(&self.host), self.address, jetstream::PAGE).await;
        jetstream::stream_in(&serde_json::from_str(&page.ok()?).ok()?)
    }
}

fn unit<'a>(hosts: &'a mut [HostStatus], name: &str) -> Option<&'a mut UnitStatus> {
    let mut units = hosts.iter_mut().flat_map(|host| &mut host.units);
    units.find(|unit| unit.name == name)
}

async fn ask(door: Door) -> GatewayStatus {
    let asked = tokio::time::timeout(LIMIT, door.status()).await;
    let (status, trouble) = match asked {
        Ok(Ok(status)) => (Some(status), None),
        Ok(Err(error)) => (None, Some(format!("{error:#}"))),
        Err(_elapsed) => (None, Some("does not answer".to_owned())),
    };
    let uplink = status.as_ref().and_then(|status| status.uplink.as_ref());
    let settled = uplink.and_then(|uplink| uplink.counters.get("settled_records"));
    GatewayStatus {
        name: door.id,
        connected: uplink.is_some_and(|uplink| uplink.connected),
        taken: status.as_ref().map_or(0, |status| status.pipeline.taken),
        held: status.as_ref().map_or(0, |status| status.spool.records),
        settled: settled.copied().unwrap_or(0),
        settling_p99_ms: uplink.and_then(|uplink| uplink.settling_p99_ms),
        trouble,
    }
}

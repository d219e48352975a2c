//! How a cluster is: what is known at once, and whom to ask for the rest.

use super::Cluster;
use crate::control::Answer;
use crate::host::Machine;
use crate::plan::MONITOR_PORT;
use crate::probe::{Health, Probe};
use crate::status::{HostStatus, Status, UnitStatus};
use crate::unit::{Role, Unit};
use std::net::SocketAddr;
use tests_harness::gateway::Gateway;
use tests_net::Shape;
use tokio::sync::oneshot;

impl Cluster {
    /// Answers from a task of its own: asking every process takes its time.
    pub(super) fn tell(&self, reply: oneshot::Sender<anyhow::Result<Answer>>) {
        let probe = self.probe();
        tokio::spawn(async move {
            let status = probe.take().await;
            // Whoever asked may have gone.
            drop(reply.send(Ok(Answer::Status(Box::new(status)))));
        });
    }

    fn probe(&self) -> Probe {
        let now = self.now();
        let mut known = Status {
            dashboard: self.dashboard.clone(),
            links: self.bad_links(),
            ..Status::default()
        };
        let (mut health, mut doors) = (Vec::new(), Vec::new());
        for machine in self.machines.values() {
            let plan = &machine.plan;
            let units = self.units.iter().filter(|unit| unit.host == plan.name);
            let mut shown = Vec::new();
            for unit in units {
                shown.push(UnitStatus {
                    name: unit.name.clone(),
                    state: unit.state(now),
                    pid: unit.pid(),
                    ready: None,
                    reason: None,
                    restarts: unit.keeper().restarts(),
                });
                doors.extend(unit.gateway().map(Gateway::door));
                health.extend(health_of(unit, machine));
            }
            known.hosts.push(HostStatus {
                name: plan.name.clone(),
                zone: plan.zone.clone(),
                address: plan.address().to_string(),
                trouble: machine.trouble(),
                units: shown,
            });
        }
        Probe {
            known,
            health,
            doors,
        }
    }

    fn bad_links(&self) -> Vec<String> {
        let mut bad = Vec::new();
        for a in &self.plan.hosts {
            for b in self.plan.hosts.iter().filter(|b| b.number != a.number) {
                let shape = self.fabric.shape(a.address(), b.address());
                if shape != Shape::CLEAN {
                    bad.push(format!("{} → {} {}", a.name, b.name, words(&shape)));
                }
            }
        }
        bad
    }
}

/// Where a process tells whether it is ready.
pub(super) fn health_of(unit: &Unit, machine: &Machine) -> Option<Health> {
    let port = match unit.role {
        Role::Broker => MONITOR_PORT,
        Role::Cloud { health } => health,
        Role::Balancer | Role::Devices | Role::Gateway => return None,
    };
    unit.pid()?;
    Some(Health {
        unit: unit.name.clone(),
        host: machine.host.clone(),
        address: SocketAddr::from((machine.plan.address(), port)),
        is_broker: unit.role == Role::Broker,
    })
}

/// How a link is, for people.
pub(super) fn words(shape: &Shape) -> String {
    if shape.cut {
        return "cut".to_owned();
    }
    let mut parts = Vec::new();
    if !shape.delay.is_zero() {
        parts.push(format!("{} ms late", shape.delay.as_millis()));
    }
    if shape.loss > 0.0 {
        parts.push(format!("{:.0} % lost", shape.loss * 100.0));
    }
    if let Some(rate) = shape.rate {
        parts.push(format!("{} kbit/s", rate / 1000));
    }
    if parts.is_empty() {
        return "clean".to_owned();
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_wrong_with_a_link_is_told_in_words() {
        let slow = Shape {
            delay: Duration::from_millis(200),
            loss: 0.05,
            rate: Some(64_000),
            ..Shape::CLEAN
        };
        assert_eq!(words(&slow), "200 ms late, 5 % lost, 64 kbit/s");
        assert_eq!(words(&Shape::CLEAN), "clean");
    }
}

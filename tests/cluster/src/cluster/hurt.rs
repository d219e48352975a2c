//! What is done to a cluster, and undone: power, pauses, links, disks, the stream.

use super::Cluster;
use super::look::words;
use crate::host::Machine;
use crate::jetstream::{Desk, Harm};
use crate::plan::{HostPlan, Purpose};
use crate::unit::Unit;
use anyhow::Context as _;
use tests_net::Shape;

impl Cluster {
    pub(super) fn unit(&mut self, name: &str) -> anyhow::Result<&mut Unit> {
        let names: Vec<&str> = self.units.iter().map(|unit| unit.name.as_str()).collect();
        let unknown = format!("{name} is no process; there are {}", names.join(", "));
        let mut units = self.units.iter_mut();
        units.find(|unit| unit.name == name).context(unknown)
    }

    fn is_unit(&self, name: &str) -> bool {
        self.units.iter().any(|unit| unit.name == name)
    }

    /// Names of the hosts that a name stands for.
    fn hosts(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let hosts = self.plan.party(name)?;
        Ok(hosts.into_iter().map(|host| host.name.clone()).collect())
    }

    fn machine(&mut self, name: &str) -> anyhow::Result<&mut Machine> {
        let machine = self.machines.get_mut(name);
        machine.with_context(|| format!("there is no host {name}"))
    }

    pub(super) async fn kill(&mut self, name: &str) -> anyhow::Result<String> {
        let now = self.now();
        if self.is_unit(name) {
            self.unit(name)?.kill(now).await?;
            return Ok(format!("{name} was killed; its supervisor starts it again"));
        }
        let hosts = self.hosts(name)?;
        for host in &hosts {
            // Off first: what ends now is not to be started again.
            let units = self.units.iter_mut().filter(|unit| unit.host == *host);
            units.for_each(Unit::off);
            let Self {
                machines, fabric, ..
            } = self;
            if let Some(machine) = machines.get_mut(host) {
                machine.power_off(fabric)?;
            }
        }
        self.tend();
        Ok(format!("no power: {}", hosts.join(", ")))
    }

    pub(super) fn pause(&mut self, name: &str) -> anyhow::Result<String> {
        if self.is_unit(name) {
            self.unit(name)?.pause(true)?;
            return Ok(format!("{name} stands still"));
        }
        let hosts = self.hosts(name)?;
        for host in &hosts {
            self.machine(host)?.pause(true)?;
            let units = self.units.iter_mut().filter(|unit| unit.host == *host);
            for unit in units.filter(|unit| unit.pid().is_some()) {
                unit.pause(true)?;
            }
        }
        Ok(format!("stand still: {}", hosts.join(", ")))
    }

    pub(super) fn shape(
        &self,
        from: &str,
        to: &str,
        both_ways: bool,
        shape: Shape,
    ) -> anyhow::Result<String> {
        for (a, b) in self.plan.pairs(from, to, both_ways)? {
            self.fabric.set(a, b, shape);
        }
        let arrow = if both_ways { "⇄" } else { "→" };
        Ok(format!("{from} {arrow} {to}: {}", words(&shape)))
    }

    pub(super) fn fill(&mut self, name: &str) -> anyhow::Result<String> {
        let machine = self.machine(name)?;
        let disk = machine.disk.as_ref();
        disk.with_context(|| format!("{name} has no disk of its own"))?
            .fill()?;
        Ok(format!("the disk of {name} is full"))
    }

    pub(super) fn heal(&mut self, name: Option<&str>) -> anyhow::Result<String> {
        let now = self.now();
        if let Some(name) = name.filter(|name| self.is_unit(name)) {
            let unit = self.unit(name)?;
            if unit.is_paused() {
                unit.pause(false)?;
            }
            unit.on(now);
            return Ok(format!("{name} runs again"));
        }
        let name = name.unwrap_or("all");
        self.shape(name, "all", true, Shape::CLEAN)?;
        for host in self.hosts(name)? {
            let Self {
                machines,
                fabric,
                units,
                ..
            } = self;
            if let Some(machine) = machines.get_mut(&host) {
                machine.power_on(fabric)?;
                machine.pause(false)?;
            }
            for unit in units.iter_mut().filter(|unit| unit.host == host) {
                if unit.is_paused() {
                    unit.pause(false)?;
                }
                unit.on(now);
            }
        }
        Ok(format!("{name}: healed"))
    }

    pub(super) async fn harm(&self, harm: Harm) -> anyhow::Result<String> {
        let from = self.plan.of(Purpose::Cloud).next();
        let from = from.and_then(|from| self.machines.get(&from.name));
        let is_on = |host: &&HostPlan| {
            let machine = self.machines.get(&host.name);
            machine.is_some_and(|machine| !machine.is_off())
        };
        let node = self.plan.of(Purpose::Broker).find(is_on);
        let desk = Desk {
            host: from.context("no cloud host")?.host.clone(),
            node: node.context("no broker has power")?.address(),
            ca: self.installation.ca(),
            password: self.installation.secret("ingest_password")?,
        };
        tokio::task::spawn_blocking(move || desk.harm(harm)).await??;
        Ok(format!("done: {harm:?}"))
    }
}

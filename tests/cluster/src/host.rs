//! One host of the cluster: a namespace on the network, and a disk of its own where it keeps something.

use crate::disk::Disk;
use crate::plan::HostPlan;
use rustix::process::{Pid, Signal, kill_process};
use tests_net::{Fabric, Host, leftovers};

/// A host that was made.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) plan: HostPlan,
    pub(crate) host: Host,
    pub(crate) disk: Option<Disk>,
    off: bool,
}

impl Machine {
    pub(crate) const fn new(plan: HostPlan, host: Host, disk: Option<Disk>) -> Self {
        Self {
            plan,
            host,
            disk,
            off: false,
        }
    }

    /// Power is lost: nobody hears of it any more, everything on it ends at once, and what its disk was not
    /// told to keep is gone. In this order: a dying process must not say goodbye over the network.
    pub(crate) fn power_off(&mut self, fabric: &Fabric) -> anyhow::Result<()> {
        if self.off {
            return Ok(());
        }
        fabric.plug(self.plan.address(), false);
        self.off = true;
        leftovers::kill_all(self.host.namespace())?;
        match &self.disk {
            Some(disk) => disk.lose_power(),
            None => Ok(()),
        }
    }

    /// Power is back; its supervisor starts what belongs there.
    pub(crate) fn power_on(&mut self, fabric: &Fabric) -> anyhow::Result<()> {
        if let Some(disk) = &self.disk {
            disk.free()?;
        }
        fabric.plug(self.plan.address(), true);
        self.off = false;
        Ok(())
    }

    /// Everything on it stops where it stands, or goes on.
    pub(crate) fn pause(&self, paused: bool) -> anyhow::Result<()> {
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        for pid in leftovers::processes(self.host.namespace())? {
            send(pid, signal);
        }
        Ok(())
    }

    /// What is wrong with it.
    pub(crate) fn trouble(&self) -> Option<String> {
        let is_full = self.disk.as_ref().is_some_and(Disk::is_full);
        match (self.off, is_full) {
            (true, _) => Some("no power".to_owned()),
            (false, true) => Some("disk full".to_owned()),
            (false, false) => None,
        }
    }

    pub(crate) const fn is_off(&self) -> bool {
        self.off
    }
}

fn send(pid: Pid, signal: Signal) {
    // It may have ended meanwhile.
    let _gone = kill_process(pid, signal);
}

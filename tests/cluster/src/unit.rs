//! One process of the cluster: on which host, how it is started, and who keeps it going.

use crate::keeper::{Keeper, Phase};
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;
use tests_harness::gateway::Gateway;
use tests_harness::process::Process;

/// What a process is, to those who ask how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A broker node.
    Broker,
    /// `HAProxy`.
    Balancer,
    /// Cloud roles.
    Cloud {
        /// Where the process tells how it is.
        health: u16,
    },
    /// The simulated devices.
    Devices,
    /// A gateway.
    Gateway,
}

/// What is started and ended.
#[derive(Debug)]
pub enum Body {
    /// Anything.
    Process(Process),
    /// A gateway: its lives are kept for the judge.
    Gateway(Gateway),
}

/// One process under supervision.
#[derive(Debug)]
pub struct Unit {
    /// Its name, unique in the cluster.
    pub name: String,
    /// The host it is on.
    pub host: String,
    /// What it is.
    pub role: Role,
    body: Body,
    keeper: Keeper,
    paused: bool,
    /// It was asked to end, and how it goes on then.
    leaving: Option<Next>,
    gone: bool,
}

/// How it goes on with a process that ended because it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Off,
    Again,
    Gone,
}

impl Unit {
    /// A process that was just started.
    #[must_use]
    pub fn new(name: &str, host: &str, role: Role, body: Body, now: Duration) -> Self {
        let mut keeper = Keeper::default();
        keeper.started(now);
        Self {
            name: name.to_owned(),
            host: host.to_owned(),
            role,
            body,
            keeper,
            paused: false,
            leaving: None,
            gone: false,
        }
    }

    /// Who keeps it going.
    #[must_use]
    pub const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Whether it was stopped by SIGSTOP.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// The gateway, where it is one.
    #[must_use]
    pub const fn gateway(&self) -> Option<&Gateway> {
        match &self.body {
            Body::Gateway(gateway) => Some(gateway),
            Body::Process(_) => None,
        }
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().id()
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        match &self.body {
            Body::Process(process) => process,
            Body::Gateway(gateway) => gateway.process(),
        }
    }

    fn process_mut(&mut self) -> &mut Process {
        match &mut self.body {
            Body::Process(process) => process,
            Body::Gateway(gateway) => gateway.process_mut(),
        }
    }

    /// Notices that it ended, and starts it where it is time.
    ///
    /// # Errors
    /// Where the system will not say, or it cannot be started; it is tried again.
    pub fn tend(&mut self, now: Duration) -> anyhow::Result<()> {
        if self.has_ended()? {
            self.paused = false;
            match self.leaving.take() {
                Some(Next::Off) => self.keeper.off(),
                Some(Next::Gone) => {
                    self.keeper.off();
                    self.gone = true;
                }
                Some(Next::Again) => {
                    self.keeper.off();
                    self.keeper.on(now);
                }
                None => self.keeper.ended(now),
            }
        }
        if self.keeper.is_due(now) {
            let started = match &mut self.body {
                Body::Process(process) => process.restart(),
                Body::Gateway(gateway) => gateway.restart(),
            };
            match &started {
                Ok(()) => self.keeper.started(now),
                Err(_) => self.keeper.ended(now),
            }
            return started;
        }
        Ok(())
    }

    /// Whether it ran and does no more.
    fn has_ended(&mut self) -> anyhow::Result<bool> {
        let is_asked = self.leaving.is_some();
        match &mut self.body {
            Body::Process(process) => Ok(process.ended()?.is_some()),
            Body::Gateway(gateway) if gateway.pid().is_none() => Ok(false),
            Body::Gateway(gateway) if is_asked => gateway.has_ended_as_asked(),
            Body::Gateway(gateway) => gateway.has_ended(),
        }
    }

    /// Kills it and waits until it is gone; it is started again when its keeper says so.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill(&mut self, now: Duration) -> anyhow::Result<()> {
        match &mut self.body {
            Body::Process(process) => process.kill().await.map(drop)?,
            Body::Gateway(gateway) => gateway.kill().await?,
        }
        self.paused = false;
        match self.leaving.take() {
            Some(Next::Off) => self.keeper.off(),
            Some(Next::Gone) => {
                self.keeper.off();
                self.gone = true;
            }
            Some(Next::Again) | None => self.keeper.ended(now),
        }
        Ok(())
    }

    /// Waits until it has ended, after it was told to; kills it after `limit`.
    ///
    /// # Errors
    /// Where it had to be killed.
    pub async fn stop(&mut self, limit: Duration) -> anyhow::Result<()> {
        match &mut self.body {
            Body::Process(process) => process.stop(limit).await,
            Body::Gateway(gateway) => gateway.stop().await,
        }
    }

    /// It says that it is alive.
    pub fn heard(&mut self, now: Duration) {
        self.keeper.heard(now);
    }

    /// It is not to run any more; what runs of it is ended by the caller, with its host.
    pub fn off(&mut self) {
        self.keeper.off();
    }

    /// It is to run again.
    pub fn on(&mut self, now: Duration) {
        self.keeper.on(now);
    }

    /// Stops it where it stands, or lets it go on.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn pause(&mut self, paused: bool) -> anyhow::Result<()> {
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        self.process().signal(signal)?;
        self.paused = paused;
        Ok(())
    }

    /// Asks it to end in order, and to stay away.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn drain(&mut self) -> anyhow::Result<()> {
        self.ask_to_end(Next::Off)
    }

    /// Asks it to end in order, for good.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn retire(&mut self) -> anyhow::Result<()> {
        self.ask_to_end(Next::Gone)
    }

    /// Whether it was asked to end for good, and has.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Asks it to end in order; it is started again with those binaries of its command line that another
    /// folder holds taken from there.
    ///
    /// # Errors
    /// Where it does not run, or that folder holds none of them.
    pub fn upgrade(&mut self, dir: &Path) -> anyhow::Result<()> {
        let recipe = self.process_mut().recipe_mut();
        let newer = |path: &Path| {
            let name = path.file_name().filter(|_| path.is_absolute())?;
            Some(dir.join(name)).filter(|newer| newer.is_file())
        };
        let mut found = false;
        if let Some(program) = newer(&recipe.program) {
            (recipe.program, found) = (program, true);
        }
        for argument in &mut recipe.arguments {
            if let Some(program) = newer(Path::new(argument)) {
                (*argument, found) = (program.to_string_lossy().into_owned(), true);
            }
        }
        let name = &self.name;
        anyhow::ensure!(found, "{} holds nothing that {name} runs", dir.display());
        self.ask_to_end(Next::Again)
    }

    fn ask_to_end(&mut self, next: Next) -> anyhow::Result<()> {
        anyhow::ensure!(!self.paused, "{} is paused: heal it first", self.name);
        // A broker node lets its gateways go one after the other, and hands over what it leads.
        let signal = match self.role {
            Role::Broker => Signal::USR2,
            _ => Signal::TERM,
        };
        self.process().signal(signal)?;
        self.leaving = Some(next);
        Ok(())
    }

    /// What it does, in a word or two.
    #[must_use]
    pub fn state(&self, now: Duration) -> String {
        match self.keeper.phase() {
            Phase::Running(_) if self.paused => "paused".to_owned(),
            Phase::Running(_) if self.leaving.is_some() => "leaving".to_owned(),
            Phase::Running(_) => "runs".to_owned(),
            Phase::Waiting(at) => {
                format!("again in {:.0} s", at.saturating_sub(now).as_secs_f64())
            }
            Phase::Off => "off".to_owned(),
        }
    }
}

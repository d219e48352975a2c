//! The running cluster: one task owns hosts, network and processes. It does what it is asked to, one
//! request after the other, and in between starts again what ended.
//!
//! ```text
//! Control ─▶ Cluster::serve ─┬─ Machine (host, disk)    power, pause, full
//!                            ├─ Fabric                  cut, slow, heal
//!                            └─ Unit (process, Keeper)  kill, drain, upgrade; tended every 100 ms
//! ```
//!
//! No request waits for a process that does not end: who asks looks at the status until it is as wished.

mod hurt;
mod look;

use crate::control::{Answer, Ask, Request};
use crate::door;
use crate::host::Machine;
use crate::installation::Installation;
use crate::jetstream::Harm;
use crate::plan::{API_PORT, MQTT_PORT, Plan, Purpose};
use crate::probe;
use crate::unit::{Role, Unit};
use anyhow::Context as _;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tests_harness::evidence::{CloudCommands, Lives};
use tests_harness::gateway::{Door, Gateway};
use tests_harness::pulse::Pulse;
use tests_harness::site::GatewayOptions;
use tests_harness::stack::Binaries;
use tests_harness::{devices, evidence};
use tests_net::{Fabric, Host, Net, Shape};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

/// How often processes are looked at.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// How often they are asked whether they are alive.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Rounds of answers that wait to be heard.
const ANSWERS: usize = 1;
/// How long a process may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Everything that was raised. Dropped in this order: nobody uses a disk or a host any more when it goes.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) units: Vec<Unit>,
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) fabric: Fabric,
    pub(crate) dir: PathBuf,
    pub(crate) binaries: Binaries,
    pub(crate) plan: Plan,
    pub(crate) installation: Installation,
    pub(crate) options: GatewayOptions,
    pub(crate) pulse: Pulse,
    pub(crate) origin: Instant,
    pub(crate) dashboard: String,
    // Last: the hosts go when nobody is on them any more.
    pub(crate) _net: Net,
}

impl Cluster {
    /// Serves until it is told to go down, or everybody who could tell it is gone.
    pub async fn serve(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut tick = interval(TEND_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (hears, mut heard) = mpsc::channel::<Vec<String>>(ANSWERS);
        let mut census = interval(ASK_EVERY);
        census.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! { biased;
                ask = asks.recv() => match ask {
                    Some((Request::Down, reply)) => {
                        let ended = self.down().await;
                        // Whoever asked may have gone.
                        drop(reply.send(ended.map(|()| Answer::Done("everything is gone".into()))));
                        return;
                    }
                    Some((Request::Status, reply)) => self.tell(reply),
                    Some((request, reply)) => {
                        let done = self.handle(request).await;
                        drop(reply.send(done.map(Answer::Done)));
                    }
                    None => return,
                },
                Some(alive) = heard.recv() => self.hear(&alive),
                _ = tick.tick() => {
                    self.tend();
                    self.end_the_silent().await;
                }
                _ = census.tick() => self.ask_who_lives(&hears),
            }
        }
    }

    /// Where the gateways tell how they are.
    #[must_use]
    pub fn doors(&self) -> Vec<Door> {
        let gateways = self.units.iter().filter_map(Unit::gateway);
        gateways.map(Gateway::door).collect()
    }

    /// Commands of `fogline-cloud` beside the running one.
    #[must_use]
    pub fn commands(&self) -> CloudCommands {
        self.installation.commands.clone()
    }

    /// The host of devices and gateways, and where a gateway there would connect.
    ///
    /// # Errors
    /// Where there is none.
    pub fn field(&self) -> anyhow::Result<(Host, SocketAddr)> {
        let site = self.plan.of(Purpose::Site).next();
        let site = site.and_then(|site| self.machines.get(&site.name));
        let entry = self.plan.of(Purpose::Balancer).next();
        let entry = entry.context("no balancer")?.address();
        let host = site.context("no site")?.host.clone();
        Ok((host, SocketAddr::from((entry, MQTT_PORT))))
    }

    /// Opens a way from this machine to the dashboard, through a balancer, and notes it in the status.
    ///
    /// # Errors
    /// Where there is no balancer, no login, or no port.
    pub async fn open_dashboard(&mut self) -> anyhow::Result<()> {
        let entry = self.plan.of(Purpose::Balancer).next();
        let entry = entry.context("no balancer")?;
        let inside = SocketAddr::from((entry.address(), API_PORT));
        let machine = self.machines.get(&entry.name).context("no balancer")?;
        let door = door::open(machine.host.clone(), inside).await?;
        let (name, password) = self.installation.first_login()?;
        self.dashboard = format!("https://{door}  (login {name}, password {password}, works once)");
        Ok(())
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn tend(&mut self) {
        let now = self.now();
        for unit in &mut self.units {
            // What cannot be started is tried again, and seen in the status meanwhile.
            drop(unit.tend(now));
        }
        self.units.retain(|unit| !unit.is_gone());
    }

    /// Asks from a task of its own who is alive; an answer that finds the last one not heard yet is dropped.
    fn ask_who_lives(&self, hears: &mpsc::Sender<Vec<String>>) {
        let healths = self.units.iter().filter_map(|unit| {
            let machine = self.machines.get(&unit.host)?;
            look::health_of(unit, machine)
        });
        let (healths, hears) = (healths.collect(), hears.clone());
        tokio::spawn(async move {
            let alive = probe::alive(healths).await;
            drop(hears.try_send(alive));
        });
    }

    fn hear(&mut self, alive: &[String]) {
        let now = self.now();
        let those = self.units.iter_mut();
        those
            .filter(|unit| alive.contains(&unit.name))
            .for_each(|unit| unit.heard(now));
    }

    /// Ends what has not said for too long that it is alive; it is started again as if it had ended itself.
    async fn end_the_silent(&mut self) {
        let now = self.now();
        for unit in &mut self.units {
            let can_tell = matches!(unit.role, Role::Broker | Role::Cloud { .. });
            if can_tell && unit.keeper().is_silent(now) {
                // It may just have ended; then it is tended next.
                drop(unit.kill(now).await);
            }
        }
    }

    async fn handle(&mut self, request: Request) -> anyhow::Result<String> {
        match request {
            Request::Kill { name } => self.kill(&name).await,
            Request::Pause { name } => self.pause(&name),
            Request::Cut { from, to, one_way } => {
                let cut = Shape {
                    cut: true,
                    ..Shape::CLEAN
                };
                self.shape(&from, &to, !one_way, cut)
            }
            Request::Slow {
                from,
                to,
                delay_ms,
                loss,
                rate,
            } => {
                anyhow::ensure!(
                    (0.0..=1.0).contains(&loss),
                    "loss {loss} is not from 0 to 1"
                );
                let slow = Shape {
                    delay: Duration::from_millis(delay_ms),
                    loss,
                    rate,
                    ..Shape::CLEAN
                };
                self.shape(&from, &to, true, slow)
            }
            Request::Fill { name } => self.fill(&name),
            Request::Heal { name } => self.heal(name.as_deref()),
            Request::Drain { name } => {
                self.unit(&name)?.drain()?;
                Ok(format!("{name} was asked to end, and stays away"))
            }
            Request::Upgrade { name, dir } => {
                self.unit(&name)?.upgrade(&dir)?;
                Ok(format!(
                    "{name} was asked to make room for {}",
                    dir.display()
                ))
            }
            Request::DeleteStream => self.harm(Harm::DeleteStream).await,
            Request::DeleteConsumer => self.harm(Harm::DeleteConsumer).await,
            Request::BoundStream { bytes } => self.harm(Harm::Bound(bytes)).await,
            Request::Scale { role, count } => self.scale(&role, count),
            Request::Silence => self.silence().await,
            Request::KeepLives => self.keep_lives(),
            Request::Status | Request::Down => anyhow::bail!("answered elsewhere"),
        }
    }
    async fn silence(&self) -> anyhow::Result<String> {
        let devices = self.units.iter().find(|unit| unit.role == Role::Devices);
        let devices = devices.context("there are no devices")?;
        devices::silence(devices.process(), &self.dir).await?;
        Ok("the devices are silent".to_owned())
    }

    fn keep_lives(&self) -> anyhow::Result<String> {
        let gateways = self.units.iter().filter_map(Unit::gateway);
        let runs = gateways.flat_map(|gateway| gateway.runs().to_vec());
        let slack = evidence::LOSS_SLACK;
        let lives = Lives::new(runs.collect(), &self.options, slack, &self.pulse)?;
        lives.keep(&self.dir)?;
        Ok("written down".to_owned())
    }

    /// Ends everything in order, gateways first, so that what they hold can still be settled.
    async fn down(mut self) -> anyhow::Result<()> {
        self.heal(None)?;
        let mut worst = Ok(());
        for role in [
            |role: Role| role == Role::Gateway,
            |role: Role| matches!(role, Role::Cloud { .. }),
            |role: Role| role == Role::Balancer,
            |role: Role| role == Role::Broker,
            |role: Role| role == Role::Devices,
        ] {
            let those = self.units.iter_mut().filter(|unit| role(unit.role));
            // Told all at once, waited for one by one.
            let mut told = Vec::new();
            for unit in those {
                unit.off();
                if unit.pid().is_some() {
                    unit.process().signal(Signal::TERM)?;
                }
                told.push(unit);
            }
            for unit in told {
                worst = worst.and(unit.stop(STOP_LIMIT).await);
            }
        }
        worst
    }
}

//! The run: start the system, make identities, ramp, steady state, flood, settle, count.

use crate::batch::Shape;
use crate::count;
use crate::descriptors;
use crate::flood::Flood;
use crate::identities::{self, Bearer};
use crate::meter::Meter;
use crate::mqtt::Target;
use crate::plan::Plan;
use crate::report::{Report, Stretch};
use crate::screen::say;
use crate::session::{Fleet, Phase, Sent, Session};
use anyhow::Context as _;
use cloud_pki::Authority;
use protocols_model::{Clock as _, SystemClock};
use protocols_wire::EnvelopeEncoder;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests_harness::haproxy::{Entry, Limits, Server};
use tests_harness::measure::{Usage, float, resident_kib};
use tests_harness::ports;
use tests_harness::process::Process;
use tests_harness::site::GatewayOptions;
use tests_harness::stack::{Binaries, Stack};
use tests_harness::wait::wait_for;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::CancellationToken;

/// Between two lines of progress.
const SHOW_EVERY: Duration = Duration::from_secs(2);
/// How long the ramp may take, beside a quarter of a second for each gateway.
const RAMP_LIMIT: Duration = Duration::from_secs(120);
/// How long everything may take to be settled at the end, beside the same.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);
const EACH: Duration = Duration::from_millis(250);
/// Between the last hellos of two gateways: each is a transaction.
const HELLO_EACH: Duration = Duration::from_millis(4);
/// How long `HAProxy` may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The running system, and who comes in by which door.
struct Rig {
    stack: Stack,
    haproxy: Option<(Process, SocketAddr)>,
    door: SocketAddr,
}

/// Does what is planned.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<ExitCode> {
    plan.check()?;
    descriptors::want(plan.gateways, plan.haproxy)?;
    let binaries = Binaries::from_environment()?;
    let dir = tempfile::Builder::new().prefix("fogline-load-").tempdir()?;
    let rig = Rig::start(&plan, binaries.clone(), dir.path()).await?;
    let outcome = rig.measure(plan, &binaries).await;
    let words = rig.stack.cloud.last_words();
    rig.stop().await?;
    match outcome {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => {
            say(&format!("everything is kept in {}", dir.keep().display()));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            say(&format!("everything is kept in {}", dir.keep().display()));
            Err(error.context(format!("the cloud's log ends:\n{words}")))
        }
    }
}

impl Rig {
    async fn start(plan: &Plan, binaries: Binaries, dir: &std::path::Path) -> anyhow::Result<Self> {
        let nothing = tests_fieldsim::Site::default();
        let options = GatewayOptions::default();
        let progress = |step: &str| say(&format!("starting {step}"));
        let stack = Stack::start(dir, binaries, nothing, options, progress).await?;
        let broker = stack.link.target();
        if !plan.haproxy {
            return Ok(Self {
                stack,
                haproxy: None,
                door: broker,
            });
        }
        let [mqtt, api, metrics] = ports::free()?;
        let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let server = |name: &str, address| Server {
            name: name.to_owned(),
            address,
        };
        let entry = Entry {
            mqtt: loopback(mqtt),
            api: loopback(api),
            metrics: loopback(metrics),
            brokers: vec![server("broker-1", broker)],
            monitor_port: None,
            apis: vec![server("api-1", stack.api())],
            ca: stack.ca(),
            limits: Limits {
                connections: plan.gateways + 5_000,
                ..Limits::default()
            },
        };
        let haproxy = entry.start(dir, &stack.logs())?;
        wait_for("HAProxy", START_LIMIT, async || {
            tests_harness::haproxy::denied(entry.metrics).await
        })
        .await?;
        Ok(Self {
            stack,
            haproxy: Some((haproxy, entry.metrics)),
            door: entry.mqtt,
        })
    }

    async fn stop(self) -> anyhow::Result<()> {
        if let Some((mut haproxy, _)) = self.haproxy {
            haproxy.kill().await?;
        }
        self.stack.stop().await
    }

    /// Name and id of every process that is measured.
    fn processes(&self) -> Vec<(&'static str, u32)> {
        let haproxy = self.haproxy.as_ref().and_then(|(haproxy, _)| haproxy.id());
        [
            ("broker", self.stack.broker.id()),
            ("cloud", self.stack.cloud.id()),
            ("haproxy", haproxy),
            ("gateways", Some(std::process::id())),
        ]
        .into_iter()
        .filter_map(|(name, id)| Some((name, id?)))
        .collect()
    }

    fn resident(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        let each = self.processes().into_iter();
        each.map(|(name, id)| Ok((name, resident_kib(id)?)))
            .collect()
    }

    async fn measure(&self, plan: Plan, binaries: &Binaries) -> anyhow::Result<bool> {
        let clock = SystemClock::start();
        let (bearers, issuing) = self.identities(&plan, &clock).await?;
        let fleet = Arc::new(self.fleet(&plan, clock)?);
        let before = self.resident()?;
        say(&format!("ramp: {} gateways", plan.gateways));
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, bearer) in (0..plan.gateways).zip(bearers) {
            let session = Session::new(Arc::clone(&fleet), bearer, source(number));
            tasks.spawn(async move { (number, session.run().await) });
        }
        let all = u64::from(plan.gateways);
        let limit = |base: Duration| base + EACH * plan.gateways;
        let meter = &fleet.meter;
        self.until(meter, "ramp", limit(RAMP_LIMIT), || {
            meter.greeted.get() >= all
        })
        .await?;
        let (ramp, sessions) = (begun.elapsed(), meter.sessions.get());
        let after = self.resident()?;

        fleet.phase.send_replace(Phase::Steady);
        let steady = self.stretch(&plan, meter, "steady").await?;
        let (flooded, flood) = self.flooded(&plan, &fleet).await?;
        fleet.phase.send_replace(Phase::Settle);
        let settled = self
            .until(meter, "settle", limit(SETTLE_LIMIT), || {
                meter.confirmed.get() >= all
            })
            .await;
        // What did not settle is told by the counts, not by a time-out alone.
        if let Err(error) = &settled {
            say(&format!("{error:#}"));
        }
        fleet.phase.send_replace(Phase::Leave);
        let mut batches = vec![0; usize::try_from(plan.gateways)?];
        while let Some(done) = tasks.join_next().await {
            let (number, sent) = done?;
            let Sent(sent) = sent?;
            if let Some(place) = batches.get_mut(usize::try_from(number)?) {
                *place = sent;
            }
        }
        say("counting what the database holds");
        let config = self.stack.cloud_dir().join("cloud.toml");
        let cloud = binaries.ours("fogline-cloud");
        let counted = count::count(&cloud, &config, &batches, plan.batch).await?;
        let resident = before.into_iter().zip(after);
        let report = Report {
            issuing,
            ramp,
            sessions,
            resident: resident
                .map(|((name, before), (_, after))| (name, before, after))
                .collect(),
            steady,
            flooded,
            flood,
            counted,
            confirmed: meter.confirmed.get(),
            plan,
        };
        Ok(report.print(meter))
    }

    async fn identities(
        &self,
        plan: &Plan,
        clock: &SystemClock,
    ) -> anyhow::Result<(Vec<Bearer>, [Duration; 2])> {
        say(&format!("certificates for {} gateways", plan.gateways));
        let begun = Instant::now();
        let authority = Authority::load(&self.stack.cloud_dir().join("pki"))?;
        let (count, now) = (plan.gateways, clock.wall());
        let issue = move || identities::issue(&authority, count, now);
        let all = tokio::task::spawn_blocking(issue).await??;
        let issued = begun.elapsed();
        let (bearers, entries): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let begun = Instant::now();
        let database = self.stack.cloud_dir().join("data/fogline.db");
        identities::register(&database, entries).await?;
        Ok((bearers, [issued, begun.elapsed()]))
    }

    fn fleet(&self, plan: &Plan, clock: SystemClock) -> anyhow::Result<Fleet> {
        let mut roots = RootCertStore::empty();
        let ca = std::fs::read(self.stack.ca())?;
        roots.add(CertificateDer::from_pem_slice(&ca)?)?;
        Ok(Fleet {
            target: Target {
                address: self.door,
                roots: Arc::new(roots),
                provider: Arc::new(ring::default_provider()),
            },
            shape: Shape::new(plan.batch)?,
            interval: plan.interval(),
            spread: HELLO_EACH * plan.gateways,
            clock,
            encoder: Mutex::new(EnvelopeEncoder::new()),
            handshakes: Semaphore::new(plan.at_once),
            meter: Meter::default(),
            phase: watch::Sender::new(Phase::Ramp),
        })
    }

    /// The steady state again, with a flood beside it.
    async fn flooded(
        &self,
        plan: &Plan,
        fleet: &Arc<Fleet>,
    ) -> anyhow::Result<(Option<Stretch>, Option<[u64; 4]>)> {
        if plan.flood == 0 {
            return Ok((None, None));
        }
        let flood = Arc::new(Flood::default());
        let stop = CancellationToken::new();
        let _stopped = stop.clone().drop_guard();
        let running = Arc::clone(&flood).run(fleet.target.clone(), plan.flood, stop.clone());
        let running = tokio::spawn(running);
        let stretch = self.stretch(plan, &fleet.meter, "under fire").await?;
        stop.cancel();
        running.await?;
        let ended = || flood.refused.get() + flood.let_in.get() >= flood.attempts.get();
        self.until(&fleet.meter, "flood ends", SETTLE_LIMIT, ended)
            .await?;
        let denied = match &self.haproxy {
            Some((_, metrics)) => tests_harness::haproxy::denied(*metrics).await?,
            None => 0,
        };
        let counts = [
            flood.attempts.get(),
            flood.refused.get(),
            flood.let_in.get(),
            denied,
        ];
        Ok((Some(stretch), Some(counts)))
    }

    /// So long as planned, with progress; what it took.
    async fn stretch(&self, plan: &Plan, meter: &Meter, name: &str) -> anyhow::Result<Stretch> {
        let processes = self.processes();
        let usage = || {
            let each = processes.iter();
            each.map(|(_, id)| Usage::of(*id))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        drop(meter.take_delays());
        let (before, settled, begun) = (usage()?, meter.settled.get(), Instant::now());
        let length = Duration::from_secs(plan.seconds);
        while begun.elapsed() < length {
            sleep(SHOW_EVERY.min(length.saturating_sub(begun.elapsed()))).await;
            self.show(meter, name, begun)?;
        }
        let after = usage()?;
        let cpu = processes.iter().zip(before.iter().zip(&after));
        Ok(Stretch {
            seconds: begun.elapsed().as_secs_f64(),
            delays_ms: meter.take_delays(),
            cpu: cpu
                .map(|((name, _), (before, after))| (*name, after.since(before).cpu_s))
                .collect(),
            readings: (meter.settled.get() - settled) * u64::from(plan.batch),
        })
    }

    /// Waits with progress until `done`.
    async fn until(
        &self,
        meter: &Meter,
        name: &str,
        limit: Duration,
        done: impl Fn() -> bool,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut shown = begun;
        while !done() {
            anyhow::ensure!(
                begun.elapsed() < limit,
                "{name} did not end within {limit:?}; last complaint: {}",
                meter.complaint()
            );
            sleep(Duration::from_millis(50)).await;
            if shown.elapsed() >= SHOW_EVERY {
                shown = Instant::now();
                self.show(meter, name, begun)?;
            }
        }
        self.show(meter, name, begun)
    }

    fn show(&self, meter: &Meter, name: &str, begun: Instant) -> anyhow::Result<()> {
        let broker = self.stack.broker.id().context("the broker ended")?;
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!(
            "{name:<10} {seconds:>6.1} s  sessions {:>6}  greeted {:>6}  batches sent {:>7}, taken {:>7}, \
             settled {:>7}  confirmed {}  again {}  failed {}, lost {}  broker {:.0} MB",
            meter.sessions.get(),
            meter.greeted.get(),
            meter.batches.get(),
            meter.taken.get(),
            meter.settled.get(),
            meter.confirmed.get(),
            meter.again.get(),
            meter.failed.get(),
            meter.lost.get(),
            float(resident_kib(broker)?) * 1024.0 / 1e6
        ));
        Ok(())
    }
}

/// The address that a gateway comes from: 62 500 on loopback, beginning with 127.16.0.1.
fn source(number: u32) -> SocketAddr {
    let [_, _, high, low] = u32::to_be_bytes((number / 250) << 8 | (number % 250 + 1));
    SocketAddr::from((Ipv4Addr::new(127, 16, high, low), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gateway_comes_from_an_address_of_its_own() {
        assert_eq!(source(0).to_string(), "127.16.0.1:0");
        assert_eq!(source(249).to_string(), "127.16.0.250:0");
        assert_eq!(source(250).to_string(), "127.16.1.1:0");
        assert_eq!(source(59_999).to_string(), "127.16.239.250:0");
    }
}

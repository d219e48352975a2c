//! What stories share: starting a system, the options they use, the judge at the end.

use anyhow::Context as _;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_fieldsim::{PointSite, Shape, Site, Space, WordKind};
use tests_harness::gateway::{Gateway, Status};
use tests_harness::site::{GatewayOptions, HALL_1};
use tests_harness::stack::{Binaries, BrokerKind, Stack};
use tests_harness::wait::wait_for;
use tests_oracle::Evidence;

/// How long a condition may take to come true on a slow, shared machine.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// How a story ended.
#[derive(Debug)]
pub(super) enum Told {
    /// What it says is true; what was measured.
    Holds(String),
    /// This machine cannot tell it, and why.
    NotRun(String),
}

/// Where a story takes place.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) binaries: Binaries,
}

impl Stage {
    pub(super) fn new(dir: &Path, binaries: &Binaries) -> Self {
        Self {
            dir: dir.to_owned(),
            binaries: binaries.clone(),
        }
    }

    /// The field that most stories poll.
    pub(super) fn demo(&self) -> Site {
        tests_harness::site::demo(&self.dir.join("field"))
    }

    /// A folder for the logs of a process beside the system.
    pub(super) fn logs(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.dir.join("logs").join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The folder of a gateway.
    pub(super) fn gateway_dir(&self, id: &str) -> PathBuf {
        self.dir.join("gateways").join(id)
    }

    /// A gateway beside those of the site, which the judge does not know: enrolled, configured and started.
    pub(super) async fn add_gateway(
        &self,
        stack: &Stack,
        id: &str,
        config: &str,
    ) -> anyhow::Result<Gateway> {
        let dir = self.gateway_dir(id);
        std::fs::create_dir_all(&dir)?;
        let identity = dir.join("identity.toml");
        let identity = identity.to_string_lossy();
        let server = format!("mqtts://{}", stack.link.address());
        let add = [
            "gateway", "add", id, "--out", &identity, "--server", &server,
        ];
        stack.cloud_command(&add).await?;
        std::fs::write(dir.join("gateway.toml"), config)?;
        let binary = self.binaries.ours("fogline-gateway");
        Gateway::start(id, &dir, &binary, &self.dir.join("logs"))
    }

    /// Starts a system and waits until data flows.
    pub(super) async fn start(&self, site: Site, options: GatewayOptions) -> anyhow::Result<Stack> {
        self.start_on(BrokerKind::Nats, site, options).await
    }

    /// The same on another broker.
    pub(super) async fn start_on(
        &self,
        broker: BrokerKind,
        site: Site,
        options: GatewayOptions,
    ) -> anyhow::Result<Stack> {
        let binaries = self.binaries.clone();
        let stack = Stack::start_on(broker, &self.dir, binaries, site, options, |_| {}).await?;
        stack.wait_for_flow(LIMIT).await?;
        Ok(stack)
    }
}

/// Short batches, so that stories are short.
pub(super) fn brisk() -> GatewayOptions {
    GatewayOptions {
        batch_live: Duration::from_millis(500),
        batch_offline: Duration::from_secs(1),
        commit: Duration::from_secs(1),
        poll: Duration::from_millis(500),
        ..GatewayOptions::default()
    }
}

/// Points of a restless meter, beside those that stay.
const RESTLESS_POINTS: u16 = 24;

/// The three meters, with points whose values hardly compress, so that seconds of them fill a link or a
/// spool; of their own points those named stay.
pub(super) fn restless(mut site: Site, stay: &[&str]) -> Site {
    site.buses.retain(|bus| bus.gateway == HALL_1);
    let units = site.buses.iter_mut().flat_map(|bus| &mut bus.units);
    for unit in units {
        unit.points
            .retain(|point| stay.contains(&point.id.as_str()));
        let restless = (0..RESTLESS_POINTS).map(|place| PointSite {
            id: format!("restless_{place}"),
            space: Space::Input,
            address: 100 + 4 * place,
            kind: WordKind::I64,
            shape: Shape::Sine {
                base: 0.0,
                amplitude: 1e6,
                // No whole number of polls: nothing repeats.
                period: 2.0 + f64::from(place + 1).sqrt() / 7.123,
            },
            unit: "V".to_owned(),
            deadband: 0.0,
            beat_s: 0,
        });
        unit.points.extend(restless);
    }
    site
}

/// What stands at a place of a JSON answer; null where nothing does.
pub(super) fn at<'a>(answer: &'a Value, place: &str) -> &'a Value {
    answer.pointer(place).unwrap_or(&Value::Null)
}

/// The gateway with this id.
pub(super) fn gateway<'a>(stack: &'a mut Stack, id: &str) -> anyhow::Result<&'a mut Gateway> {
    let mut all = stack.gateways.iter_mut();
    all.find(|gateway| gateway.id == id)
        .with_context(|| format!("there is no gateway {id}"))
}

/// Waits until what a gateway says of itself fulfils `holds`.
pub(super) async fn until(
    gateway: &Gateway,
    what: &str,
    holds: impl Fn(&Status) -> bool,
) -> anyhow::Result<Status> {
    until_within(LIMIT, gateway, what, holds).await
}

/// As [`until`], with a limit of its own.
pub(super) async fn until_within(
    limit: Duration,
    gateway: &Gateway,
    what: &str,
    holds: impl Fn(&Status) -> bool,
) -> anyhow::Result<Status> {
    wait_for(&format!("{}: {what}", gateway.id), limit, async || {
        let status = gateway.status().await?;
        anyhow::ensure!(holds(&status), "it says {status:?}");
        Ok(status)
    })
    .await
}

/// Stops the devices, waits until everything is settled, lets the judge speak and stops the rest.
pub(super) async fn judged(mut stack: Stack) -> anyhow::Result<String> {
    stack.stop_devices().await?;
    stack.wait_for_quiescence(LIMIT).await?;
    let verdict = judge(&stack.evidence().await?)?;
    stack.stop().await?;
    Ok(verdict)
}

/// The judge's word on some evidence.
pub(super) fn judge(evidence: &Evidence) -> anyhow::Result<String> {
    let verdict = tests_oracle::judge(evidence);
    let notes = verdict.notes.join("; ");
    anyhow::ensure!(verdict.read > 0, "nothing was read");
    anyhow::ensure!(verdict.holds(), "{verdict}: {notes}");
    Ok(format!(
        "read={} stored={} ledger={} lost={}",
        verdict.read,
        verdict.stored,
        verdict.ledger + verdict.crash_tail,
        verdict.lost
    ))
}

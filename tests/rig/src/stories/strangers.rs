//! Identity under fire: whoever is not a gateway of ours stays out, is counted where it got far enough
//! to be asked for its name, and costs the others nothing.

use super::stage::{LIMIT, Stage, Told, at, brisk, gateway, judged, until};
use crate::bearer::{Bearer, Knock, knock, trusting};
use anyhow::Context as _;
use cloud_pki::{Authority, Identity};
use protocols_model::{Clock as _, GatewayId, SystemClock, Timestamp};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_harness::gateway::Status;
use tests_harness::site::{HALL_1, HALL_2};
use tests_harness::stack::Stack;
use tests_harness::wait::wait_for;
use tokio::task::JoinSet;

/// A gateway's certificate lives ten years: one of eleven years ago has expired.
const LONG_AGO: Duration = Duration::from_secs(11 * 365 * 24 * 3600);
/// Connections without a certificate, so many a second for so long.
const FLOOD_A_SECOND: u32 = 200;
const FLOOD: u32 = 3 * FLOOD_A_SECOND;
/// A gateway of ours without devices.
const LAB: &str = "lab-1";
/// Larger than the broker takes.
const OVERSIZED: usize = 2 << 20;
/// Records that each gateway must have settled during the flood.
const SETTLED: u64 = 3;

pub(super) async fn strangers_are_refused_and_counted_while_the_others_go_on(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    let mut api = stack.log_in().await?;
    let broker = stack.link.target();
    let authority = Authority::load(&stack.cloud_dir().join("pki"))?;
    let now = SystemClock::start().wall();

    let forge = Forge {
        dir: &stage.dir,
        trusts: authority.certificate_pem(),
    };
    let (other, _key) = Authority::create("somebody else", now)?;
    for (what, issuer, made) in [
        ("stranger", &authority, now),
        ("expired", &authority, now.minus(LONG_AGO)),
        ("foreign", &other, now),
    ] {
        let identity = forge.identity(issuer, what, made)?;
        let entered = Bearer::connect(&identity, what, broker).await;
        anyhow::ensure!(entered.is_err(), "{what} was let in");
    }
    let unknown = wait_for("the stranger to be counted", LIMIT, async || {
        let refusals = api.get("/v1/refusals").await?;
        let all = refusals.as_array().into_iter().flatten();
        let is_stranger = |refusal: &&Value| *at(refusal, "/client") == "stranger";
        let times = all.clone().find(is_stranger);
        times
            .cloned()
            .with_context(|| format!("refused so far: {refusals}"))
    })
    .await?;

    let lab = stage.dir.join("lab.toml");
    let out = lab.to_string_lossy();
    stack
        .cloud_command(&["gateway", "add", LAB, "--out", &out])
        .await?;
    for how in [
        Knock::Plain,
        Knock::WithoutCertificate(trusting(&lab)?),
        Knock::Mqtt5(lab.clone(), LAB),
    ] {
        let entered = knock(broker, &how).await;
        anyhow::ensure!(entered.is_err(), "{how:?} was let in");
    }
    oversized(&lab, broker).await?;
    let refused = flood(&mut stack, broker).await?;
    let verdict = judged(stack).await?;
    let reason = at(&unknown, "/reason").as_str().unwrap_or_default();
    Ok(Told::Holds(format!(
        "the stranger: {reason}; {refused} without a certificate refused; {verdict}"
    )))
}

/// Makes identities that should not exist.
struct Forge<'a> {
    dir: &'a Path,
    /// The broker's authority, which the bearer must trust to get as far as showing its own.
    trusts: &'a str,
}

impl Forge<'_> {
    fn identity(&self, issuer: &Authority, id: &str, now: Timestamp) -> anyhow::Result<PathBuf> {
        let id = GatewayId::try_new(id)?;
        let issued = issuer.issue_gateway(&id, Vec::new(), now)?;
        let identity = Identity {
            ca: self.trusts.to_owned(),
            ..issued
        };
        let path = self.dir.join(format!("{id}.toml"));
        identity.write(&path)?;
        Ok(path)
    }
}

/// A gateway of ours that says too much at once: its own connection ends.
async fn oversized(lab: &Path, broker: SocketAddr) -> anyhow::Result<()> {
    let mut bearer = Bearer::connect(lab, LAB, broker).await?;
    let topic = format!("gw/{LAB}/up/telemetry");
    let too_much = vec![0; OVERSIZED];
    let said = bearer.publish(&topic, &too_much).await;
    anyhow::ensure!(said.is_err(), "{OVERSIZED} bytes at once were taken");
    Ok(())
}

/// Floods the broker with connections that show no certificate; how many were refused.
async fn flood(stack: &mut Stack, broker: SocketAddr) -> anyhow::Result<u32> {
    let settled = |status: &Status| status.spool.counters.get("settled_records").copied();
    let mut before = Vec::new();
    for id in [HALL_1, HALL_2] {
        let status = gateway(stack, id)?.status().await?;
        before.push((id, settled(&status)));
    }
    let identity = gateway(stack, HALL_1)?.dir().join("identity.toml");
    let tls = trusting(&identity)?;
    let mut tick = tokio::time::interval(Duration::from_secs(1) / FLOOD_A_SECOND);
    let mut attempts = JoinSet::new();
    for _ in 0..FLOOD {
        tick.tick().await;
        let how = Knock::WithoutCertificate(tls.clone());
        attempts.spawn(async move { knock(broker, &how).await });
    }
    for (id, before) in before {
        let goal = before.map(|records| records + SETTLED);
        until(gateway(stack, id)?, "settles beside the flood", |status| {
            settled(status) >= goal
        })
        .await?;
    }
    let mut refused = 0;
    while let Some(attempt) = attempts.join_next().await {
        anyhow::ensure!(attempt?.is_err(), "let in without a certificate");
        refused += 1;
    }
    Ok(refused)
}

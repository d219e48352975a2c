//! Chaos over a cluster: brokers, hosts, zones, links, disks and the broker's own stream. The gateways are
//! never hurt: what is taken must arrive, and a stranger must see nothing of it.

mod fault;
mod round;
mod stranger;
mod watch;

use super::deck::{Deck, share, table};
use super::{Chaos, FLOW_LIMIT, KEEP_ALIVE, RECOVERY_LIMIT, judge, recovered};
use crate::screen;
use anyhow::Context as _;
use fault::Fault;
use round::Round;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use stranger::Stranger;
use tests_cluster::{Cluster, Control, Request, Wishes, leftovers};
use tests_harness::evidence::{self, CloudCommands};
use tests_harness::gateway::Door;
use tests_harness::settled;
use tests_harness::site::GatewayOptions;
use tests_harness::stack::Binaries;
use tests_harness::wait::wait_for;
use watch::Watch;

/// How long a cluster may take to be whole again: a node that lost its disk's last seconds catches up.
const WHOLE_LIMIT: Duration = Duration::from_secs(180);

/// Raises a cluster, runs all rounds, judges, takes it away.
pub(super) async fn run(chaos: &Chaos) -> anyhow::Result<ExitCode> {
    let faults = Fault::named(&chaos.fault)?;
    let dir = tempfile::Builder::new()
        .prefix("fogline-cluster-")
        .tempdir()?;
    let ran = raised(chaos, &faults, dir.path()).await;
    let swept = leftovers::sweep(dir.path());
    if !matches!(ran, Ok(ExitCode::SUCCESS)) || swept.is_err() {
        screen::say(&format!("everything is kept in {}", dir.keep().display()));
    }
    let swept = swept.context("taking the cluster away")?;
    anyhow::ensure!(swept.is_empty(), "it left behind: {}", swept.join(", "));
    ran
}

/// What a run needs to know of the cluster that a task owns.
struct Scene {
    control: Control,
    doors: Vec<Door>,
    commands: CloudCommands,
    binaries: PathBuf,
    batch: Duration,
}

async fn raised(chaos: &Chaos, faults: &[Fault], dir: &Path) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let wishes = Wishes {
        brokers: 3,
        gateways: options(),
    };
    let binaries = Binaries::from_environment()?;
    let cluster: Cluster = tests_cluster::raise(dir, &binaries, wishes, |_| {}).await?;
    let (control, asks) = Control::here();
    let scene = Scene {
        control,
        doors: cluster.doors(),
        commands: cluster.commands(),
        binaries: binaries.dir.canonicalize()?,
        batch: options().longest_batch(),
    };
    let stranger = Stranger::enter(&cluster, dir).await?;
    let playing = async {
        let played = play(chaos, faults, &scene, dir, stranger).await;
        // Ends the other half of the join, whatever was played.
        scene.control.ask(Request::Down).await?;
        played
    };
    let ((), played) = tokio::join!(Box::pin(cluster.serve(asks)), Box::pin(playing));
    let took = begun.elapsed().as_secs();
    screen::say(&format!("everything together took {took} s"));
    played
}

async fn play(
    chaos: &Chaos,
    faults: &[Fault],
    scene: &Scene,
    dir: &Path,
    stranger: Stranger,
) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let words = || "the cluster's logs tell more".to_owned();
    settled::wait_for_flow(&scene.doors, FLOW_LIMIT, words).await?;
    whole(&scene.control).await?;
    screen::say(&format!(
        "data flows {:.1} s after the last process was started",
        begun.elapsed().as_secs_f64()
    ));
    let watch = Watch::start(scene.doors.clone());
    match rounds(chaos, faults, scene, &watch).await {
        Ok(hits) => {
            let told = Told {
                hits,
                watch,
                stranger,
            };
            end(chaos, scene, dir, told).await
        }
        Err(error) => {
            // How it looks says more than the error.
            if let Ok(status) = scene.control.status().await {
                screen::say(&status.render());
            }
            Err(error)
        }
    }
}

async fn rounds(
    chaos: &Chaos,
    faults: &[Fault],
    scene: &Scene,
    watch: &Watch,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut random = fastrand::Rng::with_seed(chaos.seed);
    let mut deck = Deck::new(faults);
    let mut hits = BTreeMap::new();
    let kinds = u32::try_from(faults.len())?;
    for number in 1..=chaos.rounds {
        for _ in 0..share(number, chaos.rounds, kinds) {
            let Some(fault) = deck.draw(&mut random) else {
                continue;
            };
            let round = Round {
                binaries: &scene.binaries,
                control: &scene.control,
                random: &mut random,
            };
            let told = one(round, fault, scene, watch).await;
            let told = told.with_context(|| format!("round {number}: {fault:?}"))?;
            screen::say(&format!("round {number:>3}  {told}"));
            *hits.entry(format!("{fault:?}")).or_insert(0) += 1;
        }
    }
    Ok(hits)
}

/// One fault, healed; tells what came of it.
async fn one(
    mut round: Round<'_>,
    fault: Fault,
    scene: &Scene,
    watch: &Watch,
) -> anyhow::Result<String> {
    watch.lap();
    let victim = round.run(fault).await?;
    scene.control.ask(Request::Heal { name: None }).await?;
    let healed = Instant::now();
    recovered(&scene.doors).await.context("after it")?;
    whole(&scene.control).await.context("after it")?;
    Ok(format!(
        "{:<24} {victim:<22} nothing settled for {:>4.1} s, whole again in {:.1} s",
        format!("{fault:?}"),
        watch.lap().as_secs_f64(),
        healed.elapsed().as_secs_f64()
    ))
}

/// Waits until nothing is wrong any more: the next fault must not meet a cluster that misses a node.
async fn whole(control: &Control) -> anyhow::Result<()> {
    wait_for("the cluster to be whole", WHOLE_LIMIT, async || {
        let troubles = control.status().await?.troubles();
        anyhow::ensure!(troubles.is_empty(), "{}", troubles.join("; "));
        Ok(())
    })
    .await
}

/// What the rounds told.
struct Told {
    hits: BTreeMap<String, u64>,
    watch: Watch,
    stranger: Stranger,
}

async fn end(chaos: &Chaos, scene: &Scene, dir: &Path, told: Told) -> anyhow::Result<ExitCode> {
    let worst = told.watch.end();
    let seen = told.stranger.leave(&scene.commands).await?;
    scene.control.ask(Request::Silence).await?;
    settled::wait_for_quiescence(&scene.doors, scene.batch, RECOVERY_LIMIT).await?;
    scene.control.ask(Request::KeepLives).await?;
    let evidence = evidence::gather(dir, &scene.commands).await?;
    let (good, verdict) = judge(&evidence);
    screen::say("faults:");
    table(&told.hits).iter().for_each(|line| screen::say(line));
    screen::result(&format!(
        "rounds={} seed={} {verdict} foreign_visible={} worst_gateway_outage_s={:.1} \
         worst_store_ack_s={:.2}",
        chaos.rounds,
        chaos.seed,
        seen.visible,
        worst.outage.as_secs_f64(),
        worst.settling.as_secs_f64()
    ));
    screen::say(&format!(
        "a stranger with a certificate of its own tried {} times to listen and to speak as another",
        seen.tries
    ));
    let good = good && seen.visible == 0 && seen.tries > 0;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Short batches, so that what is settled is seen soon.
fn options() -> GatewayOptions {
    GatewayOptions {
        batch_live: Duration::from_millis(250),
        batch_offline: Duration::from_secs(1),
        commit: Duration::from_secs(1),
        poll: Duration::from_millis(500),
        keep_alive: Some(KEEP_ALIVE),
        ..GatewayOptions::default()
    }
}

//! The owner's process: raises the cluster, listens for requests, ends with it.

use crate::cli::{Up, say};
use std::path::Path;
use tests_cluster::{Cluster, Control, Wishes, control, leftovers};
use tests_harness::site::GatewayOptions;
use tests_harness::stack::Binaries;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Raises and serves until the cluster is told to go down, or this process to end.
pub(crate) async fn serve(dir: &Path, up: &Up) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    std::fs::write(dir.join("owner.pid"), std::process::id().to_string())?;
    let done = tokio::select! { biased;
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        done = own(dir, up) => done,
    };
    // Whatever happened, nothing stays.
    leftovers::sweep(dir)?;
    done
}

async fn own(dir: &Path, up: &Up) -> anyhow::Result<()> {
    let wishes = Wishes {
        brokers: up.nodes,
        gateways: GatewayOptions::default(),
    };
    let binaries = Binaries::from_environment()?;
    let mut cluster: Cluster = tests_cluster::raise(dir, &binaries, wishes, |step| {
        say(&format!("starting {step}"));
    })
    .await?;
    cluster.open_dashboard().await?;
    let (control, asks) = Control::here();
    let stop = CancellationToken::new();
    let listening = tokio::spawn({
        let (dir, stop) = (dir.to_owned(), stop.clone());
        async move { control::listen(&dir, control, stop).await }
    });
    cluster.serve(asks).await;
    stop.cancel();
    listening.await?
}

//! Connections without a certificate, so many a second, all from one address: what an attacker has.

use crate::meter::Count;
use crate::mqtt::Target;
use anyhow::ensure;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// An address that no gateway has.
const FROM: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 99, 0, 1)),
    0,
);
/// How long one attempt may take to be refused.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(60);
/// Attempts under way; more would only measure ourselves.
const MOST_AT_ONCE: u64 = 2_000;

/// What became of the attempts.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// Attempts begun.
    pub(crate) attempts: Count,
    /// Refused, by whom ever.
    pub(crate) refused: Count,
    /// Let in: a certificate was not asked for.
    pub(crate) let_in: Count,
    under_way: Count,
}

impl Flood {
    /// Floods until told to stop.
    pub(crate) async fn run(self: Arc<Self>, target: Target, rate: u32, stop: CancellationToken) {
        let mut tick = interval(Duration::from_secs(1) / rate.max(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! { biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if self.under_way.get() >= MOST_AT_ONCE {
                continue;
            }
            self.attempts.up();
            self.under_way.up();
            let (flood, target) = (Arc::clone(&self), target.clone());
            tokio::spawn(async move {
                let attempt = timeout(ATTEMPT_LIMIT, attempt(&target)).await;
                match attempt {
                    Ok(Ok(())) => flood.let_in.up(),
                    Ok(Err(_)) | Err(_) => flood.refused.up(),
                }
                flood.under_way.down();
            });
        }
    }
}

/// Ends well only where the other side takes us for somebody. With TLS 1.3 the client believes in the
/// handshake before the server has looked for its certificate: the first read tells.
async fn attempt(target: &Target) -> anyhow::Result<()> {
    let stream = target.tcp(FROM).await?;
    let mut stream = target.tls(stream, None).await?;
    let mut byte = [0; 1];
    let read = stream.read(&mut byte).await?;
    ensure!(read > 0, "closed");
    Ok(())
}

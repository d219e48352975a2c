//! What systemd is told; silent where nobody listens.
//!
//! The watchdog is fed by progress, not by a timer alone: only after a round trip through the spool,
//! on the thread that everything else runs on.

use gateway_spool::SpoolHandle;
use sd_notify::NotifyState;
use std::time::Duration;

/// A spool that does not answer a question within this makes no progress.
const ANSWER: Duration = Duration::from_secs(10);

/// The gateway reads devices.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The gateway stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(crate) fn line(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Tells systemd of progress for as long as there is some.
pub(crate) async fn feed_watchdog(spool: SpoolHandle) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    loop {
        match tokio::time::timeout(ANSWER, spool.dictionaries(Vec::new())).await {
            Ok(Ok(_)) => tell(&[NotifyState::Watchdog]),
            Ok(Err(_)) => return,
            Err(_) => tracing::error!("the spool does not answer"),
        }
        tokio::time::sleep(interval / 3).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

//! What systemd is told; silent where nobody listens.
//!
//! The watchdog is fed by progress, not by a timer alone: see [`crate::gateway`].

use sd_notify::NotifyState;
use std::time::Duration;

/// The gateway reads devices.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The gateway stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Something moved since the last time.
pub(crate) fn progress() {
    tell(&[NotifyState::Watchdog]);
}

/// One line for `systemctl status`.
pub(crate) fn line(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// How often systemd wants to hear of progress, where it does.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

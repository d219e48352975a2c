//! Waiting for a condition: level-triggered, bounded, and the error says what was seen last.

use std::time::Duration;
use tokio::time::Instant;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What one look takes at most off the limit: a machine that stands still for longer says nothing about
/// the condition.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Asks `condition` until it says `Ok`, at most for `limit`.
///
/// # Errors
/// What the condition said last, with what was waited for.
pub async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut left = limit;
    loop {
        let begun = Instant::now();
        match condition().await {
            Ok(value) => return Ok(value),
            Err(seen) if left.is_zero() => {
                return Err(seen.context(format!("waited {limit:?} for {what}")));
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
        left = left.saturating_sub(begun.elapsed().min(LONGEST_LOOK));
    }
}

//! File descriptors: each session is one here and one in the broker, which inherits our bound.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside sessions: files, pipes, listeners, threads.
const OTHERS: u64 = 500;

/// Raises the bound for this process and those it will start, or says what to do.
pub(crate) fn want(sessions: u32, through_haproxy: bool) -> anyhow::Result<()> {
    // HAProxy has two connections for each of ours.
    let each = if through_haproxy { 2 } else { 1 };
    let wanted = u64::from(sessions) * each + OTHERS;
    let now = getrlimit(Resource::Nofile);
    let bound = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if bound(now.current) >= wanted {
        return Ok(());
    }
    let hard = bound(now.maximum).max(wanted);
    // Above the hard bound only the administrator may go: tried, since tests often run as one.
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(wanted),
            maximum: Some(hard),
        },
    );
    ensure!(
        raised.is_ok(),
        "{sessions} sessions need {wanted} open files, and {} are allowed: \
         `ulimit -Hn {wanted}` as the administrator, or fewer --gateways",
        bound(now.maximum)
    );
    Ok(())
}

//! The watch over what must exist at the broker: keeps it in being, says whether it is, raises alarms.
//!
//! Every process that ingests or lets gateways in runs one. Readiness is the truth of the last look;
//! whether gateways may come in is the gate's word ([`crate::gate`]).

use crate::gate::Gate;
use crate::source::{IngestSource, SourceError, StreamState};
use crate::stats::IngestStats;
use protocols_model::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two looks at stream and consumers: how long they may be gone before gateways are kept out.
const ENSURE_EVERY: Duration = Duration::from_secs(1);
/// Between two looks while they are gone: how long gateways wait longer than they must.
const RETRY: Duration = Duration::from_millis(200);

/// Keeps stream and consumers in being until `stop`; `open` says whether gateways may come in.
pub async fn watch_source(
    source: Arc<dyn IngestSource>,
    clock: Arc<dyn Clock>,
    stats: Arc<IngestStats>,
    open: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut gate = Gate::default();
    let mut alarms = Alarms::default();
    let mut trouble = String::new();
    let mut rest = Duration::ZERO;
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(rest) => {}
        }
        let looked = tokio::select! { biased;
            () = stop.cancelled() => break,
            looked = source.ensure(clock.wall()) => looked,
        };
        let is_open = gate.looked(
            looked.as_ref().map(drop).map_err(|e| e.trouble),
            clock.monotonic(),
        );
        match looked {
            Ok(state) => {
                alarms.look(state);
                stats.set_stream(state);
                stats.set_source_trouble(None);
                trouble.clear();
                rest = ENSURE_EVERY;
            }
            Err(error) => {
                let now = described(&error);
                // Said once per trouble; then only to those who look closely.
                if now == trouble {
                    tracing::debug!(trouble = now, "the broker is not ready");
                } else {
                    tracing::warn!(trouble = now, "the broker is not ready");
                }
                stats.set_source_trouble(Some(now.clone()));
                trouble = now;
                rest = RETRY;
            }
        }
        if open.send_replace(is_open) != is_open {
            tracing::info!(is_open, "the gate for gateways");
        }
    }
    open.send_replace(false);
}

fn described(error: &SourceError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What somebody should look at, said when it begins and when it is over.
#[derive(Debug, Default)]
struct Alarms {
    half_full: bool,
    lagging: bool,
    lacks_copies: bool,
}

impl Alarms {
    fn look(&mut self, state: StreamState) {
        if changed(&mut self.half_full, state.is_half_full()) {
            let (bytes, max_bytes) = (state.bytes, state.max_bytes);
            if self.half_full {
                tracing::error!(bytes, max_bytes, "the broker's stream is half full");
            } else {
                tracing::info!(bytes, max_bytes, "the broker's stream is below half again");
            }
        }
        if changed(&mut self.lagging, state.is_lagging()) {
            let (messages, waited_s) = (state.pending(), state.waited.as_secs());
            if self.lagging {
                tracing::error!(
                    messages,
                    waited_s,
                    "messages wait for too long to be stored"
                );
            } else {
                tracing::info!(messages, "messages are stored in time again");
            }
        }
        if changed(&mut self.lacks_copies, state.lacks_copies()) {
            let (copies, of) = (state.copies, state.replicas);
            if self.lacks_copies {
                tracing::error!(
                    copies,
                    of,
                    "the broker's stream lacks copies: is a node away?"
                );
            } else {
                tracing::info!(copies, "the broker's stream has all its copies");
            }
        }
    }
}

fn changed(was: &mut bool, is: bool) -> bool {
    std::mem::replace(was, is) != is
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_begin_at_half_of_the_bound_after_half_a_minute_and_with_the_first_copy_lost() {
        let calm = StreamState {
            bytes: 500,
            max_bytes: 1000,
            waited: Duration::from_secs(30),
            copies: 3,
            replicas: 3,
            ..StreamState::default()
        };
        let mut alarms = Alarms::default();
        alarms.look(calm);
        let raised = |alarms: &Alarms| [alarms.half_full, alarms.lagging, alarms.lacks_copies];
        assert_eq!(raised(&alarms), [false; 3]);
        alarms.look(StreamState {
            bytes: 501,
            waited: Duration::from_secs(31),
            copies: 2,
            ..calm
        });
        assert_eq!(raised(&alarms), [true; 3]);
        alarms.look(calm);
        assert_eq!(raised(&alarms), [false; 3]);
    }
}

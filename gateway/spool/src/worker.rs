//! The one thread that owns the spool.
//!
//! Thin: takes requests in order, lets the core do what is due, publishes its state. It runs a small
//! runtime of its own only to wait for "a request or the next due time"; all work is synchronous and on
//! this thread, so no async worker ever waits for the disk.

use crate::config::SpoolConfig;
use crate::core::{Core, Now};
use crate::disk::DiskStore;
use crate::handle::{REQUEST_CAPACITY, Request, SpoolHandle};
use crate::report::OpenReport;
use crate::state::SpoolState;
use protocols_model::{BootId, Clock, Epoch};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests answered before the core looks at what is due.
const BURST: usize = 32;

/// Opens the spool and starts its thread. Never fails: at worst a damaged store is set aside and
/// claimed, or the spool runs in memory until the disk can be used; the report says so.
///
/// The new epoch is on disk when this returns. Blocks for as long as opening takes (about a second per
/// gigabyte on a fast machine).
pub fn start(
    config: SpoolConfig,
    clock: Arc<dyn Clock>,
    boot: BootId,
) -> (SpoolHandle, OpenReport) {
    let store = Box::new(DiskStore::new(&config));
    let epoch = draw_epoch();
    let (core, report) = Core::start(config, boot, store, epoch, now(&*clock));
    let (epoch, epoch_start) = (core.epoch(), core.epoch_start());
    let (requests, incoming) = mpsc::channel(REQUEST_CAPACITY);
    let (publish, state) = watch::channel(Arc::new(core.state(now(&*clock))));
    let thread = std::thread::Builder::new().name("spool".to_owned());
    let spawned = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(run(core, incoming, &publish, &*clock)),
            Err(error) => tracing::error!(%error, "the spool's timer cannot be made, it stops"),
        }
    });
    if let Err(error) = spawned {
        // The receiver is gone with the closure: every call on the handle says that it has stopped.
        tracing::error!(%error, "the spool's thread cannot be started");
    }
    let handle = SpoolHandle {
        epoch,
        epoch_start,
        requests,
        state,
    };
    (handle, report)
}

/// 64 random bits. Without a source of randomness (no kernel we run on) the clock must do.
fn draw_epoch() -> Epoch {
    let mut bytes = [0_u8; 8];
    let random = ring::rand::SystemRandom::new();
    if ring::rand::SecureRandom::fill(&random, &mut bytes).is_err() {
        use std::hash::{BuildHasher as _, RandomState};
        tracing::error!("the system gives no random bytes, the epoch comes from a hash seed");
        return Epoch(RandomState::new().hash_one(std::process::id()));
    }
    Epoch(u64::from_le_bytes(bytes))
}

fn now(clock: &dyn Clock) -> Now {
    Now {
        mono: clock.monotonic(),
        wall: clock.wall(),
    }
}

async fn run(
    mut core: Core,
    mut incoming: mpsc::Receiver<Request>,
    publish: &watch::Sender<Arc<SpoolState>>,
    clock: &dyn Clock,
) {
    let stopped = loop {
        let wait = core.next_wake().since(clock.monotonic());
        let first = tokio::time::timeout(wait, incoming.recv()).await;
        let mut next = match first {
            // Every handle is gone: nobody is left to say stop.
            Ok(None) => break None,
            Ok(Some(request)) => Some(request),
            Err(_due) => None,
        };
        let mut stop = None;
        for _ in 0..BURST {
            let Some(request) = next.take() else {
                break;
            };
            if let Some(answer) = serve(&mut core, request, now(clock)) {
                stop = Some(answer);
                break;
            }
            next = incoming.try_recv().ok();
        }
        if let Some(request) = next
            && let Some(answer) = serve(&mut core, request, now(clock))
        {
            stop = Some(answer);
        }
        if let Some(answer) = stop {
            break Some(answer);
        }
        core.tick(now(clock));
        publish_if_new(&core, publish, clock);
    };
    incoming.close();
    let (complete, asker) = stopped.unzip();
    // Nobody who said stop: whoever held the handles went down with what was not appended.
    let written = core.stop(complete.unwrap_or(false), now(clock));
    publish_if_new(&core, publish, clock);
    if written {
        answer(asker, ());
    } else {
        tracing::error!(
            "the spool could not be written at the stop; the next start claims the tail"
        );
    }
}

fn publish_if_new(core: &Core, publish: &watch::Sender<Arc<SpoolState>>, clock: &dyn Clock) {
    let state = core.state(now(clock));
    publish.send_if_modified(|old| {
        let new = **old != state;
        if new {
            *old = Arc::new(state);
        }
        new
    });
}

/// Who asked may have gone away meanwhile; the work is done all the same.
fn answer<T>(sender: Option<oneshot::Sender<T>>, value: T) {
    if let Some(sender) = sender
        && sender.send(value).is_err()
    {
        tracing::debug!("a request to the spool was given up before its answer");
    }
}

/// Serves one request; a stop is handed back.
fn serve(core: &mut Core, request: Request, now: Now) -> Option<(bool, oneshot::Sender<()>)> {
    match request {
        Request::Append(lane, records, sender) => {
            core.append(lane, records, now);
            answer(Some(sender), ());
        }
        Request::KeepDictionaries(dictionaries, sender) => {
            core.keep_dictionaries(dictionaries);
            answer(Some(sender), ());
        }
        Request::Dictionaries(hashes, sender) => answer(Some(sender), core.dictionaries(&hashes)),
        Request::Fetch(lane, after, limit, sender) => {
            answer(Some(sender), core.fetch(lane, after, limit, now));
        }
        Request::Settle(settlement, sender) => {
            answer(Some(sender), core.settle(&settlement, now));
        }
        Request::Generation(generation, sender) => {
            core.store_generation(generation, now);
            answer(Some(sender), ());
        }
        Request::BatchAge(age, sender) => {
            core.set_batch_age(age);
            answer(Some(sender), ());
        }
        Request::Stop(complete, sender) => return Some((complete, sender)),
    }
    None
}

//! How processes hear of each other's commits.
//!
//! ```text
//! tell ─▶ pending, one entry a gateway ─▶ NOTIFY ─▶ server ─▶ LISTEN ─▶ [LOOKS] ─▶ look: read what
//!                                                                       is new of these gateways
//! ```
//!
//! One thread holds the connection that notifies and listens, another looks. A notification says only
//! where to look: lost or repeated ones do no harm, and after each new connection everything that memory
//! holds is looked at. Nothing waits for a notification, and notifying never holds up a commit.

use super::Looker;
use super::connect::{Session, Target};
use super::driver::PostgresLink;
use crate::error::StoreError;
use crate::ingest::LiveUpdate;
use crate::sql::threads::spawn;
use crate::sql::{Changed, Link as _, Mode, Shared, Told};
use protocols_model::GatewayId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Name of the channel.
const CHANNEL: &str = "fogline";
/// Most bytes in a notification; the server takes less than 8 000.
const MOST: usize = 7_000;
/// Looks waiting for the thread that looks; it takes them together.
const LOOKS: usize = 64;
/// Between attempts to connect.
const AGAIN: Duration = Duration::from_secs(1);
/// The store opens without hearing of others when the server takes longer than this.
const FIRST: Duration = Duration::from_secs(20);

/// What to look at.
#[derive(Debug)]
pub(super) enum Look {
    At(Vec<Told>),
    /// Notifications may have been missed.
    Everything,
}

/// Tells all processes what was committed.
#[derive(Debug)]
pub(super) struct Teller {
    pending: Arc<Pending>,
    /// The thread ends when this goes.
    _stop: watch::Sender<()>,
}

/// Gateways that others are to be told of; bounded by how many there are.
#[derive(Debug, Default)]
struct Pending {
    told: Mutex<BTreeMap<GatewayId, Changed>>,
    some: Notify,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<GatewayId, Changed>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teller {
    /// Begins to notify and listen; returns once it listens, so that nothing is missed from then on.
    pub(super) fn start(target: Arc<Target>) -> Result<(Self, mpsc::Receiver<Look>), StoreError> {
        let (stop, stopped) = watch::channel(());
        let (looks, queue) = mpsc::channel(LOOKS);
        let (listens, ready) = std::sync::mpsc::sync_channel(1);
        let pending = Arc::new(Pending::default());
        let held = Arc::clone(&pending);
        spawn("store-live", move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(serve(&target, &held, &looks, stopped, &listens)),
                Err(why) => tracing::error!(error = %why, "no live values of other processes"),
            }
        })?;
        if ready.recv_timeout(FIRST).is_err() {
            tracing::warn!("the database does not let us listen yet; live values come later");
        }
        let teller = Self {
            pending,
            _stop: stop,
        };
        Ok((teller, queue))
    }

    pub(super) fn tell(&self, told: Vec<Told>) {
        let mut pending = self.pending.lock();
        for Told { gateway, changed } in told {
            join(pending.entry(gateway).or_default(), changed);
        }
        drop(pending);
        self.pending.some.notify_one();
    }
}

fn join(held: &mut Changed, more: Changed) {
    held.events |= more.events;
    held.alarms |= more.alarms;
    held.ledger |= more.ledger;
}

async fn serve(
    target: &Target,
    pending: &Pending,
    looks: &mpsc::Sender<Look>,
    mut stopped: watch::Receiver<()>,
    listens: &std::sync::mpsc::SyncSender<()>,
) {
    loop {
        let end = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            end = listen(target, pending, looks, listens) => end,
        };
        if let Err(why) = end {
            tracing::warn!(error = %why, "not heard of other processes' commits for a moment");
        }
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Until the connection ends.
async fn listen(
    target: &Target,
    pending: &Pending,
    looks: &mpsc::Sender<Look>,
    listens: &std::sync::mpsc::SyncSender<()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Session {
        client,
        mut notifications,
        ..
    } = target.connect().await?;
    // Nothing is lost with a notification: it need not wait for the disk.
    let begin = format!("SET synchronous_commit = off; LISTEN {CHANNEL}");
    client.batch_execute(&begin).await?;
    looks.send(Look::Everything).await?;
    // Nobody waits for it after the first time.
    listens.try_send(()).ok();
    let notify = client.prepare("SELECT pg_notify($1, $2)").await?;
    loop {
        tokio::select! {
            biased;
            note = notifications.recv() => match note {
                Some(note) => looks.send(Look::At(parse(&note))).await?,
                None => return Err("the connection ended".into()),
            },
            () = pending.some.notified() => {
                let told = std::mem::take(&mut *pending.lock());
                for note in notes(&told) {
                    client.execute(&notify, &[&CHANNEL, &note]).await?;
                }
            }
        }
    }
}

/// `gateway flags`, by spaces; as few notes as hold them all.
fn notes(told: &BTreeMap<GatewayId, Changed>) -> Vec<String> {
    let mut notes = vec![String::new()];
    for (gateway, changed) in told {
        let flags = u8::from(changed.events)
            | u8::from(changed.alarms) << 1
            | u8::from(changed.ledger) << 2;
        let entry = format!("{gateway} {flags} ");
        match notes.last_mut() {
            Some(note) if note.len() + entry.len() <= MOST => note.push_str(&entry),
            _ => notes.push(entry),
        }
    }
    notes.retain(|note| !note.is_empty());
    notes
}

/// What a note says; what it does not say right is left out.
fn parse(note: &str) -> Vec<Told> {
    let words: Vec<&str> = note.split_whitespace().collect();
    let (entries, _) = words.as_chunks::<2>();
    let told = entries.iter().filter_map(|[gateway, flags]| {
        let flags: u8 = flags.parse().ok()?;
        Some(Told {
            gateway: GatewayId::try_new(gateway).ok()?,
            changed: Changed {
                events: flags & 1 != 0,
                alarms: flags & 2 != 0,
                ledger: flags & 4 != 0,
            },
        })
    });
    told.collect()
}

/// Looks at what is told, for as long as somebody subscribes.
pub(super) fn follow(
    shared: &Arc<Shared>,
    mut looks: mpsc::Receiver<Look>,
    target: &Arc<Target>,
) -> Result<(), StoreError> {
    let shared = Arc::downgrade(shared);
    let mut link = PostgresLink::new(Arc::clone(target));
    spawn("store-look", move || {
        while let Some(look) = looks.blocking_recv() {
            let mut told = BTreeMap::new();
            let mut everything = gather(look, &mut told);
            while let Ok(look) = looks.try_recv() {
                everything |= gather(look, &mut told);
            }
            let Some(shared) = Looker::upgrade(&shared) else {
                return;
            };
            if shared.live.receiver_count() == 0 {
                continue;
            }
            if let Err(why) = look_at(&mut link, &shared, told, everything) {
                // The next look begins where memory stands.
                tracing::warn!(error = %why, "live values are late");
            }
        }
    })
}

fn gather(look: Look, told: &mut BTreeMap<GatewayId, Changed>) -> bool {
    match look {
        Look::Everything => true,
        Look::At(some) => {
            for Told { gateway, changed } in some {
                join(told.entry(gateway).or_default(), changed);
            }
            false
        }
    }
}

fn look_at(
    link: &mut PostgresLink,
    shared: &Shared,
    told: BTreeMap<GatewayId, Changed>,
    everything: bool,
) -> Result<(), StoreError> {
    link.begin(Mode::Snapshot)?;
    let done = (|| {
        if everything {
            shared.catch_up_all(link.conn())?;
        }
        for gateway in told.keys() {
            shared.catch_up(link.conn(), gateway)?;
        }
        Ok(())
    })();
    link.rollback();
    for (gateway, changed) in told {
        if changed != Changed::default() {
            // No subscriber left is no failure.
            drop(shared.live.send(Arc::new(LiveUpdate::of(gateway, changed))));
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives_in_notes_that_the_server_takes() {
        let mut told = BTreeMap::new();
        for number in 0..1_000_u32 {
            let gateway = GatewayId::try_new(&format!("gateway-{number:050}")).unwrap();
            let changed = Changed {
                events: number % 2 == 0,
                alarms: number % 3 == 0,
                ledger: number % 5 == 0,
            };
            told.insert(gateway, changed);
        }
        let notes = notes(&told);
        assert!(notes.iter().all(|note| note.len() < 8_000), "too long");
        let mut heard = BTreeMap::new();
        for note in &notes {
            assert!(!gather(Look::At(parse(note)), &mut heard));
        }
        assert_eq!(heard, told);
        assert_eq!(parse("gw-1 x ? 3 gw-2"), []);
    }
}

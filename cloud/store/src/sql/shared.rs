//! What all threads of a store share: its bounds, and the memory that follows from the rows.

use super::db::Connection;
use super::{Engine, read, replay};
use crate::derived::GatewayDerived;
use crate::error::StoreError;
use crate::ingest::LiveUpdate;
use crate::maintain::MaintainReport;
use crate::sql::alarm;
use protocols_model::{BootId, GatewayId};
use protocols_wire::TimeMap;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::sync::broadcast;

/// Live updates that a subscriber may be behind: some seconds of a busy system.
const LIVE_QUEUE: usize = 1024;

/// Bounds of the store (design.md P4). The defaults suit thousands of gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most series per gateway; more are refused by name.
    pub series_per_gateway: u64,
    /// Most inputs kept in quarantine per gateway; the oldest go first.
    pub quarantine_per_gateway: u64,
    /// Most alarms noted per gateway; what is over gives way, the oldest first.
    pub alarms_per_gateway: u64,
    /// Most open epochs per gateway; records of more are hinted to come later.
    pub epochs_per_gateway: u64,
    /// When a record is older than twice this (by receive time), it and all of its gateway that are
    /// older than this are turned into blocks.
    pub compact_after: Duration,
    /// Samples and 1-minute rollups older than this are dropped; stamps older than this are suspect.
    pub retention: Duration,
    /// 1-hour and 1-day rollups, events and ledger entries older than this are dropped.
    pub rollup_retention: Duration,
    /// An epoch that a hello no longer lists is closed when nothing of it came for so long.
    pub epoch_grace: Duration,
}

impl Limits {
    pub(super) const fn alarms(&self) -> alarm::Bounds {
        alarm::Bounds {
            most: self.alarms_per_gateway,
            retention: self.retention,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            series_per_gateway: 100_000,
            quarantine_per_gateway: 1_000,
            alarms_per_gateway: 1_000,
            epochs_per_gateway: 4_096,
            compact_after: Duration::from_secs(5 * 60),
            retention: Duration::from_secs(400 * DAY),
            rollup_retention: Duration::from_secs(10 * 365 * DAY),
            epoch_grace: Duration::from_secs(10 * 60),
        }
    }
}

/// What writers, readers and callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) limits: Limits,
    pub(crate) generation: AtomicU64,
    /// By row id of the gateway.
    derived: RwLock<HashMap<i64, GatewayDerived>>,
    /// Time maps of boots, for the digest of records before they reach a writer.
    maps: RwLock<HashMap<(GatewayId, BootId), TimeMap>>,
    pub(crate) live: broadcast::Sender<Arc<LiveUpdate>>,
    report: Mutex<MaintainReport>,
}

impl Shared {
    /// Nothing in memory yet.
    pub(crate) fn new(engine: Arc<dyn Engine>, limits: Limits, generation: u64) -> Self {
        Self {
            engine,
            limits,
            generation: AtomicU64::new(generation),
            derived: RwLock::default(),
            maps: RwLock::default(),
            live: broadcast::Sender::new(LIVE_QUEUE),
            report: Mutex::default(),
        }
    }

    /// Reads what memory begins with: time maps and, where memory follows this process' own commits,
    /// latest values and counts.
    pub(crate) fn begin(&self, conn: &Connection) -> Result<(), StoreError> {
        *self.maps_mut() = replay::maps(conn)?;
        if self.engine.is_alone() {
            *self.derived_mut() = replay::derived(conn, self.limits.retention)?;
        }
        Ok(())
    }

    /// Looks at the latest values and counts of a gateway, as `conn` sees them or newer.
    pub(super) fn with_derived<T>(
        &self,
        conn: &Connection,
        gateway: i64,
        look: impl FnOnce(&GatewayDerived) -> T,
    ) -> Result<T, StoreError> {
        if !self.engine.is_alone() {
            replay::catch_up(conn, self, gateway)?;
        }
        let derived = self.derived();
        Ok(match derived.get(&gateway) {
            Some(state) => look(state),
            None => look(&GatewayDerived::default()),
        })
    }

    /// Brings memory of a gateway up to what `conn` sees, and offers what is new to subscribers.
    pub(crate) fn catch_up(
        &self,
        conn: &Connection,
        gateway: &GatewayId,
    ) -> Result<(), StoreError> {
        match read::gateway_row(conn, gateway)? {
            Some((row, _)) => replay::catch_up(conn, self, row),
            None => Ok(()),
        }
    }

    /// The same of every gateway that is in memory.
    pub(crate) fn catch_up_all(&self, conn: &Connection) -> Result<(), StoreError> {
        let held: Vec<i64> = self.derived().keys().copied().collect();
        held.into_iter()
            .try_for_each(|gateway| replay::catch_up(conn, self, gateway))
    }

    /// Forgets latest values and counts: another database answers now.
    pub(crate) fn forget(&self) {
        self.derived_mut().clear();
    }

    pub(super) fn derived(&self) -> RwLockReadGuard<'_, HashMap<i64, GatewayDerived>> {
        self.derived.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn derived_mut(&self) -> RwLockWriteGuard<'_, HashMap<i64, GatewayDerived>> {
        self.derived.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn map(&self, gateway: &GatewayId, boot: BootId) -> Option<TimeMap> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.get(&(gateway.clone(), boot)).copied()
    }

    pub(super) fn maps_mut(&self) -> RwLockWriteGuard<'_, HashMap<(GatewayId, BootId), TimeMap>> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self) -> MutexGuard<'_, MaintainReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

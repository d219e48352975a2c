//! The seam between the cloud's services and a database (design.md C8).
//!
//! Two implementations exist: [`crate::SqliteStore`] and [`crate::PostgresStore`]. `tests/it/suite.rs` is
//! the contract in executable form and takes any [`Store`].

use crate::accounts::{LoginFailures, Session, TokenHash, User};
use crate::alarms::{AlarmCounts, AlarmFilter, EventFilter, StoredAlarm, Traffic};
use crate::error::StoreError;
use crate::ingest::{HelloState, Incoming, LiveUpdate, QuarantineInput, Settled};
use crate::maintain::{MaintainReport, MaintainStep};
use crate::query::{
    DeviceState, ExportFilter, ExportedSample, Latest, LedgerEntry, LedgerFilter, PointCounts,
    QuarantineEntry, QueryRange, QueryResult, Series, SeriesId, StoredEvent,
};
use crate::registry::{Gateway, GatewayState, NewGateway};
use async_trait::async_trait;
use protocols_model::{DeviceId, GatewayId, PointId, Timestamp};
use protocols_wire::Hello;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

/// Everything; what `fogline-cloud` holds as `Arc<dyn Store>`. An `Arc<dyn Store>` coerces to an
/// `Arc` of any part.
pub trait Store: Ingest + Registry + Queries + Accounts + Maintain {}

impl<T: Ingest + Registry + Queries + Accounts + Maintain> Store for T {}

/// Taking in what gateways send.
#[async_trait]
pub trait Ingest: Send + Sync + 'static {
    /// Stores a group in one transaction and says what is settled (design.md C2, C4, C5).
    ///
    /// Idempotent: whatever was covered before is settled again, after a synchronous write.
    /// One result per element of `batch`, in its order. A record that breaks the group is set
    /// aside and refused; the others are stored.
    ///
    /// # Errors
    /// [`StoreError::Database`]: nothing of the group is settled, offer it again.
    async fn commit(&self, batch: Vec<Incoming>) -> Result<Vec<Settled>, StoreError>;

    /// Notes a hello and answers with the settled state of what it names (design.md C3).
    ///
    /// `drained`: no message of the broker's stream has waited for long to be ingested. Only then are epochs
    /// closed that a complete hello no longer lists, and only when they were quiet for
    /// [`crate::Limits::epoch_grace`]: what is still under way must not be refused.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn hello(
        &self,
        gateway: &GatewayId,
        hello: Hello,
        received: Timestamp,
        drained: bool,
    ) -> Result<HelloState, StoreError>;

    /// Sets unusable input aside: keyed by hash, bounded per gateway, counted.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn quarantine(&self, input: QuarantineInput) -> Result<(), StoreError>;

    /// The store's generation: drawn when the database is made, and anew at a restore.
    fn generation(&self) -> u64;

    /// New latest values after each commit, from now on.
    fn subscribe(&self) -> broadcast::Receiver<Arc<LiveUpdate>>;
}

/// Gateways and who may speak as one (design.md C11: the registry decides, not the certificate).
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Enters a gateway.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the id is taken, also by a revoked one.
    async fn add_gateway(&self, gateway: NewGateway) -> Result<(), StoreError>;

    /// Gives a gateway a new certificate.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn renew_gateway(
        &self,
        id: &GatewayId,
        serial: &str,
        fingerprint: &str,
        not_after: Timestamp,
    ) -> Result<(), StoreError>;

    /// One gateway; one indexed read, fit for every connect.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn gateway(&self, id: &GatewayId) -> Result<Option<Gateway>, StoreError>;

    /// All gateways by id, revoked ones included.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError>;

    /// Revokes a gateway; says whether it was trusted before. Commits refuse it from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn revoke_gateway(&self, id: &GatewayId, at: Timestamp) -> Result<bool, StoreError>;

    /// Notes that the broker session began or ended. Sessions of unknown gateways are ignored.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn set_session(
        &self,
        id: &GatewayId,
        connected: bool,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Notes which gateways are connected, all at once: the others are not. For the start, when
    /// the broker's list is the truth.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn set_sessions(&self, connected: &[GatewayId], at: Timestamp) -> Result<(), StoreError>;

    /// What is known about a gateway.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn gateway_state(&self, id: &GatewayId) -> Result<Option<GatewayState>, StoreError>;
}

/// Reading what was stored. Record rows and blocks are merged: callers never see the difference.
#[async_trait]
pub trait Queries: Send + Sync + 'static {
    /// Series of one gateway or all, by gateway, device, point.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn series(&self, gateway: Option<&GatewayId>) -> Result<Vec<Series>, StoreError>;

    /// One series by number.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn series_by_id(&self, id: SeriesId) -> Result<Option<Series>, StoreError>;

    /// The series of a point: several where its type or unit changed, the newest last.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn series_of_point(
        &self,
        gateway: &GatewayId,
        device: &DeviceId,
        point: &PointId,
    ) -> Result<Vec<Series>, StoreError>;

    /// Devices of a gateway and how they are.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn devices(&self, gateway: &GatewayId) -> Result<Vec<DeviceState>, StoreError>;

    /// Latest values of a gateway, or of one device of it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn latest(
        &self,
        gateway: &GatewayId,
        device: Option<&DeviceId>,
    ) -> Result<Vec<Latest>, StoreError>;

    /// A series over a span, down-sampled so that peaks survive.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown series, [`StoreError::Damaged`].
    async fn query(&self, series: SeriesId, range: QueryRange) -> Result<QueryResult, StoreError>;

    /// Entries of the loss ledger, oldest entry first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn ledger(&self, filter: LedgerFilter) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Events that pass the filter, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn events(&self, filter: EventFilter) -> Result<Vec<StoredEvent>, StoreError>;

    /// Alarms that pass the filter: raised, acknowledged, returned, shelved, over; of each the worst
    /// first, then what changed last. Of those that are over what changed last.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn alarms(&self, filter: AlarmFilter) -> Result<Vec<StoredAlarm>, StoreError>;

    /// Open alarms in numbers: of one gateway, or of all that are trusted.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn alarm_counts(&self, gateway: Option<&GatewayId>) -> Result<AlarmCounts, StoreError>;

    /// What came of a gateway since the full hour at or before `since`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn traffic(&self, gateway: &GatewayId, since: Timestamp) -> Result<Traffic, StoreError>;

    /// What became of the readings, per series.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn counts(&self, gateway: &GatewayId) -> Result<Vec<PointCounts>, StoreError>;

    /// What is in quarantine, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn quarantined(
        &self,
        gateway: Option<&GatewayId>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError>;

    /// Every stored sample, streamed from one consistent snapshot in constant memory. In no
    /// particular order across series; by time within a block or record.
    ///
    /// # Errors
    /// [`StoreError::Database`]; later ones come through the stream.
    async fn export(&self, filter: ExportFilter) -> Result<ExportStream, StoreError>;
}

/// Users of the API.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Adds a user.
    ///
    /// # Errors
    /// [`StoreError::Exists`].
    async fn add_user(&self, user: User) -> Result<(), StoreError>;

    /// One user.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn user(&self, name: &str) -> Result<Option<User>, StoreError>;

    /// All users by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn users(&self) -> Result<Vec<User>, StoreError>;

    /// Sets a password hash and ends every session of the user but `keep`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn set_password(
        &self,
        name: &str,
        password_hash: &str,
        one_time: bool,
        at: Timestamp,
        keep: Option<TokenHash>,
    ) -> Result<(), StoreError>;

    /// Begins a session.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the user does not exist.
    async fn add_session(&self, session: Session) -> Result<(), StoreError>;

    /// The live session with this token, its last use moved to `now`; `None` when it is unknown
    /// or over.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn session(
        &self,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError>;

    /// Ends a session; unknown ones are fine.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn end_session(&self, token: &TokenHash) -> Result<(), StoreError>;

    /// Counts a failed login of `key`; the count starts anew after a quiet hour.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn login_failed(&self, key: &str, now: Timestamp) -> Result<LoginFailures, StoreError>;

    /// Failed logins of `key`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn login_failures(&self, key: &str, now: Timestamp) -> Result<LoginFailures, StoreError>;

    /// Forgets the failed logins of `key`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn login_succeeded(&self, key: &str) -> Result<(), StoreError>;
}

/// Keeping the database small and fast. One caller: the `tasks` role.
#[async_trait]
pub trait Maintain: Send + Sync + 'static {
    /// Does one bounded step: time correction, compaction, retention, tidying. Call again at once
    /// while it answers [`MaintainStep::Worked`], else after some seconds.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`]; the step had no effect.
    async fn maintain(&self, now: Timestamp) -> Result<MaintainStep, StoreError>;

    /// What was done since the store was opened.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn maintain_report(&self) -> Result<MaintainReport, StoreError>;

    /// Draws a new generation: to be called once after a restore from a backup, before ingest
    /// starts. Gateways then offer again what they still hold (design.md C8).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn restored(&self) -> Result<u64, StoreError>;

    /// Writes what is pending and closes; further calls fail with [`StoreError::Closed`]. A drop
    /// without it loses nothing.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    async fn close(&self) -> Result<(), StoreError>;
}

/// Samples on their way out of the store.
#[derive(Debug)]
pub struct ExportStream {
    chunks: mpsc::Receiver<Result<Vec<ExportedSample>, StoreError>>,
}

impl ExportStream {
    /// A stream of what `chunks` brings.
    #[must_use]
    pub const fn new(chunks: mpsc::Receiver<Result<Vec<ExportedSample>, StoreError>>) -> Self {
        Self { chunks }
    }

    /// The next chunk; `None` at the end. After an error nothing follows.
    pub async fn next(&mut self) -> Option<Result<Vec<ExportedSample>, StoreError>> {
        self.chunks.recv().await
    }
}

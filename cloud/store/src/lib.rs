//! The cloud's database: what ingest commits, what the API asks, what keeps it bounded.
//!
//! ```text
//! ingest ─▶ commit ─▶ record rows ─▶ compactor ─▶ blocks + rollups ─▶ retention
//!              │          └───────────┬───────────────┘
//!              ├─▶ cursors, ledger    ▼
//!              └─▶ live values ─▶ queries, export ─▶ api, dashboard, oracle
//! ```
//!
//! Guarantees (design.md C4-C8): a record is stored once, whatever is sent how often in what order;
//! what [`Ingest::commit`] returns is on disk; what is missing stands in the ledger; a kill at any
//! instant loses and duplicates nothing. Nothing here reads a clock: callers pass `now`.
//!
//! | room | holds |
//! |---|---|
//! | [`store`] | the traits: the seam between the services and a database |
//! | [`ingest`], [`query`], [`alarms`], [`registry`], [`accounts`], [`maintain`] | the types they speak |
//! | [`sql`] | the store on a database that speaks SQL: all that both have in common |
//! | [`sqlite`], [`postgres`] | the embedded database, the one for production |
//! | `alarm`, `cursor`, `ledger`, `block`, `summary`, `downsample`, `derived` | pure cores, shared by every implementation |

#![forbid(unsafe_code)]

pub mod accounts;
mod alarm;
pub mod alarms;
mod block;
mod cursor;
mod derived;
mod digest;
mod downsample;
pub mod error;
pub mod failpoint;
mod generation;
pub mod ingest;
mod ledger;
pub mod maintain;
pub mod offices;
pub mod postgres;
pub mod query;
pub mod registry;
pub mod sql;
pub mod sqlite;
mod stamp;
pub mod store;
mod summary;

pub use accounts::{LoginFailures, Session, TokenHash, User};
pub use alarms::{AlarmCounts, AlarmFilter, AlarmSeries, EventFilter, StoredAlarm, Traffic};
pub use error::StoreError;
pub use ingest::{HelloState, Incoming, LiveUpdate, QuarantineInput, Settled};
pub use maintain::{MaintainReport, MaintainStep};
pub use offices::{Candidate, FileOffices, Office, Offices};
pub use postgres::{PostgresOffices, PostgresOptions, PostgresStore};
pub use query::{
    Bucket, Confirmed, DeviceState, Estimated, ExportFilter, ExportedSample, Gap, GapKind, Latest,
    LedgerEntry, LedgerFilter, LedgerPoint, PointCounts, Points, QuarantineEntry, QueryRange,
    QueryResult, RawSample, Series, SeriesId, StoredEvent, TimeRange,
};
pub use registry::{Gateway, GatewayState, NewGateway};
pub use sql::Limits;
pub use sqlite::{SqliteOptions, SqliteStore};
pub use store::{Accounts, ExportStream, Ingest, Maintain, Queries, Registry, Store};

//! Ingest's fail points: where a test may end the process (see [`cloud_store::failpoint`]).

/// A group is decoded, nothing of it is in the database.
pub(crate) const BEFORE_COMMIT: &str = "ingest.before_commit";
/// A group is in the database, nobody was told.
pub(crate) const AFTER_COMMIT: &str = "ingest.after_commit";
/// An acknowledgement is sent and its messages are settled at the broker.
pub(crate) const AFTER_SETTLE: &str = "ingest.after_settle";

pub(crate) use cloud_store::failpoint::hit;

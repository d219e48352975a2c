//! The words of Fogline: identities, values, qualities, times and sequence sets.
//!
//! Both sides of the link speak in these types; nothing here does I/O, knows tokio or a wire format.
//! Parse once, trust afterwards: an id, a range or a set that exists is valid.
//!
//! | room | holds |
//! |---|---|
//! | [`ids`] | gateway, device and point names |
//! | [`lane`] | the four lanes of a spool and of a link |
//! | [`seq`] | epoch, seq, ranges and sets of seqs: what "settled" means |
//! | [`value`], [`quality`], [`reading`] | one reading of one point |
//! | [`scale`] | from raw numbers to values and back |
//! | [`dictionary`] | what a column of a record stands for |
//! | [`loss`] | claims: the loss ledger's entries |
//! | [`time`] | wall clock and monotonic clock, apart |

#![forbid(unsafe_code)]

pub mod alarm;
pub mod dictionary;
pub mod ids;
pub mod lane;
pub mod loss;
pub mod quality;
pub mod reading;
pub mod scale;
pub mod seq;
pub mod time;
pub mod value;

pub use alarm::{AlarmLevel, AlarmState};
pub use dictionary::{DictionaryHash, PointDescriptor};
pub use ids::{DeviceId, GatewayId, IdError, PointId};
pub use lane::Lane;
pub use loss::{Claim, LossReason, PointLoss, RefuseReason};
pub use quality::{Quality, Reason};
pub use reading::{PointKey, Reading};
pub use scale::{Scale, ScaleError};
pub use seq::{Epoch, RecordKey, Seq, SeqRange, SeqSet};
pub use time::{BootId, Clock, Instant, SystemClock, Timestamp};
pub use value::{Value, ValueType};

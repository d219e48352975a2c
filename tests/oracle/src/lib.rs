//! The oracle: says of every reading that a device gave whether it was stored once, filtered by
//! rule, entered in the loss ledger, or lost.
//!
//! ```text
//! answer log of the simulator ─┐
//! site file (points, deadbands)├─▶ judge ─▶ Verdict { read, stored, filtered, ledger, crash_tail,
//! raw export of the database ──┤                      lost, duplicated, … }
//! ledger export, process runs ─┘
//! ```
//!
//! Nothing is believed because a component says so (design.md section 9): *read* is what the simulator
//! answered, *filtered* is recomputed here, *stored* is found by (register, poll number) in the
//! export. Only wall clocks of the judge's own machine and the order of seqs within an epoch are
//! used; the gateway's clock may step as it likes. On a machine that stands still for a while nothing
//! is held against a process that stood still with it: an answer that left late is a reading only if
//! it was taken, and the loss window does not run while nothing ran.

#![forbid(unsafe_code)]

pub mod awake;
pub mod evidence;
pub mod judge;
mod matching;
mod track;

pub use awake::{Awake, Pause};
pub use evidence::{Ending, Evidence, LedgerRow, Run, StoredRow};
pub use judge::{Verdict, judge};

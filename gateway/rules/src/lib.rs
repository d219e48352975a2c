//! Rules: what the gateway does by itself, without the cloud.
//!
//! ```text
//! readings ─▶ Image (latest of every point a rule looks at)
//!               ─▶ Engine: conditions held, cleared, interlocked ─▶ Effect: write │ alarm │ event │ capture
//!                                   ▲                                   │
//!                                   └────────── what became of it ──────┘
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`image`] | the latest reading of each point that a rule looks at |
//! | [`rule`] | a rule as configured |
//! | `condition` | held, cleared, bad: the state machine of one condition |
//! | [`alarm`] | raised, acknowledged, latched, shelved; survives a restart |
//! | [`engine`] | which rules a reading concerns, and what follows |
//! | [`check`] | what is refused before it runs: loops, budgets |
//!
//! Guarantees, all pure and taking `now`:
//! 1. A condition that needs `for` fires only after it was true at every evaluation for that long, on the
//!    monotonic clock.
//! 2. An input without value or older than `stale` never fires a rule by itself: the rule's own word on
//!    bad inputs decides, and its safe values are written.
//! 3. A rule writes no more often than its limit, never while its interlock is true or cannot be told,
//!    and never repeats a write whose outcome is unknown.
//! 4. An alarm's state changes only by the rules of [`alarm`]; a restart changes nothing.
//! 5. The work for a reading is bounded: each rule is evaluated at most once per sweep.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod alarm;
pub mod check;
mod condition;
pub mod engine;
pub mod image;
pub mod rule;

pub use alarm::{Alarm, AlarmBook, AlarmChange, AlarmError};
pub use check::{RuleError, check};
pub use engine::{Effect, Engine, Outcome};
pub use image::LatestImage;
pub use rule::{Action, OnBad, Rule, WriteAction, WriteLimit};

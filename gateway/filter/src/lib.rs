//! Filters: what of a point's readings is worth sending, with the error that leaving the rest out can
//! introduce stated as a type.
//!
//! ```text
//! reading ─▶ Chain: stage ─▶ stage ─▶ … ─▶ sent
//!        └─▶ Window: panes ─▶ aggregates, each a point of its own with a chain of its own
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`bound`] | the error a stage can introduce, and how errors compose |
//! | [`chain`] | the stages of one point in order, and what they did: taken, sent, held back |
//! | [`stage`] | deadbands, swinging door, sampling, pace |
//! | [`window`] | tumbling and sliding windows and what is computed over them |
//!
//! Guarantees, all pure and tested over random series:
//! 1. **Conservation.** For every chain: taken = sent + filtered + held; flushing leaves nothing held.
//! 2. **A change of quality always passes**, at once, in every stage.
//! 3. **The stated bound holds**: whoever reconstructs the series from what was sent, as the bound says,
//!    is nowhere further from the original than it states.
//! 4. Nothing depends on the wall clock but stamps; a clock that steps costs at most a few samples more.
//! 5. Memory is bounded by the configuration: a stage holds at most two samples, a window its panes.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bound;
pub mod chain;
pub mod stage;
pub mod window;

pub use bound::Bound;
pub use chain::{Chain, Counts};
pub use stage::{Band, Stage};
pub use window::{Aggregate, Window, WindowError, WindowSpec};

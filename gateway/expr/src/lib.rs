//! Typed expressions over points: what derived points and rules are written in.
//!
//! ```text
//! "cellar.temperature > 30 && pump.running"
//!    ─▶ tokens ─▶ tree ─▶ types checked, names resolved to slots ─▶ Program ─▶ Outcome
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `token`, `parse`, `tree` | text to tree; each node knows its place in the text |
//! | `check` | types, names and constants; a tree that passes cannot fail by type when it runs |
//! | `function` | what can be called |
//! | [`program`] | the compiled form and its evaluation |
//! | [`error`] | what is wrong, and where: errors point at the character |
//!
//! Guarantees:
//! - **Total.** There are no loops and no recursion: a program ends after at most [`Program::cost`]
//!   steps, allocates nothing for numbers, and never panics. Text, depth and length are bounded.
//! - **Typed.** Everything is known when the configuration is read; the only thing that can go wrong
//!   later is an input without a value, or arithmetic without a result.
//! - **Three-valued.** What depends on a bad input is bad, with the input's reason. `false && bad` is
//!   false and `true || bad` is true: an answer that does not depend on the input stands.
//! - **Integers stay integers**: they are computed in 128 bits and never pass through a float, except by
//!   `/`, which always divides as people do (`1 / 2` is 0.5; `div` is the integer one).
//!
//! Why our own: the language is a few hundred lines and evaluates without allocation; the known engines
//! have no cost bound, bring an ANTLR run time, or a licence that does not fit.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod check;
pub mod error;
mod function;
mod parse;
pub mod program;
mod token;
mod tree;

pub use check::{Names, Type, compile};
pub use error::ExprError;
pub use function::reference;
pub use program::{Image, Input, Outcome, Program, Scalar, Scratch};

/// Longest source text, in bytes. What does not fit is two rules, or a derived point and a rule.
pub const MAX_SOURCE_BYTES: usize = 1024;
/// Deepest nesting of parentheses, calls and signs.
pub const MAX_DEPTH: usize = 32;

//! How far a reconstruction can be from the original: the type of a filter's error.
//!
//! What is bounded are good numbers of a point at the times of its readings. Texts, truths and changes of
//! quality always pass where they change and have no error. Integers beyond 2^53 are compared exactly by
//! deadbands; the swinging door computes in floats and states its bound up to there.

use std::fmt;

/// The largest error, and how to reconstruct to have no larger one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Bound {
    /// Nothing is left out.
    #[default]
    Exact,
    /// Hold the last sent value until the next one: the original is within `absolute` plus `relative`
    /// times the held value's size.
    Hold {
        /// In the point's unit.
        absolute: f64,
        /// Part of the held value, 0.01 for a percent.
        relative: f64,
    },
    /// Draw straight lines between sent values: the original is within `absolute` of the line.
    Linear {
        /// In the point's unit.
        absolute: f64,
    },
    /// Readings are left out by count or time: what lies between sent ones is not known.
    Unstated,
}

impl Bound {
    /// The error of `self` followed by `next`.
    ///
    /// Holding composes: the errors add (the second band is relative to a value that is itself off by
    /// the first, hence the product). Lines compose with nothing but exactness: what a second stage
    /// leaves out were the ends of lines.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Exact, other) | (other, Self::Exact) => other,
            (
                Self::Hold { absolute, relative },
                Self::Hold {
                    absolute: next_absolute,
                    relative: next_relative,
                },
            ) => Self::Hold {
                // |x - h1| <= a1 + r1 |h1| and |h1 - h2| <= a2 + r2 |h2|, so |h1| <= a2 + (1 + r2) |h2|.
                absolute: absolute + next_absolute + relative * next_absolute,
                relative: relative + next_relative + relative * next_relative,
            },
            _ => Self::Unstated,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Hold { absolute, relative } if *relative == 0.0 => {
                write!(f, "within {absolute} of the last sent value")
            }
            Self::Hold { absolute, relative } if *absolute == 0.0 => {
                write!(f, "within {} % of the last sent value", relative * 100.0)
            }
            Self::Hold { absolute, relative } => write!(
                f,
                "within {absolute} + {} % of the last sent value",
                relative * 100.0
            ),
            Self::Linear { absolute } => {
                write!(f, "within {absolute} of the line between sent values")
            }
            Self::Unstated => f.write_str("not known between sent values"),
        }
    }
}

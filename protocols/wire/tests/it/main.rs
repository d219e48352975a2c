//! The wire format as a contract: what was written reads back, what is damaged is named, what is
//! hostile is bounded, and what was released decodes for ever.

mod any;
mod round_trip;

//! Our rules for the rendered chart. A schema knows what the API server can read; these know what must
//! not be forgotten.
//!
//! Each policy comes with a mutant: a rendering that breaks this one rule. A policy that its mutant does
//! not wake is no policy, and a test says so.

mod pods;
mod reach;
mod staying;

use crate::objects::Objects;

/// A rule.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What holds, as a sentence.
    pub name: &'static str,
    /// What breaks it, one line each.
    pub broken: fn(&Objects) -> Vec<String>,
    /// Breaks it in a rendering of `values-ha.yaml`; none where what it changes is not there.
    pub mutant: fn(&mut Objects) -> Option<()>,
}

/// All of them.
pub fn all() -> impl Iterator<Item = Policy> {
    [pods::POLICIES, reach::POLICIES, staying::POLICIES]
        .into_iter()
        .flatten()
        .copied()
}

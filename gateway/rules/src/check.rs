//! What is refused before it runs: rules that would chase each other, that could not keep their budget, or
//! that write what cannot be written.

use crate::rule::{Action, Rule, WriteAction};
use gateway_expr::Program;
use protocols_model::PointKey;
use std::collections::BTreeSet;
use std::time::Duration;

/// Steps of expressions that all rules together may take in a second: about two percent of a small ARM
/// core at some hundred nanoseconds a step.
pub const DEFAULT_BUDGET: u64 = 200_000;
/// What waking a rule costs beside its expressions, in steps.
const WAKE_COST: u64 = 10;

/// Why a rule set is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Rules write each other's inputs.
    #[error("the rules {} write each other's inputs in a loop", .0.join(" → "))]
    Loop(Vec<String>),
    /// A rule ends by its own act and then writes again.
    #[error(
        "rule {0} looks at a point that it writes when it fires and again when it ends: it would chase itself"
    )]
    SelfLoop(String),
    /// A point cannot be written.
    #[error("rule {rule} writes {point}, which is not writable")]
    NotWritable {
        /// The rule.
        rule: String,
        /// The point.
        point: String,
    },
    /// Too much work.
    #[error("the rules take {needed} steps a second, {allowed} are allowed; the most by {rule}")]
    Budget {
        /// Steps a second of all rules.
        needed: u64,
        /// The budget.
        allowed: u64,
        /// The costliest rule.
        rule: String,
    },
}

/// What the check must know of points.
pub trait Points {
    /// Its name, for people.
    fn name(&self, point: PointKey) -> String;
    /// Whether it can be written.
    fn writable(&self, point: PointKey) -> bool;
    /// How often it is read; one second where nobody knows.
    fn period(&self, point: PointKey) -> Duration;
    /// The points it is computed from, itself if it is read from a device.
    fn sources(&self, point: PointKey) -> Vec<PointKey>;
}

/// Everything that is wrong with the rules together.
#[must_use]
pub fn check(rules: &[Rule], points: &dyn Points, budget: u64) -> Vec<RuleError> {
    let mut errors = Vec::new();
    for rule in rules {
        for point in written(rule).filter(|point| !points.writable(*point)) {
            errors.push(RuleError::NotWritable {
                rule: rule.name.clone(),
                point: points.name(point),
            });
        }
    }
    let reads: Vec<BTreeSet<PointKey>> = rules
        .iter()
        .map(|rule| {
            let inputs = read(rule);
            inputs.flat_map(|point| points.sources(point)).collect()
        })
        .collect();
    let writes: Vec<BTreeSet<PointKey>> =
        rules.iter().map(|rule| written(rule).collect()).collect();
    for (rule, (reads, writes)) in rules.iter().zip(reads.iter().zip(&writes)) {
        if !reads.is_disjoint(writes) && !rule.on_clear.is_empty() && rule.clear.is_none() {
            errors.push(RuleError::SelfLoop(rule.name.clone()));
        }
    }
    errors.extend(find_loop(rules, &reads, &writes));
    errors.extend(over_budget(rules, points, budget));
    errors
}

/// The shortest loop of two rules or more, if there is one.
fn find_loop(
    rules: &[Rule],
    reads: &[BTreeSet<PointKey>],
    writes: &[BTreeSet<PointKey>],
) -> Option<RuleError> {
    let leads = |from: usize, to: usize| {
        let sets = writes.get(from).zip(reads.get(to));
        from != to && sets.is_some_and(|(writes, reads)| !writes.is_disjoint(reads))
    };
    let mut best: Option<Vec<usize>> = None;
    for start in 0..rules.len() {
        // Breadth first: the first way back is the shortest.
        let mut ways = std::collections::VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        'search: while let Some(way) = ways.pop_front() {
            let Some(&last) = way.last() else { continue };
            for next in 0..rules.len() {
                if !leads(last, next) {
                    continue;
                }
                if next == start {
                    if best.as_ref().is_none_or(|best| way.len() < best.len()) {
                        best = Some(way);
                    }
                    break 'search;
                }
                if seen.insert(next) {
                    let mut longer = way.clone();
                    longer.push(next);
                    ways.push_back(longer);
                }
            }
        }
    }
    let name = |place: &usize| rules.get(*place).map(|rule| rule.name.clone());
    best.map(|way| {
        let back = way.first().into_iter();
        RuleError::Loop(way.iter().chain(back).filter_map(name).collect())
    })
}

fn over_budget(rules: &[Rule], points: &dyn Points, allowed: u64) -> Option<RuleError> {
    let cost = |rule: &Rule| {
        let steps: u64 = conditions(rule)
            .map(|program| u64::from(program.cost()))
            .sum();
        let inputs: BTreeSet<PointKey> = read(rule).collect();
        let wakes: f64 = inputs
            .iter()
            .map(|point| 1.0 / points.period(*point).as_secs_f64().max(0.001))
            .sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 1000 wakes a second for each of some thousand points"
        )]
        let wakes = wakes.ceil() as u64;
        (steps + WAKE_COST).saturating_mul(wakes)
    };
    let needed = rules.iter().map(cost).sum();
    let most = rules.iter().max_by_key(|rule| cost(rule))?;
    (needed > allowed).then(|| RuleError::Budget {
        needed,
        allowed,
        rule: most.name.clone(),
    })
}

fn conditions(rule: &Rule) -> impl Iterator<Item = &Program> {
    let all = [Some(&rule.when), rule.clear.as_ref(), rule.never.as_ref()];
    all.into_iter().flatten()
}

fn read(rule: &Rule) -> impl Iterator<Item = PointKey> {
    conditions(rule).flat_map(|program| program.inputs().iter().copied())
}

pub(crate) fn written(rule: &Rule) -> impl Iterator<Item = PointKey> {
    let fired = rule.actions.iter().filter_map(|action| match action {
        Action::Write(write) => Some(write),
        _ => None,
    });
    let all = fired.chain(&rule.on_clear).chain(&rule.safe);
    all.map(|write: &WriteAction| write.point)
}

//! What a run of the kit found.

use std::collections::BTreeSet;
use std::fmt;

/// A rule of `protocols_driver`, by its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rule {
    /// One task, one bus; nothing is left behind.
    OneTask = 1,
    /// It returns only when told to, and then in time.
    ReturnsWhenTold = 2,
    /// An answer in hand is never dropped.
    NoAnswerDropped = 3,
    /// Silence is a reading too.
    SilenceIsAReading = 4,
    /// A value is never guessed.
    NothingGuessed = 5,
    /// Readings of one request share one timestamp of the wall clock; spans are monotonic.
    OneTimestamp = 6,
    /// One device's trouble stays its own.
    OwnTrouble = 7,
    /// Orders go ahead of polls, are carried out at most once and answered each.
    OrdersOnce = 8,
    /// Everything is bounded and counted, changes are published.
    Bounded = 9,
    /// It neither blocks nor panics.
    NeverBlocks = 10,
}

impl Rule {
    /// Its number in the contract.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// In which trial.
    pub trial: &'static str,
    /// What was seen.
    pub saw: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, trial, saw } = self;
        write!(f, "rule {} in \"{trial}\": {saw}", rule.number())
    }
}

/// The outcome of all trials.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was broken; empty when the driver conforms.
    pub violations: Vec<Violation>,
    /// Trials that were run and found nothing.
    pub passed: Vec<&'static str>,
    /// Trials that were left out, and why.
    pub left_out: Vec<(&'static str, String)>,
    /// Trials that could not be run although nothing of the bench speaks against it.
    pub not_run: Vec<(&'static str, String)>,
}

impl Report {
    /// The numbers of the broken rules.
    #[must_use]
    pub fn rules(&self) -> BTreeSet<u8> {
        self.violations.iter().map(|v| v.rule.number()).collect()
    }

    /// Ends the test when a rule was broken or a trial could not be run.
    ///
    /// # Panics
    /// With everything that was found.
    #[expect(clippy::panic, reason = "the end of a test")]
    pub fn assert_conforms(&self) {
        if !self.violations.is_empty() || !self.not_run.is_empty() {
            panic!("the driver does not conform\n{self}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "BROKEN   {violation}")?;
        }
        for (trial, why) in &self.not_run {
            writeln!(f, "NOT RUN  \"{trial}\": {why}")?;
        }
        for (trial, why) in &self.left_out {
            writeln!(f, "left out \"{trial}\": {why}")?;
        }
        for trial in &self.passed {
            writeln!(f, "passed   \"{trial}\"")?;
        }
        Ok(())
    }
}

//! What is wrong with a configuration: collected, never thrown, so that all of it is told at once.

use crate::source::{Place, Position};
use std::cmp::Ordering;
use std::path::Path;

/// Whether a problem stops the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can; the part is ignored or doubtful.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` when a file could not even be read.
    pub place: Option<Place>,
    /// What is wrong, and what was found.
    pub message: String,
    /// What is allowed; may be empty.
    pub allowed: String,
    /// The nearest thing that would be right.
    pub suggestion: Option<String>,
}

/// The machine form of a problem, as `check --format json` prints it.
#[derive(Debug, serde::Serialize)]
pub struct ProblemReport<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: Option<&'a Path>,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// Key path.
    pub key: Option<&'a str>,
    /// What is wrong, and what was found.
    pub message: &'a str,
    /// What is allowed.
    pub allowed: &'a str,
    /// The nearest thing that would be right.
    pub suggestion: Option<&'a str>,
}

impl Problem {
    /// An error at a place.
    #[must_use]
    pub fn error(place: &Place, message: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: Some(place.clone()),
            message: message.into(),
            allowed: allowed.into(),
            suggestion: None,
        }
    }

    /// The same, as a warning.
    #[must_use]
    pub fn warning(place: &Place, message: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, message, allowed)
        }
    }

    /// With the nearest of `candidates` as suggestion, where one is near enough.
    #[must_use]
    #[expect(
        single_use_lifetimes,
        reason = "elision is not stable inside impl Trait"
    )]
    pub fn suggest<'a>(
        mut self,
        found: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.suggestion = nearest(found, candidates).map(str::to_owned);
        self
    }

    /// Line and column, where there is a place.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        let place = self.place.as_ref()?;
        Some(place.source.position(place.span.start))
    }

    /// The machine form.
    #[must_use]
    pub fn report(&self) -> ProblemReport<'_> {
        let position = self.position();
        ProblemReport {
            severity: self.severity,
            file: self.place.as_ref().map(|place| place.source.path()),
            line: position.map(|p| p.line),
            column: position.map(|p| p.column),
            key: self.place.as_ref().map(|place| place.key.as_str()),
            message: &self.message,
            allowed: &self.allowed,
            suggestion: self.suggestion.as_deref(),
        }
    }
}

/// The candidate that `found` was probably meant to be.
fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let likeness = strsim::jaro_winkler(&found, &candidate.to_ascii_lowercase());
            (likeness, candidate)
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// All problems of a configuration.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds one; the same problem found twice (a template used by two devices) is kept once.
    pub fn push(&mut self, problem: Problem) {
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|p| p.severity == Severity::Error)
    }

    /// All of them, in the order of files and lines.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by(|a, b| match (&a.place, &b.place) {
            (Some(a), Some(b)) => {
                (a.source.path(), a.span.start).cmp(&(b.source.path(), b.span.start))
            }
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        });
        self.list
    }
}

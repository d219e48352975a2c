//! The committed table: instructions an item, a line a stage; and the verdict on what was found.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

/// What allocator, hash seeds and the system's own functions may differ by; in a build for tests also what a
/// build with incremental files inlines less or more than one without (8 % seen).
const TOLERANCE: f64 = if cfg!(debug_assertions) { 0.12 } else { 0.03 };
/// What another compiler may differ by.
const OTHER_COMPILER: f64 = 0.15;
const COMPILER: &str = "# compiler: ";

/// The table.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    /// What it was made with.
    pub compiler: String,
    stages: BTreeMap<String, f64>,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As in the table.
    Ok,
    /// Less than in the table: renew it, or the gain can be lost again unseen.
    Less,
    /// More than the table allows.
    Missed,
    /// Not in the table.
    Unknown,
}

impl Table {
    /// Reads a table.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut stages = BTreeMap::new();
        let mut compiler = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(COMPILER) {
                name.trim().clone_into(&mut compiler);
            }
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (name, count) = line
                .split_once(' ')
                .with_context(|| format!("{line:?} is no stage and number"))?;
            let count = count.trim().parse::<f64>();
            let count = count.with_context(|| format!("{line:?} has no number"))?;
            anyhow::ensure!(count > 0.0, "{line:?}: a stage takes some instructions");
            stages.insert(name.to_owned(), count);
        }
        Ok(Self { compiler, stages })
    }

    /// The text of a table.
    pub(crate) fn write(made: &str, compiler: &str, measured: &[(&str, f64)]) -> String {
        let mut text = format!("# Instructions an item; {made}\n{COMPILER}{compiler}\n");
        for (name, count) in measured {
            // Writing to a `String` cannot fail.
            let _infallible = writeln!(text, "{name} {count:.1}");
        }
        text
    }

    /// A stage's count.
    pub(crate) fn get(&self, stage: &str) -> Option<f64> {
        self.stages.get(stage).copied()
    }

    /// How much more than the table says is fine.
    pub(crate) fn tolerance(&self, compiler: &str) -> f64 {
        if self.compiler == compiler {
            TOLERANCE
        } else {
            OTHER_COMPILER
        }
    }
}

impl Verdict {
    /// Compares.
    pub(crate) fn of(found: f64, wanted: Option<f64>, tolerance: f64) -> Self {
        match wanted {
            None => Self::Unknown,
            Some(wanted) if found > wanted * (1.0 + tolerance) => Self::Missed,
            Some(wanted) if found < wanted * (1.0 - tolerance) => Self::Less,
            Some(_) => Self::Ok,
        }
    }

    /// Whether the run may end well with it.
    pub(crate) const fn is_fine(self) -> bool {
        matches!(self, Self::Ok | Self::Less)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Less => "less-renew-the-table",
            Self::Missed => "missed",
            Self::Unknown => "not-in-the-table",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nonsense_is_refused() {
        let text = Table::write("made up", "rustc 1.2.3", &[("a", 12.34), ("b", 5.0)]);
        let table = Table::parse(&text).unwrap();
        assert_eq!(table.compiler, "rustc 1.2.3");
        assert_eq!((table.get("a"), table.get("b")), (Some(12.3), Some(5.0)));
        assert_eq!(table.get("c"), None);
        for nonsense in ["a", "a b", "a 0", "a -1"] {
            assert!(Table::parse(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn more_than_the_table_allows_is_missed_and_less_is_told() {
        let verdict = |found, wanted| Verdict::of(found, wanted, 0.03);
        assert_eq!(verdict(102.0, Some(100.0)), Verdict::Ok);
        assert_eq!(verdict(104.0, Some(100.0)), Verdict::Missed);
        assert_eq!(verdict(90.0, Some(100.0)), Verdict::Less);
        assert_eq!(verdict(90.0, None), Verdict::Unknown);
        assert!(!Verdict::Unknown.is_fine() && !Verdict::Missed.is_fine());
    }

    #[test]
    fn another_compiler_is_allowed_more() {
        let table = Table::parse("# compiler: rustc 1\na 1").unwrap();
        assert!(table.tolerance("rustc 2") > table.tolerance("rustc 1"));
    }
}

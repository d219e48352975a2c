//! A run in stages: each has its own deadline, what fails does not hide what comes after it, and at the
//! end stands what failed, in its own words, under a table of all stages.

use crate::{failures, step, supervise};
use std::time::{Duration, Instant};

/// Lines of failures shown at the end, all stages together: a log's reader often sees the end only.
const MOST_LINES: usize = 70;

/// How a stage ended.
enum Ended {
    Well,
    /// Why, and what to show of its output.
    Failed(String, Vec<String>),
    /// A stage that it needs failed, or there was no time left.
    NotRun(&'static str),
}

struct Stage {
    name: &'static str,
    ended: Ended,
    took: Duration,
}

/// The stages of one run so far.
pub(crate) struct Stages {
    done: Vec<Stage>,
    until: Instant,
}

impl Stages {
    /// A run that takes at most `limit`, whatever happens.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            done: Vec::new(),
            until: Instant::now() + limit,
        }
    }

    /// Runs a stage unless one of those it `needs` did not end well. Its commands may take `minutes`
    /// together; a stage that takes longer hangs.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        minutes: u64,
        needs: &[&str],
        work: impl FnOnce() -> anyhow::Result<()>,
    ) {
        let begun = Instant::now();
        let lacks = |need: &&str| {
            let is_well = |stage: &Stage| stage.name == *need && matches!(stage.ended, Ended::Well);
            !self.done.iter().any(is_well)
        };
        let ended = if needs.iter().any(lacks) {
            Ended::NotRun("what it needs failed")
        } else if begun >= self.until {
            Ended::NotRun("no time was left")
        } else {
            let until = self.until.min(begun + Duration::from_secs(60 * minutes));
            let (done, output) = supervise::within(until, || step::step(name, work));
            match done {
                Ok(()) => Ended::Well,
                Err(error) => {
                    step::fail(&error);
                    Ended::Failed(format!("{error:#}"), failures::of(&output))
                }
            }
        };
        self.done.push(Stage {
            name,
            ended,
            took: begun.elapsed(),
        });
    }

    /// Says what failed and how long everything took.
    ///
    /// # Errors
    /// Where a stage failed or could not be run, with their names.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let (lines, bad) = self.summary();
        step::say("");
        lines.iter().for_each(|line| step::say(line));
        anyhow::ensure!(bad.is_empty(), "failed: {}", bad.join(", "));
        Ok(())
    }

    fn summary(&self) -> (Vec<String>, Vec<&'static str>) {
        let (mut lines, mut bad) = (Vec::new(), Vec::new());
        let failed = self
            .done
            .iter()
            .filter(|stage| !matches!(stage.ended, Ended::Well));
        let mut left = failed.clone().count();
        for stage in failed {
            bad.push(stage.name);
            let room = (MOST_LINES.saturating_sub(lines.len()) / left.max(1)).max(10);
            left -= 1;
            if let Ended::Failed(why, shown) = &stage.ended {
                lines.push(format!("✗ {}: {why}", stage.name));
                lines.extend(shown.iter().take(room).map(|line| format!("    {line}")));
                if shown.len() > room {
                    lines.push(format!("    … {} more lines above", shown.len() - room));
                }
            }
        }
        for stage in &self.done {
            let word = match stage.ended {
                Ended::Well => "ok".to_owned(),
                Ended::Failed(..) => "FAILED".to_owned(),
                Ended::NotRun(why) => format!("not run: {why}"),
            };
            let seconds = stage.took.as_secs_f64();
            lines.push(format!("{seconds:>8.1} s  {:<52} {word}", stage.name));
        }
        let all: Duration = self.done.iter().map(|stage| stage.took).sum();
        lines.push(format!("{:>8.1} s  all stages", all.as_secs_f64()));
        (lines, bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_named_at_the_end_and_hides_only_what_needs_it() {
        let mut stages = Stages::new(Duration::from_secs(3600));
        stages.run("build", 1, &[], || anyhow::bail!("it does not compile"));
        stages.run("test", 1, &["build"], || panic!("must not run"));
        stages.run("format", 1, &[], || Ok(()));
        let (lines, bad) = stages.summary();
        assert_eq!(bad, ["build", "test"]);
        assert!(lines[0].contains("it does not compile"), "{lines:?}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("test") && line.contains("not run"))
        );
        assert!(
            lines
                .iter()
                .any(|line| line.contains("format") && line.ends_with("ok"))
        );
        assert!(lines.last().unwrap().contains("all stages"));
        assert_eq!(
            stages.finish().unwrap_err().to_string(),
            "failed: build, test"
        );
    }

    #[test]
    fn without_time_nothing_is_begun() {
        let mut stages = Stages::new(Duration::ZERO);
        stages.run("any", 1, &[], || panic!("must not run"));
        assert_eq!(stages.summary().1, ["any"]);
    }
}

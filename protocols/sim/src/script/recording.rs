//! Recordings: a column of a CSV file, played again and again. Each row stays until the next one.

use crate::span::{Moment, Span};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Largest file; a day at ten rows a second fits.
const MOST_BYTES: u64 = 64 << 20;

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    /// The file is too large to be held.
    #[error("is larger than 64 MiB; cut it")]
    TooLarge,
    /// A column that is not there.
    #[error("has no column {0:?}; its header is {1:?}")]
    Column(String, String),
    /// No rows below the header.
    #[error("has no rows below its header")]
    Empty,
    /// A field that is no number.
    #[error("line {line}: {found:?} is no number")]
    Number {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// Times that do not rise.
    #[error("line {0}: the time is not later than the one before")]
    Order(usize),
}

/// The rows of a column.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    values: Arc<[f64]>,
    /// Begin of each row and, last, the end of the recording, from the first row on; empty where rows
    /// follow each other at `every`.
    times: Arc<[Duration]>,
    every: Span,
}

impl Recording {
    pub(super) fn read(
        path: &Path,
        column: &str,
        time: Option<&str>,
        every: Span,
    ) -> Result<Self, RecordingError> {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(RecordingError::TooLarge);
        }
        Self::parse(&text, column, time, every)
    }

    fn parse(
        text: &str,
        column: &str,
        time: Option<&str>,
        every: Span,
    ) -> Result<Self, RecordingError> {
        let mut lines = (1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let (_, header) = lines.next().ok_or(RecordingError::Empty)?;
        let separator = [';', '\t'].into_iter().find(|c| header.contains(*c));
        let separator = separator.unwrap_or(',');
        let field = |name: &str| {
            let mut names = header.split(separator).map(clean);
            let place = names.position(|other| other == name);
            place.ok_or_else(|| RecordingError::Column(name.to_owned(), header.to_owned()))
        };
        let value_at = field(column)?;
        let time_at = time.map(field).transpose()?;
        let (mut values, mut times) = (Vec::new(), Vec::<f64>::new());
        for (number, line) in lines {
            let read = |place: usize| {
                let found = line.split(separator).nth(place).map_or("", clean);
                let parsed = found.parse().ok().filter(|number: &f64| number.is_finite());
                parsed.ok_or_else(|| RecordingError::Number {
                    line: number,
                    found: found.to_owned(),
                })
            };
            values.push(read(value_at)?);
            if let Some(place) = time_at {
                let begin = read(place)?;
                if times.last().is_some_and(|before| begin <= *before) {
                    return Err(RecordingError::Order(number));
                }
                times.push(begin);
            }
        }
        if values.is_empty() {
            return Err(RecordingError::Empty);
        }
        Ok(Self {
            values: values.into(),
            times: since_first(&times).into(),
            every,
        })
    }

    pub(super) fn at(&self, moment: Moment) -> f64 {
        let place = match self.times.last() {
            Some(end) => {
                let into = moment.elapsed.as_nanos() % end.as_nanos().max(1);
                let later = |begin: &Duration| begin.as_nanos() <= into;
                self.times.partition_point(later).saturating_sub(1)
            }
            None => {
                let turn = usize::try_from(self.every.passed(moment).0).unwrap_or(0);
                turn % self.values.len().max(1)
            }
        };
        let last = self.values.last();
        self.values.get(place).or(last).copied().unwrap_or(0.0)
    }
}

/// Begins from the first row on, and the end: the last row stays as long as the one before it did.
fn since_first(times: &[f64]) -> Vec<Duration> {
    let Some(first) = times.first() else {
        return Vec::new();
    };
    let since = |at: &f64| Duration::try_from_secs_f64(at - first).unwrap_or(Duration::MAX);
    let mut begins: Vec<Duration> = times.iter().map(since).collect();
    let step = match begins.as_slice() {
        [.., before, last] => last.saturating_sub(*before),
        _ => Duration::from_secs(1),
    };
    let end = begins.last().map_or(step, |last| last.saturating_add(step));
    begins.push(end);
    begins
}

fn clean(field: &str) -> &str {
    field.trim().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Span = Span::Time(Duration::from_secs(1));

    fn at(millis: u64) -> Moment {
        Moment {
            elapsed: Duration::from_millis(millis),
            poll: 0,
        }
    }

    #[test]
    fn rows_stay_until_the_next_and_the_recording_begins_again() {
        let text = "# made by hand\nt;\"u\"\n10;1.5\n11;2\n13;3\n";
        let played = Recording::parse(text, "u", Some("t"), EVERY).unwrap();
        let values = [0, 999, 1000, 2999, 3000, 4999, 5000].map(|ms| played.at(at(ms)).to_string());
        assert_eq!(values, ["1.5", "1.5", "2", "2", "3", "3", "1.5"]);
        let by_row = Recording::parse("u\n1\n2\n", "u", None, EVERY).unwrap();
        let values = [0, 1000, 2000].map(|ms| by_row.at(at(ms)).to_string());
        assert_eq!(values, ["1", "2", "1"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = |text, time| {
            let read = Recording::parse(text, "u", time, EVERY);
            read.unwrap_err().to_string()
        };
        assert!(wrong("t,x\n1,2\n", None).contains("no column \"u\""));
        assert!(wrong("t,u\n1,2\n2,NaN\n", None).contains("line 3: \"NaN\""));
        assert!(wrong("t,u\n1,2\n1,3\n", Some("t")).contains("line 3"));
        assert!(wrong("u\n", None).contains("no rows"));
        assert!(wrong("", None).contains("no rows"));
    }
}

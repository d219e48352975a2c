//! What the judge looks at, as read from files.

use crate::awake::Pause;
use serde::{Deserialize, Serialize};
use tests_fieldsim::Site;
use tests_fieldsim::answer_log::AnswerLine;

/// One stored reading of the raw export.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredRow {
    /// Gateway.
    pub gateway: String,
    /// Device.
    pub device: String,
    /// Point.
    pub point: String,
    /// The reading's time as stored, nanoseconds UTC by the gateway's clock.
    pub time_ns: i64,
    /// The value as a number; none where the quality is bad.
    pub value: Option<f64>,
    /// `good`, `uncertain` or `bad`.
    pub quality: String,
    /// Epoch, 16 hexadecimal digits.
    pub epoch: String,
    /// Lane.
    pub lane: String,
    /// Seq of the record.
    pub seq: u64,
}

/// One entry of the loss ledger's export.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Gateway.
    pub gateway: String,
    /// Epoch of the lost records.
    pub epoch: String,
    /// Why.
    pub reason: String,
    /// How many readings; none where nobody can know.
    pub readings: Option<u64>,
    /// Per point, where known.
    #[serde(default)]
    pub points: Vec<LedgerPoint>,
}

/// How many readings of one point an entry covers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LedgerPoint {
    /// Device.
    pub device: String,
    /// Point.
    pub point: String,
    /// Lost readings.
    pub readings: u64,
}

/// How a gateway process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It still ran when the evidence was taken, or stopped cleanly.
    Clean,
    /// It was killed, or ended at a fail point.
    Killed,
    /// It was killed, and its spool was damaged before the next start: how much went is not bounded,
    /// but the ledger must name the epoch.
    Damaged,
}

/// One life of a gateway process, by the judge's own clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Gateway.
    pub gateway: String,
    /// When it was started, nanoseconds UTC.
    pub started_ns: i64,
    /// When it was seen to have ended; `i64::MAX` while it runs.
    pub ended_ns: i64,
    /// How it ended.
    pub ending: Ending,
}

/// Everything the judge looks at.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What the devices are.
    pub site: Site,
    /// What they answered, in order.
    pub answers: Vec<AnswerLine>,
    /// What the database holds.
    pub stored: Vec<StoredRow>,
    /// What the ledger says.
    pub ledger: Vec<LedgerRow>,
    /// Lives of the gateways, in order.
    pub runs: Vec<Run>,
    /// Longest tail a kill may take along: batch age + commit interval + the judge's own slack.
    pub loss_window_ns: i64,
    /// When the machine stood still, in order: no process can be late by such a time.
    pub pauses: Vec<Pause>,
}

impl Evidence {
    /// Reads a file of one JSON value a line. A last line that was cut off by a kill is an error
    /// only if it is not the last.
    ///
    /// # Errors
    /// Where a line is no such value.
    pub fn read_lines<T: serde::de::DeserializeOwned>(text: &str) -> anyhow::Result<Vec<T>> {
        let lines: Vec<&str> = text.lines().collect();
        let mut values = Vec::with_capacity(lines.len());
        for (number, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(value) => values.push(value),
                Err(_) if number + 1 == lines.len() && !text.ends_with('\n') => {}
                Err(error) => anyhow::bail!("line {}: {error}: {line}", number + 1),
            }
        }
        Ok(values)
    }
}

//! The answer log: one line per answered request, written before the answer leaves.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// One point that an answer carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledPoint {
    /// The point's name.
    pub point: String,
    /// How often it had been read before.
    pub n: u64,
    /// Its raw value in this answer.
    pub raw: i64,
}

/// One answered request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnswerLine {
    /// Wall clock when the answer was about to leave, nanoseconds since 1970 UTC.
    pub t: i64,
    /// Which gateway polls the bus.
    pub gateway: String,
    /// Which device answered.
    pub device: String,
    /// The points in the answer; empty for a refusal or silence.
    pub polls: Vec<PolledPoint>,
    /// [`ANSWER`], [`SILENT`], [`OPENED`] or [`CLOSED`].
    pub kind: String,
}

/// The device answers.
pub const ANSWER: &str = "answer";
/// The device keeps quiet on purpose.
pub const SILENT: &str = "silent";
/// Somebody opened the port of a device that sends by itself.
pub const OPENED: &str = "opened";
/// Nobody has it open any more.
pub const CLOSED: &str = "closed";

/// Writes the log. Lines of several buses never mix.
#[derive(Debug)]
pub struct AnswerLog {
    file: Mutex<File>,
}

/// The wall clock, nanoseconds since 1970 UTC.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator keeps its own clock on purpose"
)]
pub fn wall_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl AnswerLog {
    /// Appends to the file at `path`, making it if need be.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Writes one line, or ends the process: a judge must not go on with half a log.
    pub fn write_or_end(&self, line: &AnswerLine) {
        if let Err(error) = self.write(line) {
            end(&error);
        }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// Where the disk refuses; the caller must then not answer, or the log would lie.
    pub fn write(&self, line: &AnswerLine) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&text)
    }
}

/// Ends the process: what it would go on to say could not be judged.
#[expect(clippy::print_stderr, clippy::exit, reason = "a tool's last words")]
fn end(error: &std::io::Error) -> ! {
    eprintln!("fogline-fieldsim: writing the answer log: {error}");
    std::process::exit(1);
}

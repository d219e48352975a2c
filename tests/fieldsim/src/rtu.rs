//! A bus of units, and the RTU server that serves one over a pseudo-terminal.

use crate::answer_log::{AnswerLine, AnswerLog, wall_ns};
use crate::modbus;
use crate::site::BusSite;
use crate::unit::Unit;
use anyhow::Context as _;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio_serial::{SerialPort as _, SerialStream};

/// Time a unit takes to think before it answers on a serial line.
const TURNAROUND: Duration = Duration::from_millis(4);
/// Silence after which a half-received request is thrown away.
const FRAME_GAP: Duration = Duration::from_millis(20);
/// A read request on the line: unit, function, address, count, checksum.
const REQUEST_LEN: usize = 8;

/// The units of one bus and the log of what they said.
#[derive(Debug)]
pub struct Bus {
    gateway: String,
    units: Mutex<HashMap<u8, Unit>>,
    log: Arc<AnswerLog>,
    started: Instant,
}

impl Bus {
    /// The bus of `site`, writing to `log`.
    #[must_use]
    pub fn new(site: &BusSite, log: Arc<AnswerLog>) -> Self {
        let units = site
            .units
            .iter()
            .map(|unit| (unit.unit, Unit::new(unit.clone())))
            .collect();
        Self {
            gateway: site.gateway.clone(),
            units: Mutex::new(units),
            log,
            started: Instant::now(),
        }
    }

    /// The answer of `unit` to a request body; `None` where nobody answers. The log has the line
    /// before this returns.
    ///
    /// # Errors
    /// Where the log cannot be written.
    pub async fn answer(&self, unit: u8, pdu: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let mut units = self.units.lock().await;
        let Some(unit) = units.get_mut(&unit) else {
            return Ok(None);
        };
        let device = unit.site().device.clone();
        let silent = unit.is_silent(self.started.elapsed());
        let answer = (!silent).then(|| unit.answer(pdu));
        let (kind, polls) = match &answer {
            Some(answer) => ("answer", answer.polls.clone()),
            None => ("silent", Vec::new()),
        };
        let gateway = self.gateway.clone();
        let line = AnswerLine {
            t: wall_ns(),
            gateway,
            device,
            polls,
            kind: kind.to_owned(),
        };
        self.log.write(&line).context("writing the answer log")?;
        Ok(answer.map(|answer| answer.pdu))
    }
}

/// A pseudo-terminal with a stable name, like an adapter under `/dev/serial/by-id`.
#[derive(Debug)]
pub struct Line {
    ours: SerialStream,
}

impl Line {
    /// Makes a terminal and a link to it at `link`.
    ///
    /// # Errors
    /// Where the terminal or the link cannot be made.
    pub fn make(link: &Path) -> anyhow::Result<Self> {
        // The far side is closed again at once: a gateway opens it for itself alone.
        let (ours, theirs) = SerialStream::pair().context("making a pseudo-terminal")?;
        let name = theirs.name().context("the pseudo-terminal has no name")?;
        if link.is_symlink() {
            std::fs::remove_file(link)?;
        }
        std::os::unix::fs::symlink(&name, link)
            .with_context(|| format!("linking {} to {name}", link.display()))?;
        Ok(Self { ours })
    }

    /// Serves `bus` on the line until the process ends.
    ///
    /// # Errors
    /// Where the terminal or the log fails.
    pub async fn serve(mut self, bus: &Bus, baud: u32) -> anyhow::Result<()> {
        let byte_time = Duration::from_secs(11) / baud.max(1);
        let mut request = Vec::with_capacity(REQUEST_LEN);
        loop {
            let mut byte = [0u8; 64];
            match tokio::time::timeout(FRAME_GAP, self.ours.read(&mut byte)).await {
                Err(_silence) => request.clear(),
                Ok(Ok(n)) if n > 0 => {
                    request.extend_from_slice(byte.get(..n).unwrap_or_default());
                }
                // Nobody has the far side open: no gateway runs just now.
                Ok(_) => {
                    request.clear();
                    tokio::time::sleep(FRAME_GAP).await;
                }
            }
            let Some((frame, &[crc_low, crc_high])) = request.split_last_chunk::<2>() else {
                continue;
            };
            if request.len() < REQUEST_LEN || modbus::crc16(frame) != [crc_low, crc_high] {
                continue;
            }
            let answer = match frame.split_first() {
                Some((&unit, pdu)) => bus.answer(unit, pdu).await?.map(|body| (unit, body)),
                None => None,
            };
            request.clear();
            if let Some((unit, body)) = answer {
                let mut frame = [&[unit], body.as_slice()].concat();
                frame.extend_from_slice(&modbus::crc16(&frame));
                let line_time = byte_time * u32::try_from(frame.len() + REQUEST_LEN)?;
                tokio::time::sleep(TURNAROUND + line_time).await;
                // A gateway that is gone by now hears nothing; the line goes on.
                let _gone = self.ours.write_all(&frame).await;
            }
        }
    }
}

//! Modbus RTU over a pseudo-terminal: one thread a line, blocking, so that an idle line costs nothing.

use crate::bus::Bus;
use crate::modbus;
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

/// Time a unit takes to think before it answers on a serial line.
const TURNAROUND: Duration = Duration::from_millis(4);
/// Silence after which a half-received request is thrown away, and how often a line that nobody
/// has open is looked at.
const FRAME_GAP: Duration = Duration::from_millis(20);
/// A read request on the line: unit, function, address, count, checksum.
const REQUEST_LEN: usize = 8;

/// A pseudo-terminal with a stable name, like an adapter under `/dev/serial/by-id`.
#[derive(Debug)]
pub struct Line {
    ours: File,
}

impl Line {
    /// Makes a terminal and a link to it at `link`.
    ///
    /// # Errors
    /// Where the terminal or the link cannot be made.
    pub fn make(link: &Path) -> anyhow::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .context("making a pseudo-terminal")?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?.into_string()?;
        if link.is_symlink() {
            std::fs::remove_file(link)?;
        }
        std::os::unix::fs::symlink(&name, link)
            .with_context(|| format!("linking {} to {name}", link.display()))?;
        Ok(Self { ours: ours.into() })
    }

    /// Serves `bus` on the line until the process ends.
    ///
    /// # Errors
    /// Where the log fails.
    pub fn serve(mut self, bus: &Bus, baud: u32) -> anyhow::Result<()> {
        let byte_time = Duration::from_secs(11) / baud.max(1);
        let mut request = Vec::with_capacity(REQUEST_LEN);
        loop {
            self.receive(&mut request)?;
            let Some((frame, checksum)) = request.split_last_chunk::<2>() else {
                continue;
            };
            if request.len() < REQUEST_LEN || modbus::crc16(frame) != *checksum {
                continue;
            }
            let answer = match frame.split_first() {
                Some((&unit, pdu)) => bus.answer(unit, pdu)?.map(|body| (unit, body)),
                None => None,
            };
            request.clear();
            if let Some((unit, body)) = answer {
                let mut frame = [&[unit], body.as_slice()].concat();
                frame.extend_from_slice(&modbus::crc16(&frame));
                let line_time = byte_time * u32::try_from(frame.len() + REQUEST_LEN)?;
                pause(TURNAROUND + line_time)?;
                // A gateway that is gone by now hears nothing; the line goes on.
                let _gone = self.ours.write_all(&frame);
            }
        }
    }

    /// Waits for bytes and adds them to `request`; a silence within a frame clears it.
    fn receive(&mut self, request: &mut Vec<u8>) -> anyhow::Result<()> {
        let patience = if request.is_empty() {
            None
        } else {
            Some(timespec(FRAME_GAP)?)
        };
        let mut line = [PollFd::new(&self.ours, PollFlags::IN)];
        if poll(&mut line, patience.as_ref())? == 0 {
            request.clear();
            return Ok(());
        }
        let mut bytes = [0u8; 64];
        match self.ours.read(&mut bytes) {
            Ok(n) if n > 0 => request.extend_from_slice(bytes.get(..n).unwrap_or_default()),
            // Nobody has the far side open: no gateway runs just now.
            _ => {
                request.clear();
                pause(FRAME_GAP)?;
            }
        }
        Ok(())
    }
}

fn timespec(span: Duration) -> anyhow::Result<Timespec> {
    Ok(Timespec::try_from(span)?)
}

fn pause(span: Duration) -> anyhow::Result<()> {
    poll(&mut [], Some(&timespec(span)?))?;
    Ok(())
}

//! The seam between how requests travel (line, TCP) and who answers them.

use super::crc::crc16;
use std::fmt;
use std::time::Duration;

/// Whoever answers on a bus. Asked once for every request that arrived whole; what it answers leaves
/// after it has returned, so a log that it keeps is never behind the wire.
pub trait Station: Send + Sync + fmt::Debug {
    /// Asks `unit`. A broadcast (unit 0 on a line) is asked as well; its answer goes nowhere.
    fn ask(&self, unit: u8, pdu: &[u8]) -> Carrier;

    /// Something arrived that was no request.
    fn trouble(&self, trouble: LineTrouble);
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// Nobody says anything.
    Silence,
    /// The connection ends; on a line, silence.
    HangUp,
    /// An answer, or what a fault made of it.
    Answer(Reply),
}

/// An answer and how it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Time from the last bit of the request to the first of the answer.
    pub after: Duration,
    /// Unit id in the answer.
    pub unit: u8,
    /// The body.
    pub pdu: Vec<u8>,
    /// What happens to the frame on its way.
    pub spoil: Spoil,
    /// Silence in the middle of the frame.
    pub pause: Duration,
}

/// What happens to a frame on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spoil {
    /// Nothing.
    #[default]
    No,
    /// Other bytes, as many.
    Garbage(u64),
    /// A bit of the checksum is turned; over TCP, which has none, one of the transaction number.
    Checksum,
    /// Only the first half goes out.
    Cut,
}

/// Why something that arrived was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineTrouble {
    /// Two sent at once.
    Collision,
    /// The request began less than 3.5 characters after the last answer.
    TooEarly,
    /// A silence of more than 1.5 characters inside the frame.
    Broken,
    /// The checksum is wrong, or the frame is too short or too long.
    Checksum,
    /// The port was opened with another speed than the line's.
    WrongSpeed,
}

impl fmt::Display for LineTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Collision => "collision: two sent at once",
            Self::TooEarly => "request less than 3.5 characters after the last answer",
            Self::Broken => "silence of more than 1.5 characters inside a request",
            Self::Checksum => "request with a wrong checksum or length",
            Self::WrongSpeed => "port opened with another speed than the line's",
        })
    }
}

impl Reply {
    /// A good answer.
    #[must_use]
    pub const fn good(unit: u8, after: Duration, pdu: Vec<u8>) -> Self {
        Self {
            after,
            unit,
            pdu,
            spoil: Spoil::No,
            pause: Duration::ZERO,
        }
    }

    /// The frame's bytes on a serial line; two parts where it pauses in between.
    #[must_use]
    pub fn on_a_line(&self) -> Vec<Vec<u8>> {
        let mut frame = vec![self.unit];
        frame.extend_from_slice(&self.pdu);
        let sum = crc16(&frame);
        frame.extend_from_slice(&sum);
        if self.spoil == Spoil::Checksum
            && let Some(last) = frame.last_mut()
        {
            *last ^= 0x10;
        }
        self.travelled(frame)
    }

    /// The frame's bytes over TCP, with the request's transaction number.
    #[must_use]
    pub fn over_tcp(&self, transaction: [u8; 2]) -> Vec<Vec<u8>> {
        let [high, low] = transaction;
        let low = if self.spoil == Spoil::Checksum {
            low ^ 0x10
        } else {
            low
        };
        let length = u16::try_from(self.pdu.len() + 1).unwrap_or(u16::MAX);
        let [length_high, length_low] = length.to_be_bytes();
        let mut frame = vec![high, low, 0, 0, length_high, length_low, self.unit];
        frame.extend_from_slice(&self.pdu);
        self.travelled(frame)
    }

    fn travelled(&self, mut frame: Vec<u8>) -> Vec<Vec<u8>> {
        let half = frame.len() / 2;
        match self.spoil {
            Spoil::Garbage(seed) => {
                for (place, byte) in (0u64..).zip(&mut frame) {
                    let [drawn, ..] = crate::script::scattered(seed, place).to_be_bytes();
                    *byte = drawn;
                }
            }
            Spoil::Cut => frame.truncate(half),
            Spoil::No | Spoil::Checksum => {}
        }
        if self.pause.is_zero() || frame.len() < 2 {
            return vec![frame];
        }
        let rest = frame.split_off(frame.len() / 2);
        vec![frame, rest]
    }
}

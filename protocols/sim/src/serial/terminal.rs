//! A device on a line of its own, in time: when it has heard a request, when its frames are through.
//! Pure; full duplex, as RS-232 is: what is sent never disturbs what is heard.

use super::device::{Device, Sending};
use crate::line::{Burst, Core, LineSettings, Outgoing, Transmitter};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Longest request; what is longer is thrown away up to its end.
const LONGEST_REQUEST: usize = 1024;
/// Bytes of the client that may wait for the line; a client that sends faster than the line loses them,
/// as it would without flow control.
const MOST_WAITING: usize = 64 * 1024;

/// A device at the end of a line.
#[derive(Debug)]
pub struct Terminal {
    line: LineSettings,
    device: Arc<Device>,
    client: Transmitter,
    coming: VecDeque<Burst>,
    heard: Vec<u8>,
    own: Transmitter,
    going: Outgoing,
    /// When each frame that the device says by itself is due next.
    says: Vec<Duration>,
    is_open: bool,
    wrong_speed: bool,
}

impl Terminal {
    /// `device` on a line. Its first frames come one interval after the start.
    #[must_use]
    pub fn new(line: LineSettings, device: Arc<Device>) -> Self {
        let says = device.setup().says.iter().map(|say| say.every).collect();
        Self {
            line,
            device,
            client: Transmitter::default(),
            coming: VecDeque::new(),
            heard: Vec::new(),
            own: Transmitter::default(),
            going: Outgoing::default(),
            says,
            is_open: false,
            wrong_speed: false,
        }
    }

    fn next_heard(&self) -> Option<Duration> {
        self.coming.front().map(|burst| burst.end(&self.line))
    }

    fn send(&mut self, at: Duration, sending: &Sending) {
        let mut at = at + sending.after;
        for part in &sending.parts {
            let burst = self.own.send(&self.line, at, part);
            at = burst.end(&self.line) + sending.pause;
            if self.is_open {
                self.going.put(burst);
            }
        }
    }

    fn hear(&mut self, at: Duration) {
        let Some(burst) = self.coming.pop_front() else {
            return;
        };
        let end = self.device.setup().end;
        for byte in burst.bytes {
            if byte != end {
                if self.heard.len() <= LONGEST_REQUEST {
                    self.heard.push(byte);
                }
                continue;
            }
            let request = std::mem::take(&mut self.heard);
            let request = request.strip_suffix(b"\r").unwrap_or(&request);
            let too_long = request.len() > LONGEST_REQUEST;
            if request.is_empty() || too_long || self.wrong_speed {
                continue;
            }
            if let Some(sending) = self.device.ask(request, at) {
                self.send(at, &sending);
            }
        }
    }

    fn say(&mut self, at: Duration) {
        let device = Arc::clone(&self.device);
        for (place, say) in device.setup().says.iter().enumerate() {
            let Some(due) = self.says.get_mut(place).filter(|due| **due <= at) else {
                continue;
            };
            *due += say.every;
            if let Some(sending) = device.say(say, at, self.is_open) {
                self.send(at, &sending);
            }
        }
    }
}

impl Core for Terminal {
    fn written(&mut self, now: Duration, bytes: &[u8]) {
        let waiting: usize = self.coming.iter().map(|burst| burst.bytes.len()).sum();
        if waiting + bytes.len() <= MOST_WAITING {
            let burst = self.client.send(&self.line, now, bytes);
            self.coming.push_back(burst);
        }
    }

    fn due(&self) -> Option<Duration> {
        let say = self.says.iter().min().copied();
        let handing = self.going.due(&self.line);
        [say, handing, self.next_heard()]
            .into_iter()
            .flatten()
            .min()
    }

    fn advance(&mut self, now: Duration, out: &mut Vec<u8>) {
        while let Some(at) = self.due().filter(|due| *due <= now) {
            self.going.take(&self.line, at, out);
            if self.next_heard().is_some_and(|heard| heard <= at) {
                self.hear(at);
            }
            self.say(at);
        }
    }

    fn tuned(&mut self, right: bool) {
        self.wrong_speed = !right;
    }

    fn opened(&mut self, now: Duration) {
        self.is_open = true;
        self.device.port(true, now);
    }

    fn closed(&mut self, now: Duration) {
        self.is_open = false;
        self.device.port(false, now);
        self.client = Transmitter::default();
        self.coming.clear();
        self.heard.clear();
        self.going.clear();
    }
}

#[cfg(test)]
mod tests;

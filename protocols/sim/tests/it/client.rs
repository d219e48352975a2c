//! A client of a line: writes at once, reads with patience.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    port: File,
}

impl Client {
    pub(crate) fn open(link: &Path) -> Self {
        let port = File::options().read(true).write(true).open(link).unwrap();
        Self { port }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.port.write_all(bytes).unwrap();
    }

    /// What comes until `enough` says so, or within `patience`.
    pub(crate) fn read(
        &mut self,
        patience: Duration,
        enough: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, Vec<u8>> {
        let deadline = Instant::now() + patience;
        let mut bytes = Vec::new();
        while !enough(&bytes) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(bytes);
            }
            let mut waited = [PollFd::new(&self.port, PollFlags::IN)];
            poll(&mut waited, Some(&Timespec::try_from(left).unwrap())).unwrap();
            if waited[0].revents().is_empty() {
                continue;
            }
            let mut more = [0; 512];
            match self.port.read(&mut more) {
                Ok(read) if read > 0 => bytes.extend(more.iter().take(read)),
                // Unplugged.
                _ => return Err(bytes),
            }
        }
        Ok(bytes)
    }

    /// Asks until it is answered: a machine that stands still may tear a request apart.
    #[expect(
        clippy::disallowed_methods,
        reason = "a pause on the line, not a wait by luck"
    )]
    pub(crate) fn ask(&mut self, request: &[u8], length: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The silence between frames that the bus insists on.
            std::thread::sleep(Duration::from_millis(5));
            self.write(request);
            match self.read(Duration::from_secs(3), |bytes| bytes.len() >= length) {
                Ok(answer) => return answer,
                Err(bytes) => assert!(Instant::now() < deadline, "only {bytes:?}"),
            }
        }
    }
}

/// Waits for a condition.
#[expect(clippy::disallowed_methods, reason = "looks again after a pause")]
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

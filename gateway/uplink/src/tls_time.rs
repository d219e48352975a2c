//! The time by which certificates are checked: the latest of system clock, build time and last good
//! time (design.md C9), so that a board without a clock can connect.
//!
//! The last good time is the time of a handshake that succeeded, kept in a small file. The file is
//! written at connect and at most once a day: flash wears out. A file that is missing, unreadable or
//! far beyond the build is as good as none. A kept time that makes a certificate look expired while the
//! system clock would not is distrusted: it can only have come from a wrong clock.

use protocols_model::Timestamp;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file is written again when it is older than this.
const WRITE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A kept time further beyond the build than this is nonsense.
const BELIEVABLE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// When this program was built.
#[must_use]
pub fn build_time() -> Timestamp {
    let seconds = env!("FOGLINE_BUILD_SECONDS").parse().unwrap_or(0);
    Timestamp(0).plus(Duration::from_secs(seconds))
}

/// The moment that certificates of one attempt are checked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationTime(pub Timestamp);

impl TimeProvider for VerificationTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.since(Timestamp(0))))
    }
}

/// The floor under the system clock.
#[derive(Debug)]
pub struct TlsTime {
    file: Option<PathBuf>,
    /// What the file holds.
    kept: Option<Timestamp>,
    distrusted: bool,
}

impl TlsTime {
    /// Reads the last good time from `file`, if one is given and it holds one.
    #[must_use]
    pub fn load(file: Option<PathBuf>) -> Self {
        let kept = file.as_deref().and_then(read);
        let limit = build_time().plus(BELIEVABLE);
        Self {
            file,
            kept: kept.filter(|time| *time <= limit),
            distrusted: false,
        }
    }

    /// The time to check by when the system clock says `system`.
    #[must_use]
    pub fn verification_time(&self, system: Timestamp) -> VerificationTime {
        let kept = self.kept.filter(|_| !self.distrusted).unwrap_or_default();
        VerificationTime(system.max(build_time()).max(kept))
    }

    /// A handshake succeeded by `time`.
    pub fn good(&mut self, time: VerificationTime) {
        let VerificationTime(time) = time;
        let fresh = self
            .kept
            .is_some_and(|kept| !self.distrusted && time.since(kept) < WRITE_EVERY);
        if fresh {
            return;
        }
        self.kept = Some(time);
        self.distrusted = false;
        if let Some(file) = &self.file
            && let Err(error) = write(file, time)
        {
            tracing::warn!(%error, file = %file.display(), "last good time not kept");
        }
    }

    /// The server's certificate looked expired by a time that was not the system clock's: check by
    /// the clock and the build from now on. Returns whether that changes anything.
    pub fn looked_expired(&mut self, system: Timestamp) -> bool {
        let floor = system.max(build_time());
        let decisive = !self.distrusted && self.kept.is_some_and(|kept| kept > floor);
        self.distrusted |= decisive;
        decisive
    }
}

fn read(file: &Path) -> Option<Timestamp> {
    let text = std::fs::read_to_string(file).ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Timestamp(0).plus(Duration::from_secs(seconds)))
}

fn write(file: &Path, time: Timestamp) -> std::io::Result<()> {
    let part = file.with_extension("part");
    let seconds = time.since(Timestamp(0)).as_secs();
    std::fs::write(&part, format!("{seconds}\n"))?;
    std::fs::File::open(&part)?.sync_all()?;
    std::fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(n: u64) -> Duration {
        Duration::from_secs(n * 24 * 3600)
    }

    #[test]
    fn a_board_without_a_clock_checks_by_the_last_good_time_or_at_least_the_build() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("last-good-time");
        let mut time = TlsTime::load(Some(file.clone()));
        assert_eq!(time.verification_time(Timestamp(0)).0, build_time());
        let later = build_time().plus(days(100));
        time.good(time.verification_time(later));
        let reloaded = TlsTime::load(Some(file));
        assert_eq!(reloaded.verification_time(Timestamp(0)).0, later);
        let system = later.plus(days(1));
        assert_eq!(reloaded.verification_time(system).0, system);
    }

    #[test]
    fn the_file_is_written_once_a_day_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t");
        let mut time = TlsTime::load(Some(file.clone()));
        let start = build_time().plus(days(1));
        time.good(VerificationTime(start));
        std::fs::write(&file, "untouched").unwrap();
        time.good(VerificationTime(start.plus(Duration::from_secs(23 * 3600))));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "untouched");
        time.good(VerificationTime(start.plus(days(1))));
        assert_ne!(std::fs::read_to_string(&file).unwrap(), "untouched");
    }

    #[test]
    fn a_kept_time_of_a_wrong_clock_is_distrusted_when_certificates_look_expired_by_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t");
        let wrong = build_time().plus(days(4000));
        let mut time = TlsTime::load(Some(file.clone()));
        time.good(VerificationTime(wrong));
        let system = build_time().plus(days(3));
        assert!(time.looked_expired(system));
        assert_eq!(time.verification_time(system).0, system);
        assert!(!time.looked_expired(system), "nothing more to distrust");
        time.good(time.verification_time(system));
        assert_eq!(
            TlsTime::load(Some(file)).verification_time(Timestamp(0)).0,
            system
        );
    }

    #[test]
    fn garbage_in_the_file_is_as_good_as_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t");
        for garbage in ["", "soon", "99999999999999999", "-4"] {
            std::fs::write(&file, garbage).unwrap();
            let time = TlsTime::load(Some(file.clone()));
            assert_eq!(
                time.verification_time(Timestamp(0)).0,
                build_time(),
                "{garbage:?}"
            );
        }
    }
}

//! Names of ports that survive replugging, and waiting for a port that went away.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where udev keeps a stable name for each adapter that has one.
const BY_ID: &str = "/dev/serial/by-id";
/// How often a path is looked for. One `stat` each; a person who plugs an adapter in waits no longer.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The stable name of `path`: a link in `/dev/serial/by-id` to the same device. `None` when `path` is
/// such a name itself or the device has none.
#[must_use]
pub fn stable_name(path: &Path) -> Option<PathBuf> {
    stable_name_in(Path::new(BY_ID), path)
}

/// All stable names of this machine with the devices they stand for now, sorted.
#[must_use]
pub fn stable_names() -> Vec<(PathBuf, PathBuf)> {
    names_in(Path::new(BY_ID))
}

fn names_in(dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.map(|entry| entry.path());
    let mut names: Vec<_> = named
        .filter_map(|name| Some((name.clone(), name.canonicalize().ok()?)))
        .collect();
    names.sort_unstable();
    names
}

fn stable_name_in(dir: &Path, path: &Path) -> Option<PathBuf> {
    if path.starts_with(dir) {
        return None;
    }
    let device = path.canonicalize().ok()?;
    let names = names_in(dir).into_iter();
    names.into_iter().find(|(_, d)| *d == device).map(|n| n.0)
}

/// Ends when something stands at `path`, which may be a link; looks twice a second. Cancel-safe.
///
/// The port may still refuse to open for a moment, until udev has given it to its group: try again.
pub async fn appeared(path: &Path) {
    while std::fs::metadata(path).is_err() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_name_of_a_device_is_the_link_that_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let (by_id, device) = (dir.path().join("by-id"), dir.path().join("ttyUSB0"));
        std::fs::create_dir(&by_id).unwrap();
        for name in ["ttyUSB0", "ttyUSB1", "ttyUSB2"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(Path::new("..").join(to), by_id.join(name)).unwrap();
        };
        link("ttyUSB1", "usb-A-port0");
        link("ttyUSB0", "usb-B-port0");
        link("ttyUSB9", "usb-gone-port0");
        assert_eq!(
            stable_name_in(&by_id, &device),
            Some(by_id.join("usb-B-port0"))
        );
        assert_eq!(stable_name_in(&by_id, &by_id.join("usb-B-port0")), None);
        assert_eq!(stable_name_in(&by_id, &dir.path().join("ttyUSB2")), None);
        assert_eq!(stable_name_in(&dir.path().join("none"), &device), None);
        assert_eq!(names_in(&by_id).len(), 2, "a dangling link is no port");
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_comes_back_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("port");
        let waiting = tokio::spawn({
            let path = path.clone();
            async move { appeared(&path).await }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!waiting.is_finished());
        std::fs::write(&path, "").unwrap();
        waiting.await.unwrap();
    }
}

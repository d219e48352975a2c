//! Who has a serial port.
//!
//! What keeps others out is on the device itself: `TIOCEXCL` and `flock`, both set while opening, both
//! gone with the process that held them. Beside that stands a lock file in the way of UUCP
//! (`/run/lock/LCK..ttyUSB0`: the process id in ten characters, then the program), which terminal
//! programs without `flock` respect and which names the holder to people. The file is information: one
//! that cannot be written is done without, one whose process is dead is replaced.

use rustix::fs::{major, minor, stat};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where lock files stand.
pub(crate) const LOCK_DIR: &str = "/run/lock";
/// A lock file is a number and a name; whatever is longer is none.
const MAX_FILE: usize = 256;

/// A process that has a port open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` when only the lock itself was seen.
    pub pid: Option<u32>,
    /// Its program; empty when unknown.
    pub program: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.program.as_str()) {
            (Some(pid), _) if pid == std::process::id() => {
                write!(f, "this process (pid {pid}): another bus has the same port")
            }
            (Some(pid), "") => write!(f, "process {pid}"),
            (Some(pid), program) => write!(f, "{program} (pid {pid})"),
            (None, _) => f.write_str("another process, which cannot be seen from here"),
        }
    }
}

impl Holder {
    fn of(pid: u32) -> Self {
        Self {
            pid: Some(pid),
            program: program(pid).unwrap_or_default(),
        }
    }
}

fn program(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// Whether the process has `device` open; `None` when that may not be seen.
fn has_open(pid: u32, device: &Path) -> Option<bool> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut links = files.flatten().map(|file| fs::read_link(file.path()));
    Some(links.any(|link| link.is_ok_and(|to| to == device)))
}

fn file_name(device: &Path) -> String {
    let name = device.strip_prefix("/dev").unwrap_or(device);
    let name = name.to_string_lossy();
    format!("LCK..{}", name.trim_start_matches('/').replace('/', "_"))
}

fn parse(text: &str) -> Option<(u32, &str)> {
    let mut words = text
        .get(..MAX_FILE.min(text.len()))?
        .split_ascii_whitespace();
    let pid = words.next()?.parse().ok()?;
    Some((pid, words.next().unwrap_or_default()))
}

/// The living process that a lock file names, when it is not this one.
pub(crate) fn named_by_file(dir: &Path, device: &Path) -> Option<Holder> {
    let text = fs::read_to_string(dir.join(file_name(device))).ok()?;
    let (pid, named) = parse(&text)?;
    if pid == std::process::id() {
        // The lock on the device tells a port of ours from what a process with our number left.
        return None;
    }
    let program = program(pid)?;
    // The number of a dead process may have gone to another one.
    let same = has_open(pid, device).unwrap_or(named.is_empty() || program == named);
    same.then_some(Holder {
        pid: Some(pid),
        program,
    })
}

/// Who has the lock on `device`, as well as that can be found out.
pub(crate) fn find(dir: &Path, device: &Path) -> Holder {
    let unseen = Holder {
        pid: None,
        program: String::new(),
    };
    named_by_file(dir, device)
        .or_else(|| by_kernel(device).map(Holder::of))
        .or_else(|| by_open_files(device).map(Holder::of))
        .unwrap_or(unseen)
}

/// The owner of the `flock` on the device: `/proc/locks` shows it to everybody.
fn by_kernel(device: &Path) -> Option<u32> {
    let stat = stat(device).ok()?;
    let wanted = format!(
        "{:02x}:{:02x}:{}",
        major(stat.st_dev),
        minor(stat.st_dev),
        stat.st_ino
    );
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match *words.as_slice() {
            [_, "FLOCK", _, "WRITE", pid, file, ..] if file == wanted => pid.parse().ok(),
            _ => None,
        }
    })
}

fn by_open_files(device: &Path) -> Option<u32> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| has_open(*pid, device) == Some(true))
}

/// Our lock file; removed when dropped, if it is still ours.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    text: String,
}

impl LockFile {
    /// Writes the lock file of a device whose lock we hold.
    ///
    /// # Errors
    /// Nothing may be written there: go on without.
    pub(crate) fn write(dir: &Path, device: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let name = program(pid).unwrap_or_default();
        let text = format!("{pid:>10} {name}\n");
        let path = dir.join(file_name(device));
        // Whole or not at all: others must never read half a number.
        let fresh = dir.join(format!("LTMP.{pid}.{}", file_name(device)));
        fs::write(&fresh, &text)?;
        if let Err(error) = fs::rename(&fresh, &path) {
            drop(fs::remove_file(&fresh));
            return Err(error);
        }
        Ok(Self { path, text })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_named_and_written_as_other_programs_expect_it_and_goes_with_its_owner() {
        assert_eq!(file_name(Path::new("/dev/ttyUSB0")), "LCK..ttyUSB0");
        assert_eq!(file_name(Path::new("/dev/pts/3")), "LCK..pts_3");
        let dir = tempfile::tempdir().unwrap();
        let device = Path::new("/dev/ttyUSB0");
        let file = LockFile::write(dir.path(), device).unwrap();
        let text = fs::read_to_string(dir.path().join("LCK..ttyUSB0")).unwrap();
        assert_eq!(
            text.get(..10).unwrap().trim().parse(),
            Ok(std::process::id())
        );
        assert_eq!(named_by_file(dir.path(), device), None, "it is ours");
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_a_dead_process_or_of_a_reused_number_or_without_sense_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let device = Path::new("/dev/ttyUSB0");
        let path = dir.path().join("LCK..ttyUSB0");
        // No process has this number: it is above the kernel's highest.
        for text in ["4194305 minicom\n", "         1 minicom\n", "", "x y", "-1"] {
            fs::write(&path, text).unwrap();
            assert_eq!(named_by_file(dir.path(), device), None, "{text:?}");
        }
        let file = LockFile::write(dir.path(), device).unwrap();
        fs::write(&path, "       777 other\n").unwrap();
        drop(file);
        assert!(path.exists(), "somebody else's file stays");
    }

    #[test]
    fn the_holder_of_a_device_is_found_among_the_open_files() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("device");
        let _open = fs::File::create(&device).unwrap();
        let holder = find(dir.path(), &device);
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.to_string().starts_with("this process"), "{holder}");
    }
}

//! Frames in segments on disk: the newest keep, the oldest make room.
//!
//! Blocking; lives on a thread of its own. Nothing is synced: a recording is for trying things, and must
//! not wear the flash.

use crate::frame::{Frame, Kind};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Suffix of a segment.
pub(crate) const SUFFIX: &str = "fgrec";
/// First bytes of a segment: what it is, and its version.
pub(crate) const MAGIC: &[u8; 8] = b"FGLREC01";
/// Segments that a full tape has: what is dropped at once is one of so many.
const SEGMENTS: u64 = 8;

/// Bounds of a tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapeLimits {
    /// Most bytes of all segments.
    pub max_bytes: u64,
}

/// A tape that is being written.
#[derive(Debug)]
pub struct Tape {
    folder: PathBuf,
    limits: TapeLimits,
    segment: Option<(File, u64)>,
    /// The dictionaries that what follows refers to: each segment begins with them.
    dictionaries: Vec<Frame>,
    /// The last frame was one: others that follow belong to it.
    in_dictionaries: bool,
    written: u64,
}

impl Tape {
    /// A tape in `folder`, which is made for its owner alone.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn open(folder: &Path, limits: TapeLimits) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            limits,
            segment: None,
            dictionaries: Vec::new(),
            in_dictionaries: false,
            written: 0,
        })
    }

    /// Whether `folder` holds a recording already.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn is_there(folder: &Path) -> io::Result<bool> {
        match segments(folder) {
            Ok(segments) => Ok(!segments.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Bytes written so far; the oldest of them may have made room.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Writes frames; the oldest segments make room. Dictionaries stand before the records that use
    /// them, all of a configuration together.
    ///
    /// # Errors
    /// Where the disk refuses. What was not written is not tried again.
    pub fn write(&mut self, frames: &[Frame]) -> io::Result<()> {
        for frame in frames {
            match frame.kind {
                // A run of dictionaries is a configuration: what came before refers to others.
                Kind::Dictionary => {
                    if !self.in_dictionaries {
                        self.dictionaries.clear();
                        self.segment = None;
                    }
                    self.dictionaries.push(frame.clone());
                }
                Kind::Record | Kind::Missed => self.append(frame)?,
                Kind::End => {}
            }
            self.in_dictionaries = frame.kind == Kind::Dictionary;
        }
        Ok(())
    }

    fn append(&mut self, frame: &Frame) -> io::Result<()> {
        if self.is_full() {
            self.segment = None;
            self.make_room()?;
            self.begin()?;
        }
        let (Some(bytes), Some((file, len))) = (frame.encode(), &mut self.segment) else {
            return Ok(());
        };
        file.write_all(&bytes)?;
        *len += bytes.len() as u64;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn is_full(&self) -> bool {
        let most = self.limits.max_bytes / SEGMENTS;
        self.segment.as_ref().is_none_or(|(_, len)| *len >= most)
    }

    fn begin(&mut self) -> io::Result<()> {
        let last = segments(&self.folder)?
            .last()
            .map_or(0, |(number, _)| *number);
        let path = self.folder.join(format!("{:08}.{SUFFIX}", last + 1));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(MAGIC)?;
        let mut len = MAGIC.len() as u64;
        for frame in &self.dictionaries {
            if let Some(bytes) = frame.encode() {
                file.write_all(&bytes)?;
                len += bytes.len() as u64;
            }
        }
        self.written += len;
        self.segment = Some((file, len));
        Ok(())
    }

    /// Removes the oldest segments until a full one fits.
    fn make_room(&self) -> io::Result<()> {
        let mut all = segments(&self.folder)?;
        let room = self.limits.max_bytes - self.limits.max_bytes / SEGMENTS;
        let mut total: u64 = 0;
        for (_, path) in all.iter().rev() {
            total += std::fs::metadata(path)?.len();
        }
        while total > room && !all.is_empty() {
            let (_, oldest) = all.remove(0);
            total -= std::fs::metadata(&oldest)?.len();
            std::fs::remove_file(oldest)?;
        }
        Ok(())
    }
}

/// The segments of a folder by number, oldest first.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|e| e == SUFFIX)) {
            all.push((number, path));
        }
    }
    all.sort_unstable();
    Ok(all)
}

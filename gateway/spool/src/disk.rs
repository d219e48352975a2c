//! The spool's directory: which store is current, the small file, what was set aside.
//!
//! ```text
//! CURRENT              "buf-3": replaced by rename, decides after any crash
//! buf-3/               the sled database
//! tally, tally.prev    the small second file and its predecessor
//! quarantine/          store-… damaged databases; records/ damaged and refused records; bounded
//! ```
//! Opening never fails because of what is in the directory: torn snapshots are removed (they are only an
//! accelerator, but a torn one bricks sled), a database that still does not open is set aside and a
//! fresh one is taken. Only a medium that cannot be written at all is an error. Whatever a crash left
//! half-done (a fresh directory not yet current, an old one not yet deleted, a `.new` file) is cleared.

use crate::config::SpoolConfig;
use crate::failpoint;
use crate::sled_store::SledDb;
use crate::store::{Op, Opened, SpoolStore, StoreError, Tree};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CURRENT: &str = "CURRENT";
const TALLY: &str = "tally";
const TALLY_PREV: &str = "tally.prev";
pub(crate) const QUARANTINE: &str = "quarantine";
/// Damaged databases kept.
const STORES_KEPT: usize = 2;
/// Damaged and refused records kept.
const RECORDS_KEPT: usize = 1000;
/// sled keeps its lock until its background threads have ended.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The disk behind a running spool.
#[derive(Debug)]
pub(crate) struct DiskStore {
    dir: PathBuf,
    quarantine_bytes: u64,
    open: Option<(u64, SledDb)>,
    /// Copies of records set aside, oldest first; read from disk at first use.
    aside: Option<VecDeque<(PathBuf, u64)>>,
    sync_data: bool,
}

impl DiskStore {
    pub(crate) fn new(config: &SpoolConfig) -> Self {
        Self {
            dir: config.dir.clone(),
            quarantine_bytes: config.quarantine_bytes,
            open: None,
            aside: None,
            #[cfg(test)]
            sync_data: config.mutant != crate::tests::Mutant::SyncSkipped,
            #[cfg(not(test))]
            sync_data: true,
        }
    }

    fn db(&self) -> Result<&SledDb, StoreError> {
        match &self.open {
            Some((_, db)) => Ok(db),
            None => Err(StoreError::Damaged {
                doing: format!("using the spool in {}", self.dir.display()),
                found: "it is not open".to_owned(),
            }),
        }
    }

    fn current(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join(CURRENT)).ok()?;
        let number = parse_buf(text.trim())?;
        self.dir.join(buf(number)).is_dir().then_some(number)
    }

    /// Makes a database with what `from` holds, or nothing, and makes it current. Every step is durable before
    /// the next.
    fn fresh(&self, number: u64, from: Option<&SledDb>) -> Result<SledDb, StoreError> {
        let path = self.dir.join(buf(number));
        let doing = || format!("making {}", path.display());
        let failed = |error| StoreError::io(doing(), error);
        remove_dir(&path).map_err(failed)?;
        fs::create_dir(&path).map_err(failed)?;
        let db = SledDb::open(&path)?;
        if let Some(from) = from {
            from.copy_to(&db)?;
        }
        db.sync(true)?;
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                sync_path(&entry.path()).map_err(failed)?;
            }
        }
        sync_path(&path).map_err(failed)?;
        sync_path(&self.dir).map_err(failed)?;
        failpoint::hit("spool.rotate");
        replace(&self.dir, CURRENT, format!("{}\n", buf(number)).as_bytes()).map_err(failed)?;
        Ok(db)
    }

    /// Takes a fresh database, with everything in it or empty.
    fn move_on(&mut self, keep: bool) -> Result<(), StoreError> {
        let Some((number, old)) = &self.open else {
            return self.open().map(drop);
        };
        let number = *number;
        let db = self.fresh(number + 1, keep.then_some(old))?;
        // Dropping the old one may take a moment; its directory is only waste from here on.
        self.open = Some((number + 1, db));
        let old = self.dir.join(buf(number));
        remove_dir(&old).map_err(|e| StoreError::io(format!("removing {}", old.display()), e))
    }

    /// Sets a database directory aside; `None` when it was too large to keep or could not be moved.
    fn quarantine(&self, number: u64) -> Result<Option<PathBuf>, StoreError> {
        let from = self.dir.join(buf(number));
        let room = self.dir.join(QUARANTINE);
        let failed = |error| StoreError::io(format!("setting {} aside", from.display()), error);
        fs::create_dir_all(&room).map_err(failed)?;
        let mut kept = store_numbers(&room);
        let next = kept.last().map_or(1, |&(n, _)| n + 1);
        let to = room.join(format!("store-{next}"));
        fs::rename(&from, &to).map_err(failed)?;
        kept.push((next, to.clone()));
        let mut bytes: u64 = kept.iter().map(|(_, path)| dir_bytes(path)).sum();
        while kept.len() > STORES_KEPT || (bytes > self.quarantine_bytes && !kept.is_empty()) {
            let (_, oldest) = kept.remove(0);
            bytes = bytes.saturating_sub(dir_bytes(&oldest));
            remove_dir(&oldest).map_err(failed)?;
        }
        sync_path(&room).map_err(failed)?;
        sync_path(&self.dir).map_err(failed)?;
        Ok(to.is_dir().then_some(to))
    }

    fn open_number(&mut self, number: u64, opened: &mut Opened) -> Result<(), StoreError> {
        let path = self.dir.join(buf(number));
        let torn = clear_snapshots(&path, Snapshots::Torn)
            .map_err(|e| StoreError::io(format!("clearing {}", path.display()), e))?;
        if torn > 0 {
            opened
                .notes
                .push(format!("removed {torn} torn snapshot files"));
        }
        let first = match patiently(&path) {
            Ok(db) => {
                self.open = Some((number, db));
                return Ok(());
            }
            Err(error) if for_a_fresh_start(&error) => error,
            Err(error) => return Err(error),
        };
        opened
            .notes
            .push(format!("{first}; trying without snapshots"));
        clear_snapshots(&path, Snapshots::All)
            .map_err(|e| StoreError::io(format!("clearing {}", path.display()), e))?;
        match patiently(&path) {
            Ok(db) => {
                self.open = Some((number, db));
                Ok(())
            }
            Err(StoreError::Io { doing, source }) if !is_medium_fault(&source) => {
                Err(StoreError::Io { doing, source })
            }
            Err(error) => {
                opened.notes.push(format!("{error}; set aside"));
                self.replace_store(number, opened)
            }
        }
    }

    fn replace_store(&mut self, number: u64, opened: &mut Opened) -> Result<(), StoreError> {
        self.open = None;
        let kept = self.quarantine(number)?;
        opened.quarantined = Some(kept.unwrap_or_else(|| self.dir.join(QUARANTINE)));
        let db = self.fresh(number + 1, None)?;
        self.open = Some((number + 1, db));
        Ok(())
    }

    fn load_aside(&mut self) -> &mut VecDeque<(PathBuf, u64)> {
        let room = self.dir.join(QUARANTINE).join("records");
        self.aside.get_or_insert_with(|| {
            let mut found: Vec<_> = fs::read_dir(&room)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| {
                    let meta = entry.metadata().ok()?;
                    Some((meta.modified().ok()?, entry.path(), meta.len()))
                })
                .collect();
            found.sort();
            found
                .into_iter()
                .map(|(_, path, len)| (path, len))
                .collect()
        })
    }

    fn try_set_aside(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let room = self.dir.join(QUARANTINE).join("records");
        fs::create_dir_all(&room)?;
        let path = room.join(name);
        let known = path.exists();
        File::create(&path)?.write_all(bytes)?;
        let bound = self.quarantine_bytes / 4;
        let aside = self.load_aside();
        if !known {
            aside.retain(|(kept, _)| *kept != path);
            aside.push_back((path, bytes.len() as u64));
        }
        let mut sum: u64 = aside.iter().map(|(_, len)| len).sum();
        while sum > bound || aside.len() > RECORDS_KEPT {
            let Some((oldest, len)) = aside.pop_front() else {
                break;
            };
            sum = sum.saturating_sub(len);
            fs::remove_file(oldest)?;
        }
        Ok(())
    }
}

impl SpoolStore for DiskStore {
    fn open(&mut self) -> Result<Opened, StoreError> {
        self.open = None;
        let failed = |doing: &str, error| StoreError::io(doing.to_owned(), error);
        fs::create_dir_all(&self.dir)
            .map_err(|e| failed(&format!("making {}", self.dir.display()), e))?;
        let mut opened = Opened::default();
        let found = buf_numbers(&self.dir)
            .map_err(|e| failed(&format!("listing {}", self.dir.display()), e))?;
        let current = self.current();
        let Some(number) = current.or_else(|| found.last().copied()) else {
            let db = self.fresh(1, None)?;
            self.open = Some((1, db));
            return Ok(opened);
        };
        if current.is_none() {
            opened.notes.push(format!(
                "CURRENT did not name a store; took {}",
                buf(number)
            ));
            replace(&self.dir, CURRENT, format!("{}\n", buf(number)).as_bytes())
                .map_err(|e| failed("writing CURRENT", e))?;
        }
        self.open_number(number, &mut opened)?;
        // Only now, and not after a quarantine: a left-over might be all there is.
        let keep = opened.quarantined.is_some();
        for &other in found.iter().filter(|&&other| other != number && !keep) {
            opened
                .notes
                .push(format!("removed left-over {}", buf(other)));
            if let Err(error) = remove_dir(&self.dir.join(buf(other))) {
                opened.notes.push(format!("left-over stays: {error}"));
            }
        }
        Ok(opened)
    }

    fn condemn(&mut self) -> Result<Opened, StoreError> {
        let mut opened = Opened::default();
        match self.open.take() {
            Some((number, db)) => {
                drop(db);
                self.replace_store(number, &mut opened)?;
                Ok(opened)
            }
            None => self.open(),
        }
    }

    fn renew(&mut self) -> Result<(), StoreError> {
        self.move_on(false)
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        self.move_on(true)
    }

    fn apply(&mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        self.db()?.apply(ops)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.db()?.sync(self.sync_data)
    }

    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db()?.get(tree, key)
    }

    fn scan(&mut self, tree: Tree, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.db()?.scan(tree, each)
    }

    fn read_tally(&mut self) -> Vec<Vec<u8>> {
        [TALLY, TALLY_PREV]
            .iter()
            .filter_map(|name| fs::read(self.dir.join(name)).ok())
            .collect()
    }

    fn write_tally(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(TALLY);
        let failed = |error| StoreError::io(format!("writing {}", path.display()), error);
        // The predecessor stays readable in case the medium damages the new one.
        match fs::rename(&path, self.dir.join(TALLY_PREV)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        replace(&self.dir, TALLY, bytes).map_err(failed)
    }

    fn set_aside(&mut self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.try_set_aside(name, bytes) {
            tracing::warn!(%error, name, "record could not be set aside for later inspection");
        }
    }

    fn disk_bytes(&mut self) -> Option<u64> {
        self.db().ok()?.size().ok()
    }

    fn free_bytes(&mut self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn close(&mut self) {
        self.open = None;
    }
}

fn buf(number: u64) -> String {
    format!("buf-{number}")
}

fn parse_buf(name: &str) -> Option<u64> {
    name.strip_prefix("buf-")?.parse().ok()
}

fn buf_numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(parse_buf));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The current database of a spool directory, for the offline tools.
pub(crate) fn current_store(dir: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(dir.join(CURRENT)).ok();
    let named = text.and_then(|text| parse_buf(text.trim()));
    let number = named.or_else(|| buf_numbers(dir).ok()?.last().copied())?;
    Some(dir.join(buf(number))).filter(|path| path.is_dir())
}

/// Databases set aside in `room`, oldest first.
pub(crate) fn store_numbers(room: &Path) -> Vec<(u64, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir(room)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry
                .file_name()
                .to_str()?
                .strip_prefix("store-")?
                .parse()
                .ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// Opens `path`, waiting a while for a lock that its last owner has not yet let go.
pub(crate) fn patiently(path: &Path) -> Result<SledDb, StoreError> {
    let started = Instant::now();
    loop {
        match SledDb::open(path) {
            Err(StoreError::InUse(_)) if started.elapsed() < LOCK_PATIENCE => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the spool's own thread, not a worker"
                )]
                std::thread::sleep(LOCK_PAUSE);
            }
            done => return done,
        }
    }
}

/// An I/O error that says "these bytes", not "this file system".
fn is_medium_fault(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn for_a_fresh_start(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. } => true,
        StoreError::Io { source, .. } => is_medium_fault(source),
        StoreError::InUse(_) => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    /// Those that can only be torn: unfinished or empty.
    Torn,
    All,
}

fn clear_snapshots(dir: &Path, which: Snapshots) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("snap.")) else {
            continue;
        };
        let torn = || Ok::<_, io::Error>(entry.metadata()?.len() == 0);
        if which == Snapshots::All || name.ends_with(".generating") || torn()? {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Writes `bytes` as `name` in `dir`: all or nothing, durable when it returns.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    sync_path(dir)
}

fn sync_path(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn dir_bytes(path: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => sum += dir_bytes(&entry.path()),
            Ok(meta) => sum += meta.len(),
            Err(_) => {}
        }
    }
    sum
}

//! The alarms that must survive a restart: a small file beside the spool, written whole at each change.
//!
//! It lives apart from the spool (design.md C10): a damaged spool costs no alarm, a damaged file no
//! start. What cannot be read is set aside under another name and said.

use gateway_pipeline::KeptAlarms;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

const NAME: &str = "alarms.json";
/// A thousand alarms with long texts; more is no file of ours.
const MAX_BYTES: u64 = 4 << 20;

/// Reads what the last run kept; nothing where there is none.
pub(crate) fn read(state_dir: &Path) -> KeptAlarms {
    let path = state_dir.join(NAME);
    let text = match std::fs::metadata(&path) {
        Ok(about) if about.len() > MAX_BYTES => Err(format!("{} bytes are too many", about.len())),
        Ok(_) => std::fs::read_to_string(&path).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return KeptAlarms::new(),
        Err(error) => Err(error.to_string()),
    };
    let kept = text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    kept.unwrap_or_else(|why| {
        let aside = path.with_extension("json.damaged");
        let moved = std::fs::rename(&path, &aside);
        tracing::error!(file = %path.display(), why, moved = moved.is_ok(),
            "the kept alarms cannot be read; they are set aside and raised anew where their cause is still there");
        KeptAlarms::new()
    })
}

/// Writes every change until the senders are gone. A disk that refuses is told once until it takes again.
pub(crate) async fn keep(state_dir: PathBuf, mut alarms: watch::Receiver<KeptAlarms>) {
    let mut refused = false;
    while alarms.changed().await.is_ok() {
        let kept = alarms.borrow_and_update().clone();
        let dir = state_dir.clone();
        let written = tokio::task::spawn_blocking(move || write(&dir, &kept)).await;
        match written {
            Ok(Ok(())) => refused = false,
            Ok(Err(error)) if !refused => {
                refused = true;
                tracing::error!(%error, "the alarms could not be kept; a restart would forget them");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Writes them once, before the end.
pub(crate) fn keep_last(state_dir: &Path, kept: &KeptAlarms) {
    if kept.is_empty() && !state_dir.join(NAME).exists() {
        return;
    }
    if let Err(error) = write(state_dir, kept) {
        tracing::error!(%error, "the alarms could not be kept; a restart would forget them");
    }
}

fn write(state_dir: &Path, kept: &KeptAlarms) -> std::io::Result<()> {
    let path = state_dir.join(NAME);
    let fresh = path.with_extension("json.new");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(kept).map_err(std::io::Error::other)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, &path)?;
    std::fs::File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_set_aside_and_costs_no_start() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).is_empty());
        std::fs::write(dir.path().join(NAME), "{ \"hot\": ").unwrap();
        assert!(read(dir.path()).is_empty());
        assert!(dir.path().join("alarms.json.damaged").exists());
        write(dir.path(), &KeptAlarms::new()).unwrap();
        assert!(dir.path().join(NAME).exists());
        assert!(read(dir.path()).is_empty());
    }
}

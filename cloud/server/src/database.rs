//! Opening the database, whichever it is: a SQLite file, or PostgreSQL.
//!
//! A file has one process that serves it: ingest and tasks. Others, and commands, work beside it. On
//! PostgreSQL all are equal, and what one process does at a time is elected there.

use crate::config::{CloudConfig, Database};
use crate::roles::Roles;
use anyhow::Context as _;
use cloud_store::{
    FileOffices, Offices, PostgresOffices, PostgresStore, SqliteStore, Store, StoreError,
};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

/// The database and the offices at it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) offices: Arc<dyn Offices>,
}

/// For the services.
pub(crate) async fn serve(config: &CloudConfig, roles: Roles) -> anyhow::Result<Opened> {
    match config.database()? {
        Database::Postgres(options) => {
            let opened = tokio::task::spawn_blocking(move || PostgresStore::open(options));
            let store = opened.await??;
            Ok(Opened {
                offices: Arc::new(PostgresOffices::new(store.clone())?),
                store: Arc::new(store),
            })
        }
        Database::File(path, _) => Ok(Opened {
            offices: Arc::new(FileOffices::new(&path)),
            store: if roles.writes() {
                alone(config).await.map_err(|error| {
                    match error.downcast_ref::<StoreError>() {
                        Some(StoreError::InUse { .. }) => error.context(
                            "on a SQLite file one process works with `ingest` or `tasks`: both in one \
                             process, or PostgreSQL",
                        ),
                        _ => error,
                    }
                })?
            } else {
                beside(config).await?
            },
        }),
    }
}

/// Beside whoever serves it.
pub(crate) async fn beside(config: &CloudConfig) -> anyhow::Result<Arc<dyn Store>> {
    match config.database()? {
        Database::Postgres(_) => alone(config).await,
        Database::File(path, options) => {
            anyhow::ensure!(
                path.exists(),
                "there is no database at {}; `fogline-cloud init` makes one",
                path.display()
            );
            let opened =
                tokio::task::spawn_blocking(move || SqliteStore::open_beside(&path, options));
            Ok(Arc::new(opened.await??))
        }
    }
}

/// As the one that serves it, made where it is missing.
pub(crate) async fn alone(config: &CloudConfig) -> anyhow::Result<Arc<dyn Store>> {
    match config.database()? {
        Database::Postgres(options) => {
            let opened = tokio::task::spawn_blocking(move || PostgresStore::open(options));
            Ok(Arc::new(opened.await??))
        }
        Database::File(path, options) => {
            make_folder(&path)?;
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, options));
            Ok(Arc::new(opened.await??))
        }
    }
}

/// The database holds password hashes: its folder is the owner's alone.
fn make_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let Some(folder) = folder else { return Ok(()) };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

//! `[database]`: a SQLite file of this machine, or PostgreSQL for any number of processes.

use cloud_store::Limits;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseSection {
    /// The SQLite file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<PathBuf>,
    /// `postgres://user@host[:port][,host…]/database[?sslmode=verify-full|disable]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    /// File with the password of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password_file: Option<PathBuf>,
    /// The authority of the server's certificate, PEM; default: the installation's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) root_certificate: Option<PathBuf>,
    #[serde(default = "default_retention_days")]
    retention_days: u64,
    #[serde(default = "default_rollup_retention_days")]
    rollup_retention_days: u64,
    #[serde(default = "default_compact_after_s")]
    compact_after_s: u64,
    #[serde(default = "default_series")]
    series_per_gateway: u64,
}

impl std::fmt::Debug for DatabaseSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("DatabaseSection")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

const fn default_retention_days() -> u64 {
    400
}
const fn default_rollup_retention_days() -> u64 {
    3650
}
const fn default_compact_after_s() -> u64 {
    300
}
const fn default_series() -> u64 {
    100_000
}

impl DatabaseSection {
    /// A file beside the configuration.
    pub(super) fn in_file() -> Self {
        Self {
            path: Some("data/fogline.db".into()),
            url: None,
            password_file: None,
            root_certificate: None,
            retention_days: default_retention_days(),
            rollup_retention_days: default_rollup_retention_days(),
            compact_after_s: default_compact_after_s(),
            series_per_gateway: default_series(),
        }
    }

    /// Bounds of the store, whichever it is.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            series_per_gateway: self.series_per_gateway,
            compact_after: Duration::from_secs(self.compact_after_s),
            retention: Duration::from_secs(self.retention_days.saturating_mul(DAY)),
            rollup_retention: Duration::from_secs(self.rollup_retention_days.saturating_mul(DAY)),
            ..Limits::default()
        }
    }

    /// What is wrong with it, each with the key and what is allowed.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        demand(
            self.path.is_some() != self.url.is_some(),
            "[database] needs either path (SQLite) or url (PostgreSQL)".to_owned(),
        );
        if let Some(url) = &self.url {
            demand(
                url.starts_with("postgres://") || url.starts_with("postgresql://"),
                "database.url is no URL of PostgreSQL; allowed is postgres://user@host/database"
                    .to_owned(),
            );
        }
        for (key, given) in [
            ("password_file", self.password_file.is_some()),
            ("root_certificate", self.root_certificate.is_some()),
        ] {
            demand(
                !given || self.url.is_some(),
                format!("database.{key} belongs to database.url"),
            );
        }
        for (key, found, allowed) in [
            ("retention_days", self.retention_days, 1..=36_500),
            (
                "rollup_retention_days",
                self.rollup_retention_days,
                1..=36_500,
            ),
            ("compact_after_s", self.compact_after_s, 10..=86_400),
            (
                "series_per_gateway",
                self.series_per_gateway,
                1..=10_000_000,
            ),
        ] {
            let range = format!("{} to {}", allowed.start(), allowed.end());
            demand(
                allowed.contains(&found),
                format!("database.{key} is {found}; allowed are {range}"),
            );
        }
        demand(
            self.rollup_retention_days >= self.retention_days,
            "database.rollup_retention_days is below database.retention_days".to_owned(),
        );
        problems
    }
}

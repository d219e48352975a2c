//! The roles of one process.

use crate::cli::Role;

/// A set of roles; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) ingest: bool,
    pub(crate) auth: bool,
    pub(crate) api: bool,
    pub(crate) tasks: bool,
}

impl Roles {
    pub(crate) fn of(roles: &[Role]) -> Self {
        let has = |role| roles.contains(&Role::All) || roles.contains(&role);
        Self {
            ingest: has(Role::Ingest),
            auth: has(Role::Auth),
            api: has(Role::Api),
            tasks: has(Role::Tasks),
        }
    }

    /// Whether the broker is this process' business.
    pub(crate) const fn needs_broker(self) -> bool {
        self.ingest || self.auth
    }

    /// Whether it writes what gateways send: of those, one process may work on a SQLite file.
    pub(crate) const fn writes(self) -> bool {
        self.ingest || self.tasks
    }

    /// Their names.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let all = [
            (self.ingest, "ingest"),
            (self.auth, "auth"),
            (self.api, "api"),
            (self.tasks, "tasks"),
        ];
        all.into_iter()
            .filter_map(|(has, name)| has.then_some(name))
            .collect()
    }
}

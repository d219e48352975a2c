//! How to reach the database: a URL without secrets, files with them.

use crate::error::StoreError;
use crate::sql::Limits;
use std::path::PathBuf;
use std::str::FromStr as _;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Writers: group commits of one process that wait for the disk side by side.
const WRITERS: usize = 4;
/// Readers: some may be in long queries while others answer.
const READERS: usize = 4;

/// How to open a database on `PostgreSQL`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `postgres://user@host[:port][,host…]/database[?sslmode=verify-full|disable]`. A password in it
    /// is refused: a URL stands in configuration files, in the list of processes and in logs. Without
    /// `sslmode`, TLS is left out only on the machine itself (loopback, unix socket).
    pub url: String,
    /// The password, where the caller has it from a private place.
    pub password: Option<String>,
    /// A file that holds the password and nothing else.
    pub password_file: Option<PathBuf>,
    /// The authority of the server's certificate, PEM; needed for `verify-full`.
    pub root_certificate: Option<PathBuf>,
    /// Our own certificate and its key, PEM, where the server asks for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Bounds.
    pub limits: Limits,
    /// Connections that write.
    pub writers: usize,
    /// Connections that answer queries.
    pub readers: usize,
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("place", &self.place())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl PostgresOptions {
    /// Usual numbers of connections, default bounds.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            password: None,
            password_file: None,
            root_certificate: None,
            client_certificate: None,
            limits: Limits::default(),
            writers: WRITERS,
            readers: READERS,
        }
    }

    /// Where the database is, fit for messages.
    #[must_use]
    pub fn place(&self) -> String {
        let (place, _) = self.url.split_once('?').unwrap_or((&self.url, ""));
        // Whoever wrote a password into the URL all the same must not find it in a log.
        let Some((scheme, rest)) = place.split_once("://") else {
            return "its URL".to_owned();
        };
        match rest.rsplit_once('@') {
            Some((_, place)) => format!("{scheme}://{place}"),
            None => place.to_owned(),
        }
    }

    /// Why the database cannot be opened.
    pub(super) fn wrong(
        &self,
        why: impl Into<String>,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::Open {
            path: PathBuf::from(self.place()),
            why: why.into(),
            source,
        }
    }

    /// The hosts, each with everything but TLS; and whether TLS is used.
    pub(super) fn hosts(&self) -> Result<(Vec<Config>, bool), StoreError> {
        let (plain, sslmode) = self.without_sslmode()?;
        let all = Config::from_str(&plain)
            .map_err(|why| self.wrong("its URL cannot be read", Some(Box::new(why))))?;
        if all.get_password().is_some() {
            let why = "its URL holds a password; put the password into a file of its own and name \
                       that (`password_file`)";
            return Err(self.wrong(why, None));
        }
        let (Some(user), Some(database)) = (all.get_user(), all.get_dbname()) else {
            return Err(self.wrong("its URL must name a user and a database", None));
        };
        let password = self.password()?;
        let ports = all.get_ports();
        let mut hosts = Vec::new();
        for (at, host) in all.get_hosts().iter().enumerate() {
            let mut one = Config::new();
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(path) => one.host_path(path),
            };
            let port = ports.get(at).or_else(|| ports.first());
            one.port(port.copied().unwrap_or(5432));
            one.user(user).dbname(database).application_name("fogline");
            if let Some(password) = &password {
                one.password(password);
            }
            hosts.push(one);
        }
        if hosts.is_empty() {
            return Err(self.wrong("its URL names no host", None));
        }
        let tls = match sslmode.as_deref() {
            None => !all.get_hosts().iter().all(is_here),
            Some("disable") => false,
            Some("verify-full") => true,
            Some(other) => {
                let why = format!(
                    "sslmode={other} is not supported: verify-full, which knows whom it talks to, \
                     or disable"
                );
                return Err(self.wrong(why, None));
            }
        };
        Ok((hosts, tls))
    }

    fn without_sslmode(&self) -> Result<(String, Option<String>), StoreError> {
        let Some((place, parameters)) = self.url.split_once('?') else {
            return Ok((self.url.clone(), None));
        };
        let mut sslmode = None;
        let mut rest = Vec::new();
        for parameter in parameters.split('&').filter(|text| !text.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => sslmode = Some(mode.to_owned()),
                Some(("host" | "port", _)) => rest.push(parameter),
                _ => {
                    let name = parameter.split('=').next().unwrap_or_default();
                    let why = format!(
                        "its URL has a parameter `{name}` that means nothing here; known are \
                         sslmode, host and port"
                    );
                    return Err(self.wrong(why, None));
                }
            }
        }
        let plain = if rest.is_empty() {
            place.to_owned()
        } else {
            format!("{place}?{}", rest.join("&"))
        };
        Ok((plain, sslmode))
    }

    fn password(&self) -> Result<Option<String>, StoreError> {
        let Some(path) = &self.password_file else {
            return Ok(self.password.clone());
        };
        let text = std::fs::read_to_string(path).map_err(|why| {
            let what = format!("the password file {} cannot be read", path.display());
            self.wrong(what, Some(Box::new(why)))
        })?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

/// Whether a host is this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let loopback = |address: std::net::IpAddr| address.is_loopback();
            name == "localhost" || name.parse().is_ok_and(loopback)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Result<(usize, bool), String> {
        let options = PostgresOptions::new(url);
        let found = options.hosts().map_err(|why| why.to_string())?;
        Ok((found.0.len(), found.1))
    }

    #[test]
    fn tls_is_left_out_only_on_the_machine_itself_or_where_that_is_said() {
        assert_eq!(hosts("postgres://f@127.0.0.1/f"), Ok((1, false)));
        assert_eq!(hosts("postgres://f@localhost:7/f"), Ok((1, false)));
        assert_eq!(hosts("postgres://f@%2Frun%2Fpg/f"), Ok((1, false)));
        assert_eq!(hosts("postgres://f@db.example/f"), Ok((1, true)));
        assert_eq!(
            hosts("postgres://f@127.0.0.1,db.example:6/f"),
            Ok((2, true))
        );
        assert_eq!(
            hosts("postgres://f@db.example/f?sslmode=disable"),
            Ok((1, false))
        );
    }

    #[test]
    fn a_url_that_is_wrong_says_what_to_do_and_shows_no_password() {
        let refused = |url: &str, why: &str| {
            let text = hosts(url).unwrap_err();
            assert!(text.contains(why), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        };
        refused("postgres://f:hunter2@127.0.0.1/f", "password_file");
        refused("postgres://f@h/f?sslmode=require", "verify-full");
        refused("postgres://f@h/f?target=any", "`target`");
        refused("postgres://h/f", "user");
        refused("hunter2", "cannot be read");
    }
}

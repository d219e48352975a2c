//! Connecting: to the primary, and to no server that was promoted over.
//!
//! Each promotion begins a new timeline. Of several hosts the primary on the highest one is taken, and
//! a process that has seen a timeline refuses every lower one: an old primary that comes back would
//! vouch for less than what was settled.

use super::Looker;
use super::options::PostgresOptions;
use super::tls::Tls;
use crate::error::StoreError;
use std::future::poll_fn;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};

/// A host that does not answer within this is away.
const CONNECT: Duration = Duration::from_secs(10);
/// Unanswered bytes end a connection after so long: a host that fell silent.
const SILENCE: Duration = Duration::from_secs(20);
/// Notifications under way between the connection and who reads them.
const NOTIFICATIONS: usize = 256;

/// Of each session. A lock that is not to be had is an error in the end, not a process that hangs; a
/// transaction whose process is gone without a word ends, and with it what it holds. (A snapshot may
/// take its time: an export goes as fast as it is read.)
const SESSION: &str = "SET lock_timeout = '60s'; \
     SET idle_in_transaction_session_timeout = '15min'; SET timezone = 'UTC'; \
     SET default_transaction_read_only = off; SET client_min_messages = warning";

/// Which timeline the server writes; NULL where it only follows another.
const TIMELINE: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN NULL
     ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END";

/// The database to connect to, and what was seen of it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) options: PostgresOptions,
    hosts: Vec<Config>,
    tls: Option<Tls>,
    /// Highest timeline seen.
    seen: AtomicU32,
    sessions: AtomicU64,
    /// Whose memory must go when another server answers.
    shared: OnceLock<Looker>,
}

/// A connection to a primary.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) timeline: u32,
    /// No two sessions have the same.
    pub(super) number: u64,
    pub(super) notifications: mpsc::Receiver<String>,
}

impl Target {
    pub(super) fn new(options: PostgresOptions) -> Result<Self, StoreError> {
        let (mut hosts, tls) = options.hosts()?;
        for host in &mut hosts {
            host.connect_timeout(CONNECT)
                .tcp_user_timeout(SILENCE)
                .keepalives_idle(SILENCE)
                .ssl_mode(if tls {
                    tokio_postgres::config::SslMode::Require
                } else {
                    tokio_postgres::config::SslMode::Disable
                });
        }
        let tls = tls.then(|| Tls::new(&options)).transpose()?;
        Ok(Self {
            options,
            hosts,
            tls,
            seen: AtomicU32::new(0),
            sessions: AtomicU64::new(0),
            shared: OnceLock::new(),
        })
    }

    pub(super) fn remember(&self, shared: Looker) {
        // Set once, at the opening.
        drop(self.shared.set(shared));
    }

    /// Whether a primary of a later timeline was seen since.
    pub(super) fn is_outdated(&self, timeline: u32) -> bool {
        timeline < self.seen.load(Ordering::Acquire)
    }

    /// Connects to the primary.
    pub(super) async fn connect(&self) -> Result<Session, StoreError> {
        let mut best: Option<Session> = None;
        let mut last = None;
        for host in &self.hosts {
            match self.connect_to(host).await {
                Ok(session) => {
                    let timeline = best.as_ref().map_or(0, |best| best.timeline);
                    if session.timeline > timeline {
                        best = Some(session);
                    }
                }
                Err(why) => last = Some(why),
            }
        }
        let Some(session) = best else {
            return Err(last.unwrap_or_else(|| self.options.wrong("its URL names no host", None)));
        };
        let seen = self.seen.fetch_max(session.timeline, Ordering::AcqRel);
        if session.timeline < seen {
            let why = format!(
                "the server that answers writes timeline {}, after timeline {seen} was seen: it \
                 was promoted over and may lack what was settled since; make it follow the new \
                 primary",
                session.timeline
            );
            return Err(self.options.wrong(why, None));
        }
        if session.timeline > seen
            && let Some(shared) = self.shared.get().and_then(Looker::upgrade)
        {
            shared.forget();
        }
        Ok(session)
    }

    async fn connect_to(&self, host: &Config) -> Result<Session, StoreError> {
        match &self.tls {
            Some(tls) => self.session(host, tls.clone()).await,
            None => self.session(host, NoTls).await,
        }
    }

    async fn session<T>(&self, host: &Config, tls: T) -> Result<Session, StoreError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let failed = |why: tokio_postgres::Error| self.explain(why);
        let begun = tokio::time::timeout(CONNECT, async {
            let (client, mut connection) = host.connect(tls).await.map_err(failed)?;
            let (notified, notifications) = mpsc::channel(NOTIFICATIONS);
            tokio::spawn(async move {
                // Ends with the connection; the client then says so by itself.
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(note) = message
                        && notified.send(note.payload().to_owned()).await.is_err()
                    {
                        return;
                    }
                }
            });
            client.batch_execute(SESSION).await.map_err(failed)?;
            let row = client.query_one(TIMELINE, &[]).await.map_err(failed)?;
            let timeline: Option<String> = row.try_get(0).map_err(failed)?;
            let timeline = timeline.and_then(|text| u32::from_str_radix(&text, 16).ok());
            let Some(timeline) = timeline else {
                let why = "the server only follows another; name the primary, or all servers";
                return Err(self.options.wrong(why, None));
            };
            self.insist_on_sync(&client).await?;
            Ok(Session {
                client,
                timeline,
                number: self.sessions.fetch_add(1, Ordering::Relaxed),
                notifications,
            })
        });
        begun.await.unwrap_or_else(|_| {
            Err(self
                .options
                .wrong("the server does not answer; is it up and reachable?", None))
        })
    }

    /// A commit that returns before it is on disk would let gateways forget what may be lost.
    async fn insist_on_sync(&self, client: &Client) -> Result<(), StoreError> {
        let failed = |why: tokio_postgres::Error| self.explain(why);
        let row = client
            .query_one("SELECT current_setting('synchronous_commit')", &[])
            .await
            .map_err(failed)?;
        let setting: String = row.try_get(0).map_err(failed)?;
        if matches!(setting.as_str(), "off" | "local") {
            let set = "SET synchronous_commit = on";
            client.batch_execute(set).await.map_err(failed)?;
        }
        Ok(())
    }

    fn explain(&self, why: tokio_postgres::Error) -> StoreError {
        use tokio_postgres::error::SqlState;
        let what = match why.code() {
            Some(&SqlState::INVALID_PASSWORD) => {
                "the server refuses the password; does the password file hold the right one?"
            }
            Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                "the server refuses this user; see its pg_hba.conf"
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => {
                "the server has no such database; make it (CREATE DATABASE), owned by the user"
            }
            None if asks_for_password(&why) => {
                "the server asks for a password; name the file that holds it (`password_file`)"
            }
            _ => "the server cannot be reached or refuses the connection",
        };
        self.options.wrong(what, Some(Box::new(why)))
    }
}

/// The driver has no kind of error for it.
fn asks_for_password(why: &tokio_postgres::Error) -> bool {
    std::error::Error::source(why).is_some_and(|why| why.to_string() == "password missing")
}

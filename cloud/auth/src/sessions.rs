//! Who is connected: the broker's sessions, as events and lists tell them. Pure.
//!
//! A session is (server id, connection id); a gateway is connected while it has one. Events are
//! fast and can be missed; a full list is slow and complete. A list replaces what is known of the
//! servers that answered, except what events said while the list was being taken. A server that does not
//! answer once is slow; when it does not answer again it is gone, and its sessions with it.

use protocols_model::{GatewayId, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// Servers and connections remembered at most; more is a broken broker.
const MAX_SESSIONS: usize = 100_000;
/// Lists that a server must be missing in before its sessions are over.
const MISSED_LISTS: u32 = 2;

/// One connection at one server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The server's id.
    pub server: String,
    /// Its connection id there.
    pub connection: u64,
}

#[derive(Debug)]
struct Session {
    gateway: GatewayId,
    since: Instant,
}

/// A gateway's state changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which gateway.
    pub gateway: GatewayId,
    /// Whether it has a session now.
    pub connected: bool,
}

/// The table of sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    open: BTreeMap<SessionKey, Session>,
    // What closed lately: a list that was taken before must not bring it back.
    closed: BTreeMap<SessionKey, Instant>,
    /// Servers that did not answer, and how often in a row.
    missing: BTreeMap<String, u32>,
}

impl Sessions {
    /// A session opened.
    pub fn opened(&mut self, key: SessionKey, gateway: GatewayId, now: Instant) -> Vec<Change> {
        if self.open.len() >= MAX_SESSIONS {
            return Vec::new();
        }
        let before = self.is_connected(&gateway);
        self.closed.remove(&key);
        self.open.insert(
            key,
            Session {
                gateway: gateway.clone(),
                since: now,
            },
        );
        self.change(gateway, before)
    }

    /// A session closed.
    pub fn closed(&mut self, key: &SessionKey, now: Instant) -> Vec<Change> {
        if self.closed.len() < MAX_SESSIONS {
            self.closed.insert(key.clone(), now);
        }
        match self.open.remove(key) {
            Some(session) => self.change(session.gateway, true),
            None => Vec::new(),
        }
    }

    /// A full list of the servers that answered, asked for at `asked`.
    pub fn listed(
        &mut self,
        servers: &BTreeSet<String>,
        list: Vec<(SessionKey, GatewayId)>,
        asked: Instant,
    ) -> Vec<Change> {
        let before = self.connected();
        let listed: BTreeSet<SessionKey> = list.iter().map(|(key, _)| key.clone()).collect();
        self.miss(servers);
        let missing = &self.missing;
        self.open
            .retain(|key, session| match missing.get(&key.server) {
                Some(times) => *times < MISSED_LISTS,
                None => listed.contains(key) || session.since > asked,
            });
        for (key, gateway) in list {
            let closed_since = self.closed.get(&key).is_some_and(|at| *at >= asked);
            if !closed_since && self.open.len() < MAX_SESSIONS {
                self.open.entry(key).or_insert(Session {
                    gateway,
                    since: asked,
                });
            }
        }
        self.closed.retain(|_, at| *at >= asked);
        self.difference(&before)
    }

    fn miss(&mut self, answered: &BTreeSet<String>) {
        let silent: BTreeSet<&String> = self
            .open
            .keys()
            .map(|key| &key.server)
            .filter(|server| !answered.contains(*server))
            .collect();
        let missing = silent.into_iter().map(|server| {
            let before = self.missing.get(server).copied().unwrap_or_default();
            (server.clone(), before.saturating_add(1))
        });
        self.missing = missing.collect();
    }

    /// The link to the broker is gone: nothing is known to be connected.
    pub fn lost(&mut self) -> Vec<Change> {
        let before = self.connected();
        self.open.clear();
        self.closed.clear();
        self.missing.clear();
        self.difference(&before)
    }

    /// Gateways with a session.
    #[must_use]
    pub fn connected(&self) -> BTreeSet<GatewayId> {
        self.open.values().map(|s| s.gateway.clone()).collect()
    }

    /// Sessions of one gateway.
    #[must_use]
    pub fn of(&self, gateway: &GatewayId) -> Vec<SessionKey> {
        let open = self.open.iter();
        open.filter(|(_, session)| session.gateway == *gateway)
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn is_connected(&self, gateway: &GatewayId) -> bool {
        self.open.values().any(|s| s.gateway == *gateway)
    }

    fn change(&self, gateway: GatewayId, before: bool) -> Vec<Change> {
        let connected = self.is_connected(&gateway);
        if connected == before {
            return Vec::new();
        }
        vec![Change { gateway, connected }]
    }

    fn difference(&self, before: &BTreeSet<GatewayId>) -> Vec<Change> {
        let now = self.connected();
        let change = |connected| {
            move |gateway: &GatewayId| Change {
                gateway: gateway.clone(),
                connected,
            }
        };
        let gone = before.difference(&now).map(change(false));
        gone.chain(now.difference(before).map(change(true)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    fn key(connection: u64) -> SessionKey {
        SessionKey {
            server: "N1".into(),
            connection,
        }
    }

    fn gw(name: &str) -> GatewayId {
        GatewayId::try_new(name).unwrap()
    }

    fn states(changes: &[Change]) -> Vec<(&str, bool)> {
        changes
            .iter()
            .map(|c| (c.gateway.as_str(), c.connected))
            .collect()
    }

    #[test]
    fn a_takeover_does_not_show_the_gateway_as_gone() {
        let mut sessions = Sessions::default();
        assert_eq!(
            states(&sessions.opened(key(1), gw("a"), at(0))),
            [("a", true)]
        );
        assert!(sessions.opened(key(2), gw("a"), at(1)).is_empty());
        assert!(sessions.closed(&key(1), at(2)).is_empty());
        assert_eq!(states(&sessions.closed(&key(2), at(3))), [("a", false)]);
    }

    #[test]
    fn a_list_repairs_missed_events_but_never_undoes_younger_ones() {
        let servers = BTreeSet::from(["N1".to_owned()]);
        let mut sessions = Sessions::default();
        sessions.opened(key(1), gw("gone"), at(0));
        sessions.opened(key(2), gw("closing"), at(0));
        // The list is asked for at 10; meanwhile one closes and one opens.
        sessions.closed(&key(2), at(11));
        sessions.opened(key(3), gw("young"), at(12));
        let list = vec![(key(2), gw("closing")), (key(4), gw("missed"))];
        let changes = sessions.listed(&servers, list, at(10));
        assert_eq!(states(&changes), [("gone", false), ("missed", true)]);
        let names: Vec<String> = sessions.connected().iter().map(|g| g.to_string()).collect();
        assert_eq!(names, ["missed", "young"]);
    }

    #[test]
    fn a_server_that_is_silent_once_is_slow_and_twice_is_gone() {
        let of = |server: &str, connection| SessionKey {
            server: server.into(),
            connection,
        };
        let mut sessions = Sessions::default();
        sessions.opened(of("N1", 1), gw("a"), at(0));
        sessions.opened(of("N2", 1), gw("b"), at(0));
        let only = |name: &str| BTreeSet::from([name.to_owned()]);
        let a = || vec![(of("N1", 1), gw("a"))];
        assert!(sessions.listed(&only("N1"), a(), at(10)).is_empty());
        let both = BTreeSet::from(["N1".to_owned(), "N2".to_owned()]);
        let all = [a(), vec![(of("N2", 1), gw("b"))]].concat();
        assert!(sessions.listed(&both, all, at(20)).is_empty());
        assert!(sessions.listed(&only("N1"), a(), at(30)).is_empty());
        let gone = sessions.listed(&only("N1"), a(), at(40));
        assert_eq!(states(&gone), [("b", false)]);
    }

    #[test]
    fn a_lost_broker_takes_every_session_with_it() {
        let mut sessions = Sessions::default();
        sessions.opened(key(1), gw("a"), at(0));
        assert_eq!(states(&sessions.lost()), [("a", false)]);
        assert!(sessions.of(&gw("a")).is_empty());
    }
}

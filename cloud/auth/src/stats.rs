//! What the callout decided, in numbers: for `/metrics` and the status page.

use crate::decide::Refusal;
use crate::jwt::Question;
use protocols_model::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct AuthStats {
    granted: AtomicU64,
    cut: AtomicU64,
    unreadable: AtomicU64,
    elected: AtomicBool,
    sessions: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    recent: Mutex<BTreeMap<Who, (Timestamp, u64)>>,
}

/// Different refusals remembered.
const MAX_RECENT: usize = 256;
/// Characters kept of what the other side wrote.
const MAX_SHOWN: usize = 128;

/// Client id, address, reason.
type Who = (String, String, String);

/// A connection that was kept out, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// MQTT client id it gave.
    pub client: String,
    /// Where it came from.
    pub peer: String,
    /// Why; names the certificate where that is part of it.
    pub reason: String,
    /// When last.
    pub at: Timestamp,
    /// How often.
    pub times: u64,
}

impl AuthStats {
    /// Connections let in.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Live sessions cut.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Questions that could not be read; not ours, or forged.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Whether this process is the one that notes sessions.
    #[must_use]
    pub fn elected(&self) -> bool {
        self.elected.load(Ordering::Relaxed)
    }

    /// Gateways that are connected, as far as this process sees.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Connections kept out, by reason ([`Refusal::as_str`]).
    #[must_use]
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        let refused = self.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections kept out lately for a reason of their own, newest first.
    #[must_use]
    pub fn recent_refusals(&self) -> Vec<Refused> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Refused> = recent
            .iter()
            .map(|((client, peer, reason), &(at, times))| Refused {
                client: client.clone(),
                peer: peer.clone(),
                reason: reason.clone(),
                at,
                times,
            })
            .collect();
        all.sort_by_key(|refused| std::cmp::Reverse(refused.at));
        all
    }

    pub(crate) fn set_elected(&self, elected: bool) -> bool {
        self.elected.swap(elected, Ordering::Relaxed)
    }

    pub(crate) fn set_sessions(&self, sessions: usize) {
        let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
        self.sessions.store(sessions, Ordering::Relaxed);
    }

    pub(crate) fn count_granted(&self) {
        self.granted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_cut(&self, sessions: u64) {
        self.cut.fetch_add(sessions, Ordering::Relaxed);
    }

    pub(crate) fn count_unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_now(&self, question: &Question, refusal: &Refusal, now: Timestamp) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refused.entry(refusal.as_str()).or_default();
        *count = count.saturating_add(1);
        drop(refused);
        if !refusal.is_about_the_client() {
            return;
        }
        let who = (
            question.client_id.chars().take(MAX_SHOWN).collect(),
            question.host.chars().take(MAX_SHOWN).collect(),
            refusal.to_string(),
        );
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, times) = recent.entry(who).or_insert((now, 0));
        *at = now;
        *times = times.saturating_add(1);
        if recent.len() > MAX_RECENT
            && let Some(oldest) = recent
                .iter()
                .min_by_key(|(_, (at, _))| *at)
                .map(|(who, _)| who.clone())
        {
            recent.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_together_and_bounded_with_the_oldest_leaving_first() {
        let stats = AuthStats::default();
        let ask = |client: String| Question {
            client_id: client,
            ..Question::default()
        };
        for n in 0..=MAX_RECENT {
            let now = Timestamp(i64::try_from(n).unwrap());
            stats.refused_now(&ask(format!("gw-{n}")), &Refusal::Unknown, now);
        }
        stats.refused_now(&ask("gw-9".into()), &Refusal::Unknown, Timestamp(9999));
        stats.refused_now(&ask("gw-9".into()), &Refusal::NotReady, Timestamp(9999));
        let recent = stats.recent_refusals();
        assert_eq!(recent.len(), MAX_RECENT);
        assert_eq!((recent[0].client.as_str(), recent[0].times), ("gw-9", 2));
        assert!(recent.iter().all(|refused| refused.client != "gw-0"));
        assert_eq!(stats.refused()["not-ready"], 1);
    }
}

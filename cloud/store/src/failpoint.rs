//! Fail points: places where a test may end the process, as a power cut would.
//!
//! Compiled to nothing without the cargo feature `failpoints` (off in every shipped build). With it
//! `FOGLINE_FAILPOINTS`, read once, holds `name=kill:p` or `name=kill:p:n`, comma between them: from
//! the n-th hit on (default 1) the process aborts with probability p at each hit. Before it aborts,
//! a line `name hit` goes to the file that `FOGLINE_FAILPOINT_LOG` names. An entry that cannot be
//! read is reported in the log and left out.

/// Between the last write of an ingest transaction and its commit.
pub(crate) const BEFORE_COMMIT: &str = "store.before_commit";
/// Between an ingest commit and its answer to the caller.
pub(crate) const AFTER_COMMIT: &str = "store.after_commit";
/// Inside a maintenance step, before its commit.
pub(crate) const COMPACT: &str = "store.compact";

/// Passes the fail point `name`.
#[cfg(not(feature = "failpoints"))]
pub const fn hit(_name: &str) {}

#[cfg(feature = "failpoints")]
pub use active::hit;

#[cfg(any(feature = "failpoints", test))]
mod rules {
    use std::collections::HashMap;

    /// When a point ends the process.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub(super) struct Rule {
        /// At each hit, 0 to 1.
        pub(super) probability: f64,
        /// From this hit on, counted from 1.
        pub(super) from: u64,
    }

    /// The rules, and the entries that are not understood.
    pub(super) fn parse(text: &str) -> (HashMap<String, Rule>, Vec<String>) {
        let (mut rules, mut bad) = (HashMap::new(), Vec::new());
        for entry in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            match rule(entry) {
                Some((name, rule)) => drop(rules.insert(name.to_owned(), rule)),
                None => bad.push(entry.to_owned()),
            }
        }
        (rules, bad)
    }

    fn rule(entry: &str) -> Option<(&str, Rule)> {
        let (name, action) = entry.split_once('=')?;
        let numbers = action.strip_prefix("kill:")?;
        let (probability, from) = numbers.split_once(':').unwrap_or((numbers, "1"));
        let rule = Rule {
            probability: probability.parse().ok()?,
            from: from.parse().ok()?,
        };
        (0.0..=1.0)
            .contains(&rule.probability)
            .then_some((name, rule))
    }
}

#[cfg(feature = "failpoints")]
mod active {
    use super::rules::{Rule, parse};
    use ring::rand::{SecureRandom, SystemRandom};
    use std::collections::HashMap;
    use std::io::Write;
    use std::sync::{Mutex, OnceLock, PoisonError};

    static RULES: OnceLock<HashMap<String, Rule>> = OnceLock::new();
    static HITS: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);

    /// Passes the fail point `name`; may not return.
    pub fn hit(name: &str) {
        let rules = RULES.get_or_init(|| {
            let (rules, bad) = parse(&std::env::var("FOGLINE_FAILPOINTS").unwrap_or_default());
            for entry in bad {
                tracing::error!(entry, "fail point entry not understood, left out");
            }
            rules
        });
        let Some(rule) = rules.get(name) else { return };
        let number = {
            let mut hits = HITS.lock().unwrap_or_else(PoisonError::into_inner);
            let number = hits
                .get_or_insert_default()
                .entry(name.to_owned())
                .or_default();
            *number += 1;
            *number
        };
        if number >= rule.from && fraction() <= rule.probability {
            log(name, number);
            std::process::abort();
        }
    }

    fn log(name: &str, number: u64) {
        let Some(path) = std::env::var_os("FOGLINE_FAILPOINT_LOG") else {
            return;
        };
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path);
        let written =
            file.and_then(|mut file| file.write_all(format!("{name} {number}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, ?path, "fail point hit not logged");
        }
    }

    /// A random number in 0..=1; without randomness of the system a point hardly ever fires.
    fn fraction() -> f64 {
        let mut bytes = [0; 4];
        match SystemRandom::new().fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
            Err(_) => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rules::{Rule, parse};

    #[test]
    fn a_list_of_fail_points_is_read_and_nonsense_in_it_is_reported() {
        let (rules, bad) = parse("store.compact=kill:0.5, x=sleep:1,a=kill:2,b=kill:1:3");
        assert_eq!(
            rules["store.compact"],
            Rule {
                probability: 0.5,
                from: 1
            }
        );
        assert_eq!(
            rules["b"],
            Rule {
                probability: 1.0,
                from: 3
            }
        );
        assert_eq!(bad, ["x=sleep:1", "a=kill:2"]);
    }
}

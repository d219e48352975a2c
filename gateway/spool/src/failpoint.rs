//! Fail points: places where the chaos oracle may end the process, as a power cut would.
//!
//! Compiled to nothing without the cargo feature `failpoints` (off in every shipped build). With it
//! `FOGLINE_FAILPOINTS`, read once at the first hit, holds `name=kill:p` or `name=kill:p:n`, comma
//! between them: from the n-th hit on (default 1) the process aborts with probability p at each hit.
//! `spool.append=kill:0.01,spool.evict=kill:1:3` ends it at one append in a hundred, and at the third
//! eviction. Before it aborts, a line `name hit` goes to the file that `FOGLINE_FAILPOINT_LOG` names.
//! An entry that cannot be read is reported in the log and left out.
//!
//! Names of this crate: `spool.append` (numbered, not yet answered), `spool.commit` (values handed to
//! the store, not yet synced), `spool.committed` (synced, `tally` not yet written), `spool.settle`
//! (settled in memory), `spool.delete` (deletions handed to the store), `spool.evict` (claim durable,
//! records not yet deleted), `spool.rotate` (fresh directory made, `CURRENT` not yet switched),
//! `spool.open` (store open, epoch not yet durable).

/// Passes the fail point `name`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn hit(_name: &str) {}

#[cfg(feature = "failpoints")]
pub use on::hit;

#[cfg(any(feature = "failpoints", test))]
mod on {
    use std::collections::HashMap;

    /// When a point ends the process.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub(super) struct Rule {
        /// At each hit, 0 to 1.
        pub(super) probability: f64,
        /// From this hit on, counted from 1.
        pub(super) from: u64,
    }

    pub(super) fn parse(text: &str) -> (HashMap<String, Rule>, Vec<String>) {
        let mut rules = HashMap::new();
        let mut bad = Vec::new();
        for item in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            match parse_one(item) {
                Some((name, rule)) => drop(rules.insert(name, rule)),
                None => bad.push(item.to_owned()),
            }
        }
        (rules, bad)
    }

    fn parse_one(item: &str) -> Option<(String, Rule)> {
        let (name, action) = item.split_once('=')?;
        let mut parts = action.split(':');
        if parts.next()? != "kill" {
            return None;
        }
        let probability: f64 = parts.next()?.parse().ok()?;
        let from = parts.next().map_or(Some(1), |n| n.parse().ok())?;
        let rest = parts.next().is_none();
        (rest && (0.0..=1.0).contains(&probability))
            .then(|| (name.to_owned(), Rule { probability, from }))
    }

    #[cfg(feature = "failpoints")]
    mod state {
        use super::{Rule, parse};
        use std::collections::HashMap;
        use std::io::Write;
        use std::sync::{Mutex, OnceLock, PoisonError};

        struct Points {
            rules: HashMap<String, Rule>,
            log: Option<std::ffi::OsString>,
            hits: Mutex<HashMap<String, u64>>,
        }

        fn points() -> &'static Points {
            static POINTS: OnceLock<Points> = OnceLock::new();
            POINTS.get_or_init(|| {
                let text = std::env::var("FOGLINE_FAILPOINTS").unwrap_or_default();
                let (rules, bad) = parse(&text);
                for item in bad {
                    tracing::error!(item, "fail point entry not understood, left out");
                }
                Points {
                    rules,
                    log: std::env::var_os("FOGLINE_FAILPOINT_LOG"),
                    hits: Mutex::default(),
                }
            })
        }

        fn random_unit() -> f64 {
            let mut bytes = [0_u8; 4];
            let filled =
                ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
            if filled.is_err() {
                return 1.0;
            }
            f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
        }

        /// Passes the fail point `name`.
        pub fn hit(name: &str) {
            let points = points();
            let Some(rule) = points.rules.get(name) else {
                return;
            };
            let hit = {
                let mut hits = points.hits.lock().unwrap_or_else(PoisonError::into_inner);
                let hit = hits.entry(name.to_owned()).or_default();
                *hit += 1;
                *hit
            };
            if hit < rule.from || random_unit() > rule.probability {
                return;
            }
            if let Some(path) = &points.log {
                let line = format!("{name} {hit}\n");
                let written = std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .and_then(|mut file| file.write_all(line.as_bytes()));
                if let Err(error) = written {
                    tracing::error!(%error, "fail point log cannot be written");
                }
            }
            std::process::abort();
        }
    }

    #[cfg(feature = "failpoints")]
    pub use state::hit;
}

#[cfg(test)]
mod tests {
    use super::on::{Rule, parse};

    #[test]
    fn rules_are_read_and_nonsense_is_named() {
        let (rules, bad) = parse("spool.append=kill:0.01, spool.evict=kill:1:3,x,y=die:1,z=kill:2");
        assert_eq!(
            rules.get("spool.append"),
            Some(&Rule {
                probability: 0.01,
                from: 1
            })
        );
        assert_eq!(
            rules.get("spool.evict"),
            Some(&Rule {
                probability: 1.0,
                from: 3
            })
        );
        assert_eq!(rules.len(), 2);
        assert_eq!(bad, ["x", "y=die:1", "z=kill:2"]);
    }

    #[cfg(feature = "failpoints")]
    #[test]
    #[ignore = "run by the test below, in a process of its own"]
    fn child_that_passes_points() {
        for _ in 0..5 {
            super::hit("other");
            super::hit("mine");
        }
        println!("survived");
    }

    #[cfg(feature = "failpoints")]
    #[test]
    fn the_third_hit_ends_the_process_and_is_written_down() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("log");
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("failpoint::tests::child_that_passes_points")
            .env("FOGLINE_FAILPOINTS", "mine=kill:1:3,other=kill:0")
            .env("FOGLINE_FAILPOINT_LOG", &log)
            .output()
            .unwrap();
        assert!(!run.status.success());
        assert!(!String::from_utf8_lossy(&run.stdout).contains("survived"));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "mine 3\n");
    }
}

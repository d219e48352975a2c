//! SIGHUP: a good configuration is swapped in under the running spool, a bad one changes nothing.

use super::Gateway;
use crate::control::Reach;
use crate::generation::{Prepared, prepare};
use crate::links::SkipReporter;
use crate::reload::{self, Chosen};
use crate::snapshot::ConfigReport;
use crate::uplink::Uplink;
use gateway_config::{GatewayConfig, Problem, Severity};
use protocols_wire::EventKind;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

impl Gateway {
    /// Reads the configuration anew: a good one is swapped in, a bad one changes nothing.
    pub(super) async fn reload(mut self) -> anyhow::Result<Self> {
        let subject = self.path.display().to_string();
        let (chosen, about, prepared) = match self.read_anew() {
            Ok(ready) => ready,
            Err(why) => {
                let text = format!("refused, the old one goes on: {}", why.told(self.private));
                let why = why.whole;
                self.source
                    .update(|running| running.about.refused = Some(why));
                let events = &self.shared.events;
                events.tell(EventKind::Configuration, &subject, text).await;
                return Ok(self);
            }
        };
        if !self.generation.stop().await {
            anyhow::bail!("the old configuration could not hand over its readings; start again");
        }
        let age = chosen.config.spool.batch_age;
        if self.spool.set_batch_age(age).await.is_err() {
            anyhow::bail!("the spool has ended");
        }
        self.generation = prepared.start(&self.shared);
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) =
            Reach::of(&self.generation, &chosen.revision);
        self.private = chosen.private;
        self.config = Arc::clone(&chosen.config);
        self.skips = SkipReporter::new();
        if !self
            .uplink
            .as_ref()
            .is_some_and(|uplink| uplink.serves(&self.config))
        {
            if let Some(old) = self.uplink.take() {
                old.stop(Duration::ZERO).await;
            }
            self.uplink = Uplink::start(&self.config, &chosen.revision, &self.ground);
        }
        self.source.update(|running| {
            running.config = Arc::clone(&self.config);
            running.about = about;
            running.slots = self.generation.slots();
        });
        self.show_uplink();
        self.keep(&chosen);
        let text = format!("revision {} runs: {}", chosen.revision, chosen.summary);
        self.shared
            .events
            .tell(EventKind::Configuration, &subject, text)
            .await;
        Ok(self)
    }

    /// What the file asks for now, ready to start; or why it cannot be used.
    fn read_anew(&self) -> Result<(Chosen, ConfigReport, Prepared), Refused> {
        let mut chosen = reload::from_file(&self.path, Severity::Error)
            .map_err(|(problems, _)| Refused::of(&problems))?;
        if let Some(what) = self.needs_restart(&chosen.config) {
            return Err(Refused::because(format!(
                "{what} changes only with a restart"
            )));
        }
        let about = about(&self.path, &chosen);
        let field = std::mem::take(&mut chosen.field);
        let prepared = prepare(&chosen.config, field, &self.shared);
        let prepared = prepared.map_err(|error| Refused::because(format!("{error:#}")))?;
        Ok((chosen, about, prepared))
    }

    /// What of a new configuration cannot be swapped under a running process.
    fn needs_restart(&self, new: &GatewayConfig) -> Option<&'static str> {
        let old = &self.config;
        let spool = |config: &GatewayConfig| {
            let mut spool = config.spool.clone();
            // Nobody wrote it: what the machine has, or nothing where the last good one runs.
            spool.memory_limit_bytes = None;
            // Told to the spool that runs.
            spool.batch_age = Duration::ZERO;
            format!("{spool:?}")
        };
        [
            ("gateway.id", old.gateway.id != new.gateway.id),
            (
                "gateway.state_dir",
                old.gateway.state_dir != new.gateway.state_dir,
            ),
            (
                "gateway.clock_file",
                old.gateway.clock_file != new.gateway.clock_file,
            ),
            ("[spool]", spool(old) != spool(new)),
            ("[http]", old.http != new.http),
            ("[log]", old.log != new.log),
        ]
        .into_iter()
        .find_map(|(what, changed)| changed.then_some(what))
    }
}

/// Why a configuration is not swapped in.
struct Refused {
    /// For people at the site.
    whole: String,
    /// Without anything that stands in the file.
    outline: String,
}

impl Refused {
    fn because(why: String) -> Self {
        Self {
            outline: why.clone(),
            whole: why,
        }
    }

    fn of(problems: &[Problem]) -> Self {
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        let Some(first) = problems.iter().find(is_error) else {
            return Self::because(String::new());
        };
        let line = first.position().map_or(0, |at| at.line);
        let count = problems.iter().filter(is_error).count();
        let errors = if count == 1 { "error" } else { "errors" };
        let outline = format!("{count} {errors}, the first in line {line}");
        Self {
            whole: format!("{outline}: {}", first.message),
            outline,
        }
    }

    /// For the cloud. A message quotes the file, which may name what must not leave the site.
    fn told(&self, private: bool) -> &str {
        if private { &self.outline } else { &self.whole }
    }
}

/// What is shown of a configuration that runs.
pub(super) fn about(path: &Path, chosen: &Chosen) -> ConfigReport {
    ConfigReport {
        path: path.to_owned(),
        revision: chosen.revision.clone(),
        last_good: chosen.last_good,
        refused: None,
        points: chosen.field.points.len(),
    }
}

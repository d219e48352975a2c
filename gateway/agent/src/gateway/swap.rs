//! SIGHUP: a good configuration is swapped in under the running spool, a bad one changes nothing.

use super::Gateway;
use crate::check;
use crate::generation::prepare;
use crate::links::SkipReporter;
use crate::reload::{self, Chosen};
use crate::snapshot::ConfigReport;
use crate::uplink::Uplink;
use gateway_config::GatewayConfig;
use protocols_wire::EventKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

impl Gateway {
    /// Reads the configuration anew: a good one is swapped in, a bad one changes nothing.
    pub(super) async fn reload(mut self) -> anyhow::Result<Self> {
        let subject = self.path.display().to_string();
        let refuse = |this: &Self, why: String| {
            this.source
                .update(|running| running.about.refused = Some(why.clone()));
            let text = format!("refused, the old one goes on: {why}");
            (EventKind::Configuration, subject.clone(), text)
        };
        let prepared = match reload::from_file(&self.path) {
            Err((problems, _)) => {
                let first = problems.first().map_or_else(String::new, |problem| {
                    let line = problem.position().map_or(0, |at| at.line);
                    format!(
                        "{} problems, the first in line {line}: {}",
                        problems.len(),
                        problem.message
                    )
                });
                Err(refuse(&self, first))
            }
            Ok(chosen) => match self.needs_restart(&chosen.config) {
                Some(what) => Err(refuse(&self, format!("{what} changes only with a restart"))),
                None => prepare(&chosen.config, &self.shared.stats)
                    .map(|prepared| (chosen, prepared))
                    .map_err(|error| refuse(&self, format!("{error:#}"))),
            },
        };
        let (chosen, prepared) = match prepared {
            Ok(ready) => ready,
            Err((kind, subject, text)) => {
                self.shared.events.tell(kind, &subject, text).await;
                return Ok(self);
            }
        };
        if !self.generation.stop().await {
            anyhow::bail!("the old configuration could not hand over its readings; start again");
        }
        self.generation = prepared.start(&self.shared);
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
        let about = about(&self.path, &chosen);
        self.source.update(|running| {
            running.config = Arc::clone(&self.config);
            running.about = about;
            running.slots = self.generation.slots();
        });
        self.show_uplink();
        self.keep(&chosen);
        let text = format!(
            "revision {} runs: {}",
            chosen.revision,
            check::summary(&self.config)
        );
        self.shared
            .events
            .tell(EventKind::Configuration, &subject, text)
            .await;
        Ok(self)
    }

    /// What of a new configuration cannot be swapped under a running process.
    fn needs_restart(&self, new: &GatewayConfig) -> Option<&'static str> {
        let old = &self.config;
        let spool = |config: &GatewayConfig| format!("{:?}", config.spool);
        [
            ("gateway.id", old.gateway.id != new.gateway.id),
            (
                "gateway.state_dir",
                old.gateway.state_dir != new.gateway.state_dir,
            ),
            ("[spool]", spool(old) != spool(new)),
            ("[http]", old.http != new.http),
            ("[log]", old.log != new.log),
        ]
        .into_iter()
        .find_map(|(what, changed)| changed.then_some(what))
    }
}

/// What is shown of a configuration that runs.
pub(super) fn about(path: &Path, chosen: &Chosen) -> ConfigReport {
    ConfigReport {
        path: path.to_owned(),
        revision: chosen.revision.clone(),
        last_good: chosen.last_good,
        refused: None,
        points: chosen.config.points.len(),
    }
}

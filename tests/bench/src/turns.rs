//! A turn of the gateway, with any configuration, or of the yardstick: start it, let it settle, measure between two quiet
//! moments of the link, stop it, and find in the database what the devices had answered.
//!
//! An answer that the database lacks, or has twice, ends the run: a system that loses is not measured.

use crate::config::Config;
use crate::database::Seen;
use crate::field;
use crate::measure::{Used, float};
use crate::rig::{Edge, FLOW_LIMIT, GATEWAY, QUIET, Rig, STOP_LIMIT, YARDSTICK};
use anyhow::Context as _;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tests_fieldsim::answer_log::AnswerLine;
use tests_harness::process::{Process, Recipe};
use tests_harness::proxy::Carried;
use tests_harness::wait::wait_for;
use tokio::time::sleep;

/// After data flows: connections, buffers and the allocator find their size.
const WARM_UP: Duration = Duration::from_secs(4);
const SECOND_NS: u64 = 1_000_000_000;

/// What was seen between the two edges of a round.
#[derive(Debug)]
pub(crate) struct Measured {
    seconds: f64,
    /// What the process used.
    pub used: Used,
    carried: Carried,
    /// Readings that the devices gave.
    read: u64,
    /// Polls that are missing between the answers of a unit.
    skipped: u64,
    /// Readings that went over the wire.
    sent: u64,
    /// Share of the machine that others took.
    pub foreign: f64,
    /// Answer → database, of every answer.
    pub latencies_ms: Vec<f64>,
}

impl Measured {
    /// Percent of the polls that were due and made: one a unit and second.
    pub(crate) fn polled_percent(&self) -> f64 {
        let made = float(self.read / field::READINGS_PER_ANSWER);
        made * 100.0 / (made + float(self.skipped))
    }

    /// CPU seconds for a million readings taken.
    pub(crate) fn cpu_per_million(&self) -> f64 {
        self.used.cpu_s * 1e6 / float(self.read)
    }

    /// Bytes of both directions for each reading sent.
    pub(crate) fn wire_bytes_per_reading(&self) -> f64 {
        float(self.carried.up + self.carried.down) / float(self.sent)
    }

    /// Bytes towards the broker for each reading sent.
    pub(crate) fn wire_up_bytes_per_reading(&self) -> f64 {
        float(self.carried.up) / float(self.sent)
    }

    /// Bytes written to storage in an hour at this pace.
    pub(crate) fn flash_per_hour(&self) -> f64 {
        float(self.used.written_bytes) * 3600.0 / self.seconds
    }
}

/// A turn of the gateway, with everything it held stored.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Where the window begins.
    pub from: Edge,
    /// Where it ends.
    pub to: Edge,
    /// The youngest row when the gateway had stopped.
    last: i64,
    seen: Seen,
}

impl Turn {
    /// Length of the window.
    pub(crate) fn seconds(&self) -> f64 {
        self.to.at.duration_since(self.from.at).as_secs_f64()
    }

    /// What the gateway used.
    pub(crate) fn used(&self) -> Used {
        self.to.usage.since(&self.from.usage)
    }

    /// Share of the machine that others took.
    pub(crate) fn foreign(&self) -> f64 {
        self.to.machine.foreign_since(&self.from.machine)
    }
}

impl Rig {
    /// A turn of the gateway with this configuration, whose live batches are sealed at `age`; `during` is
    /// what happens in the window. Where bytes are counted the window begins and ends while the link is
    /// `quiet`.
    pub(crate) async fn turn<T>(
        &mut self,
        config: &Config,
        age: Duration,
        quiet: bool,
        during: impl AsyncFnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Turn, T)> {
        let gateway = self.stack.gateways.first_mut().context("no gateway")?;
        let dir = gateway.dir().to_owned();
        std::fs::write(dir.join("gateway.toml"), config.text())?;
        let watch = self.database.watch()?;
        gateway.restart()?;
        let pid = gateway.pid().context("the gateway has no process id")?;
        self.stack.wait_for_flow(FLOW_LIMIT).await?;
        // Whole batches, and the first one, which has more to say than the others, outside.
        sleep(WARM_UP.max(age + QUIET)).await;
        let from = if quiet {
            self.edge(pid).await?
        } else {
            self.now(pid)?
        };
        let happened = during(&dir).await?;
        let to = if quiet {
            self.edge(pid).await?
        } else {
            self.now(pid)?
        };
        let gateway = self.stack.gateways.first_mut().context("no gateway")?;
        // In order: what it holds is settled first, so every answer of the window is stored now.
        gateway.stop().await?;
        let last = self.database.newest()?;
        let seen = watch.end().await?;
        let turn = Turn {
            from,
            to,
            last,
            seen,
        };
        Ok((turn, happened))
    }

    /// A turn in whose window nothing is done but waiting.
    pub(crate) async fn watch(
        &mut self,
        config: &Config,
        age: Duration,
        window: Duration,
    ) -> anyhow::Result<Turn> {
        let waiting = async |_: &Path| {
            sleep(window).await;
            anyhow::Ok(())
        };
        let (turn, ()) = self.turn(config, age, true, waiting).await?;
        Ok(turn)
    }

    /// Readings of a turn that are stored, of devices whose name begins with `prefix`.
    pub(crate) fn stored(&self, turn: &Turn, prefix: &str) -> anyhow::Result<f64> {
        let readings = self
            .database
            .readings(turn.from.newest, turn.last, prefix)?;
        Ok(float(readings))
    }

    /// A turn of the gateway with the 100 units alone, as they come.
    pub(crate) async fn gateway(
        &mut self,
        age: Duration,
        window: Duration,
    ) -> anyhow::Result<Measured> {
        let config = Config::new(GATEWAY, age).meters(&self.ports, "");
        self.gateway_with(&config, age, window).await
    }

    /// A turn of the gateway with the 100 units in its configuration; every answer of them is found in the
    /// database.
    pub(crate) async fn gateway_with(
        &mut self,
        config: &Config,
        age: Duration,
        window: Duration,
    ) -> anyhow::Result<Measured> {
        let turn = self.watch(config, age, window).await?;
        let Turn {
            from,
            to,
            last,
            seen,
        } = turn;
        let records = self.database.records(from.newest, last, field::PROBE)?;
        let mut stored = HashMap::new();
        for record in &records {
            let at = seen.at(record.row);
            for (device, value) in &record.probes {
                let before = stored.insert((device.clone(), *value), at);
                anyhow::ensure!(before.is_none(), "{device} answered {value}: stored twice");
            }
        }
        let answers = self.answers(&from, &to)?;
        let mut latencies_ms = Vec::with_capacity(answers.len());
        for line in &answers {
            let value = line.polls.first().context("an answer without a probe")?.raw;
            let found = stored.get(&(line.device.clone(), value)).copied().flatten();
            // An answer just before the edge may belong to a batch that was open at it.
            let Some(at) = found else {
                anyhow::bail!(
                    "{} answered {value}, and the database lacks it",
                    line.device
                );
            };
            latencies_ms.push(float(u64::try_from(at - line.t).unwrap_or(0)) / 1e6);
        }
        let sent = records.iter().filter(|record| record.row <= to.newest);
        let sent = sent.map(|record| record.readings).sum();
        Ok(measured(&from, &to, &answers, sent, latencies_ms))
    }

    /// A turn of the yardstick.
    pub(crate) async fn yardstick(&mut self, window: Duration) -> anyhow::Result<Measured> {
        let spool = tempfile::Builder::new()
            .prefix("yardstick-")
            .tempdir_in(self.dir.path())?;
        let units: Vec<String> = (1..=field::UNITS)
            .filter_map(|number| self.ports.get(&field::bus_name(number)))
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let registers = field::REGISTERS.to_string();
        let broker = self.stack.link.address().to_string();
        let identity = self.dir.path().join(format!("{YARDSTICK}.toml"));
        let arguments = [
            "yardstick",
            "--units",
            &units.join(","),
            "--registers",
            &registers,
            "--broker",
            &broker,
            "--identity",
            &identity.to_string_lossy(),
            "--spool",
            &spool.path().to_string_lossy(),
        ];
        let program = std::env::current_exe()?;
        let recipe = Recipe::new(YARDSTICK, &program, &arguments, &self.stack.logs());
        let before = self.stack.link.carried();
        let mut process = Process::start(recipe)?;
        let pid = process.id().context("the yardstick has no process id")?;
        let measuring = async {
            // Three records: it runs.
            let flowing = u64::from(field::UNITS) * u64::from(field::REGISTERS) * 2 * 3;
            wait_for("the yardstick's data to flow", FLOW_LIMIT, async || {
                let up = self.stack.link.carried().up - before.up;
                anyhow::ensure!(up > flowing, "{up} bytes so far");
                Ok(())
            })
            .await?;
            sleep(WARM_UP).await;
            let from = self.edge(pid).await?;
            sleep(window).await;
            anyhow::Ok((from, self.edge(pid).await?))
        };
        let measuring = measuring.await;
        if let Some(status) = process.ended()? {
            anyhow::bail!("the yardstick ended ({status}): {}", process.last_words());
        }
        process.stop(STOP_LIMIT).await?;
        let (from, to) = measuring?;
        let answers = self.answers(&from, &to)?;
        let read = answers.len() as u64 * field::READINGS_PER_ANSWER;
        let seen = measured(&from, &to, &answers, read, Vec::new());
        // It sends raw registers: fewer bytes than these, and it did not do its work.
        anyhow::ensure!(
            seen.wire_up_bytes_per_reading() > 1.8,
            "the yardstick did not publish what it read: {:.2} bytes a reading",
            seen.wire_up_bytes_per_reading()
        );
        Ok(seen)
    }
}

/// Polls that are missing: a unit that is asked every second leaves no longer gap than a second
/// and a half.
fn skipped(answers: &[AnswerLine]) -> u64 {
    let mut last: HashMap<&str, i64> = HashMap::new();
    let mut skipped = 0;
    for line in answers {
        if let Some(before) = last.insert(&line.device, line.t) {
            let gap = u64::try_from(line.t - before).unwrap_or(0);
            skipped += ((gap + SECOND_NS / 2) / SECOND_NS).saturating_sub(1);
        }
    }
    skipped
}

fn measured(
    from: &Edge,
    to: &Edge,
    answers: &[AnswerLine],
    sent: u64,
    latencies_ms: Vec<f64>,
) -> Measured {
    Measured {
        seconds: to.at.duration_since(from.at).as_secs_f64(),
        used: to.usage.since(&from.usage),
        carried: Carried {
            up: to.carried.up - from.carried.up,
            down: to.carried.down - from.carried.down,
        },
        read: answers.len() as u64 * field::READINGS_PER_ANSWER,
        skipped: skipped(answers),
        sent,
        foreign: to.machine.foreign_since(&from.machine),
        latencies_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_was_left_out_is_noticed_and_a_late_one_is_not() {
        let line = |device: &str, ms: i64| AnswerLine {
            t: ms * 1_000_000,
            gateway: String::new(),
            device: device.to_owned(),
            polls: Vec::new(),
            kind: "answer".to_owned(),
        };
        let even = [
            line("a", 0),
            line("b", 10),
            line("a", 1300),
            line("b", 1400),
        ];
        assert_eq!(skipped(&even), 0);
        let holes = [
            line("a", 0),
            line("b", 10),
            line("a", 2000),
            line("b", 3990),
        ];
        assert_eq!(skipped(&holes), 1 + 3);
    }
}

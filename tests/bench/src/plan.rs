//! The run: start what the wanted parts need, measure them one after the other, and say what was found.
//!
//! A part that fails is said to, leaves the others alone, and fails the run.

mod parts;

use crate::figures::Figure;
use crate::report::say;
use crate::rig::Rig;
use crate::{families, machine, report};
use std::process::ExitCode;

/// What the benchmark is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// What to measure; everything by default.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Rounds of each: gateway, yardstick, ingest.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Seconds of the driver at each speed of the line: 60 where `line` is asked for by name, else 30.
    #[arg(long)]
    line_seconds: Option<u64>,
    /// Seconds without a link, in which ten times as many seconds of the field pass.
    #[arg(long, default_value_t = 360)]
    outage_seconds: u64,
    /// Seconds in which what goes to flash is counted.
    #[arg(long, default_value_t = 60)]
    flash_seconds: u64,
    /// Seconds of the gateway over the slow link; the bare sender has a third of it, twice.
    #[arg(long, default_value_t = 120)]
    link_seconds: u64,
    /// Gateways that come back together.
    #[arg(long, default_value_t = 60)]
    fleet: u64,
    /// Keep rounds that ran while others used the machine; the report says so.
    #[arg(long)]
    busy: bool,
    /// Keep the folder with logs and database.
    #[arg(long)]
    keep: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// 100 Modbus TCP units of 100 registers through the whole system, beside the yardstick.
    Tcp,
    /// What cloud and database take.
    Ingest,
    /// CPU with a filter on each point and 100 rules.
    Filters,
    /// How soon a rule writes beside 10 000 points/s.
    Rules,
    /// How much later a write comes beside 10 000 points/s.
    Write,
    /// CPU of hearing 200 Bluetooth LE sensors.
    Ble,
    /// Memory with all three families.
    Rss,
    /// Memory and spool through an hour without a link.
    Outage,
    /// What goes to flash while the link is up.
    Flash,
    /// Many gateways that come back together.
    Fleet,
    /// Live values and backlog over a slow, long, lossy link, beside a bare sender.
    Link,
    /// Share of a serial line that is used, beside an ideal master; what dead units cost.
    Line,
}

impl Part {
    /// Whether it needs sensors, and with them a message bus.
    const fn needs_radio(self) -> bool {
        matches!(self, Self::Ble | Self::Rss)
    }

    /// Whether it needs the running system.
    const fn needs_rig(self) -> bool {
        !matches!(self, Self::Line | Self::Link)
    }
}

/// What a run found.
#[derive(Debug, Default)]
struct Found {
    figures: Vec<Figure>,
    failed: usize,
}

impl Found {
    /// Keeps what a part found; says why it found nothing.
    fn keep(&mut self, part: &str, found: anyhow::Result<Vec<Figure>>) {
        match found {
            Ok(mut figures) => self.figures.append(&mut figures),
            Err(error) => {
                say(&format!("{part} failed: {error:#}"));
                self.failed += 1;
            }
        }
    }
}

impl Plan {
    /// Measures what is wanted.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        say(&format!("machine: {}", machine::describe()));
        say(&format!(
            "load average at the start: {:.1}",
            machine::load()
        ));
        if cfg!(debug_assertions) {
            say("debug binaries: every figure but the bytes is meaningless");
        }
        let mut found = Found::default();
        if self.all().any(Part::needs_rig) {
            let radio = self.all().any(Part::needs_radio) && families::has_dbus();
            let mut rig = Rig::start(self.keep, radio).await?;
            self.on_the_rig(&mut rig, &mut found).await;
            let stopped = rig.stop(found.failed > 0).await;
            found.keep("stopping", stopped.map(|()| Vec::new()));
        }
        if self.wants(Part::Link) {
            found.keep("link", self.link().await);
        }
        if self.wants(Part::Line) {
            found.keep("line", self.line().await);
        }
        say(&format!("load average at the end: {:.1}", machine::load()));
        report::print(&found.figures, self.busy, found.failed);
        let fine = found.failed == 0 && report::all_fine(&found.figures);
        Ok(if fine {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// The wanted parts.
    fn all(&self) -> impl Iterator<Item = Part> {
        let all = <Part as clap::ValueEnum>::value_variants().iter().copied();
        all.filter(|part| self.wants(*part))
    }

    /// Everything that needs the running system.
    async fn on_the_rig(&self, rig: &mut Rig, found: &mut Found) {
        if self.wants(Part::Tcp) {
            found.keep("tcp", self.tcp(rig).await);
        }
        if self.wants(Part::Filters) {
            found.keep("filters", self.filters(rig).await);
        }
        if self.wants(Part::Rules) {
            found.keep("rules", self.rules(rig).await);
        }
        if self.wants(Part::Write) {
            found.keep("write", self.writes(rig).await);
        }
        if self.wants(Part::Ble) {
            found.keep("ble", self.ble(rig).await);
        }
        if self.wants(Part::Rss) {
            found.keep("rss", self.rss(rig).await);
        }
        if self.wants(Part::Flash) {
            found.keep("flash", self.flash(rig).await);
        }
        if self.wants(Part::Outage) {
            found.keep("outage", self.outage(rig).await);
        }
        if self.wants(Part::Fleet) {
            found.keep("fleet", self.returning(rig).await);
        }
        // Last: it leaves the cloud with another configuration.
        if self.wants(Part::Ingest) {
            found.keep("ingest", self.ingest(rig).await);
        }
    }
}

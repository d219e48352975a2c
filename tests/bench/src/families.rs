//! `ble` and `rss`: what hearing 200 sensors costs, and what memory a gateway with all three families has.
//!
//! The sensors advertise once a second on a simulated `BlueZ` in another process, on a message bus of
//! their own; what daemon and bus spend is not the gateway's. Serial lines keep real time.

use crate::config::Config;
use crate::field;
use crate::figures::{Figure, Limit};
use crate::measure::float;
use crate::report::{row, say};
use crate::rig::{GATEWAY, Rig};
use crate::turns::Turn;
use std::time::Duration;

const AGE: Duration = Duration::from_secs(1);
/// Adverts a second below which the simulator did not do its work, of 200.
const FEWEST: f64 = 190.0;

/// Whether sensors can be simulated here.
pub(crate) fn has_dbus() -> bool {
    let asked = std::process::Command::new("dbus-daemon")
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// What one turn gave.
#[derive(Debug)]
pub(crate) struct Heard {
    seconds: f64,
    cpu_s: f64,
    peak_rss_mb: f64,
    /// Share of the machine that others took.
    pub foreign: f64,
}

impl Rig {
    /// A turn of a gateway that hears the sensors and nothing else.
    pub(crate) async fn hear(&mut self, window: Duration) -> anyhow::Result<Heard> {
        self.need_sensors()?;
        let config = Config::new(GATEWAY, AGE).sensors();
        let turn = self.watch(&config, AGE, window).await?;
        self.check_sensors(&turn)?;
        Ok(Heard::of(&turn))
    }

    /// A turn of a gateway with 10 000 Modbus points, two serial lines and the sensors.
    pub(crate) async fn all_families(&mut self, window: Duration) -> anyhow::Result<Heard> {
        self.need_sensors()?;
        let config = Config::new(GATEWAY, AGE);
        let config = config.meters(&self.ports, "").serial(&self.lines).sensors();
        let turn = self.watch(&config, AGE, window).await?;
        self.check_sensors(&turn)?;
        let answers = self.answers(&turn.from, &turn.to)?;
        for device in [field::SCALE.0, field::INSTRUMENT.0, &field::device_name(1)] {
            let read = answers.iter().filter(|line| line.device == device).count();
            anyhow::ensure!(
                float(read as u64) > turn.seconds() / 2.0,
                "{device} answered {read} times in {:.0} s",
                turn.seconds()
            );
        }
        Ok(Heard::of(&turn))
    }

    fn need_sensors(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.radio,
            "no sensors without dbus-daemon (apt-get install dbus)"
        );
        Ok(())
    }

    /// The sensors were heard, and what was heard is stored.
    fn check_sensors(&self, turn: &Turn) -> anyhow::Result<()> {
        let answers = self.answers(&turn.from, &turn.to)?;
        let heard = answers
            .iter()
            .filter(|line| line.device.starts_with(field::SENSOR));
        let told = float(heard.count() as u64);
        let rate = told / turn.seconds();
        anyhow::ensure!(
            rate >= FEWEST,
            "the sensors were heard {rate:.0} times a second"
        );
        let stored = self.stored(turn, field::SENSOR)?;
        let wanted = told * float(field::FIELDS.len() as u64);
        say(&format!(
            "  {rate:.0} adverts/s, {:.1} % of their readings stored",
            stored * 100.0 / wanted
        ));
        // What a message bus carries may come a little before or after the edge.
        anyhow::ensure!(
            stored > 0.95 * wanted,
            "of {wanted} readings that were heard {stored} are stored"
        );
        Ok(())
    }
}

impl Heard {
    fn of(turn: &Turn) -> Self {
        let used = turn.used();
        Self {
            seconds: turn.seconds(),
            cpu_s: used.cpu_s,
            peak_rss_mb: used.peak_rss_mb,
            foreign: turn.foreign(),
        }
    }

    fn share_of_a_core(&self) -> f64 {
        self.cpu_s * 100.0 / self.seconds
    }
}

/// Figures of `ble`; rounds that do not count are not among `rounds`.
pub(crate) fn heard(rounds: &[Heard], discarded: usize) -> Vec<Figure> {
    let share = rounds.iter().map(Heard::share_of_a_core).collect();
    let memory = rounds.iter().map(|round| round.peak_rss_mb).collect();
    #[rustfmt::skip]
    let figures = vec![
        row("ble_cpu_pct", "200 sensors at 1 Hz: percent of a core", Limit::AtMost(3.0), share, discarded, 1),
        row("ble_peak_rss_mb", "200 sensors: peak resident memory, MB", Limit::None, memory, 0, 1),
    ];
    figures
}

/// Figures of `rss`; memory does not depend on who else is busy.
pub(crate) fn memory(round: &Heard) -> Vec<Figure> {
    #[rustfmt::skip]
    let figures = vec![
        row("families_peak_rss_mb", "all three families: peak resident memory, MB", Limit::AtMost(24.0), vec![round.peak_rss_mb], 0, 1),
        row("families_cpu_pct", "all three families: percent of a core", Limit::None, vec![round.share_of_a_core()], 0, 1),
    ];
    figures
}

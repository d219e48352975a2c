//! `line`: how much of a serial line the Modbus driver uses, on a line that keeps real time, beside an
//! ideal master on the same line in the same run; and what dead units cost the living.
//!
//! ```text
//!  driver (own thread and runtime) ─┐                     ┌─ 8 units, 2 to 20 ms, one limited, one strict
//!                                   ├─ in turn ─ pty ─ paced line ─┤
//!  ideal master (own thread)       ─┘                     └─ a dead one
//! ```
//!
//! Needs the simulator of lines alone: no broker, no cloud, no other process.

mod ideal;
mod reader;
mod units;

use crate::figures::{Figure, Limit};
use crate::measure::float;
use crate::report::{row, say};
use protocols_modbus::config::LineSettings;
use protocols_sim::line::{Parity, Port};
use protocols_sim::modbus::{RtuLine, RtuOptions};
use reader::Terms;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use units::Units;

/// Speeds, and the names of their figures.
const SPEEDS: [(u32, [&str; 2], [&str; 2]); 3] = [
    (
        9600,
        [
            "line_9600_pct",
            "line, 9600 baud: percent of an ideal master",
        ],
        [
            "line_9600_of_computed_pct",
            "line, 9600 baud: percent of what is computed",
        ],
    ),
    (
        19_200,
        [
            "line_19200_pct",
            "line, 19200 baud: percent of an ideal master",
        ],
        [
            "line_19200_of_computed_pct",
            "line, 19200 baud: percent of what is computed",
        ],
    ),
    (
        115_200,
        [
            "line_115200_pct",
            "line, 115200 baud: percent of an ideal master",
        ],
        [
            "line_115200_of_computed_pct",
            "line, 115200 baud: percent of what is computed",
        ],
    ),
];
/// Living units, and one that is asked in vain.
const UNITS: (u8, u8) = (8, 1);
/// Of ten units three are dead.
const TEN: (u8, u8) = (7, 3);
/// Where dead units are measured.
const TEN_BAUD: u32 = 19_200;
/// What one would say for a line whose units answer within 20 ms.
const TIMEOUT: Duration = Duration::from_millis(300);
/// The gateway's default: a probe is rare and costs much.
const LONG_TIMEOUT: Duration = Duration::from_secs(1);
/// Share of a span that the ideal master gets, before and after the driver.
const IDEAL_SHARE: u32 = 6;

/// What one speed gave.
#[derive(Debug)]
struct Speed {
    /// Percent of the driven ideal master.
    driven: f64,
    /// Percent of what its plan would take.
    computed: f64,
    /// By how much the two turns of the ideal master differ, as a share.
    unsteady: f64,
}

/// All figures; `span` is what the driver gets at each speed.
pub(crate) async fn figures(folder: &Path, span: Duration) -> anyhow::Result<Vec<Figure>> {
    let link = folder.join("line");
    tokio::task::spawn_blocking(move || measure(&link, span)).await?
}

fn measure(link: &Path, span: Duration) -> anyhow::Result<Vec<Figure>> {
    let row = |key, what, limit, value, noise| Figure {
        alone: noise,
        ..row(key, what, limit, vec![value], 0, 1)
    };
    let (mut figures, mut computed) = (Vec::new(), Vec::new());
    for (baud, [key, what], [key_computed, what_computed]) in SPEEDS {
        say(&format!(
            "line at {baud} baud: ideal master, driver, ideal master"
        ));
        let found = speed(link, baud, span)?;
        let noise = found.unsteady;
        figures.push(row(key, what, Limit::AtLeast(90.0), found.driven, noise));
        computed.push(row(
            key_computed,
            what_computed,
            Limit::None,
            found.computed,
            noise,
        ));
    }
    say("line with three dead units in ten, and without them");
    let (cost, noise) = dead_cost(link, span)?;
    let what = "three dead units in ten: cost to the others, percent";
    figures.push(row(
        "line_dead_cost_pct",
        what,
        Limit::AtMost(5.0),
        cost,
        noise,
    ));
    figures.append(&mut computed);
    Ok(figures)
}

/// The driver at one speed, between two turns of the ideal master.
fn speed(link: &Path, baud: u32, span: Duration) -> anyhow::Result<Speed> {
    let line: LineSettings = format!("{baud} 8E1").parse()?;
    let (living, dead) = UNITS;
    let units = Arc::new(Units::new(living, dead));
    let port = serve(link, baud, &units)?;
    let cycle = units.cycle(&line);
    let a_cycle = float(units::readings() * u64::from(living));
    let ideal = || ideal::drive(link, &line, &cycle, span / IDEAL_SHARE);
    let terms = Terms {
        timeout: TIMEOUT,
        span,
        by_probes: false,
    };
    let before = ideal()?;
    let ours = reader::read(link, &line, &units, terms)?;
    let after = ideal()?;
    // One that the machine held up was not ideal.
    let driven = before.max(after) * a_cycle;
    let computed = a_cycle / units::time(&cycle, &line).as_secs_f64();
    let late = port.state().accuracy;
    say(&format!(
        "  {ours:.1} readings/s; ideal {driven:.1}, computed {computed:.1}; {} requests spoiled; the line was \
         late by {:?} in the middle, {:?} at 99 %",
        units.spoiled.load(Ordering::Relaxed),
        late.quantile(0.5),
        late.quantile(0.99),
    ));
    Ok(Speed {
        driven: ours * 100.0 / driven,
        computed: ours * 100.0 / computed,
        unsteady: difference(before, after),
    })
}

/// Percent of the living units' readings that their dead neighbours cost, and how uncertain that is, as a
/// share of it.
fn dead_cost(link: &Path, span: Duration) -> anyhow::Result<(f64, f64)> {
    let line: LineSettings = format!("{TEN_BAUD} 8E1").parse()?;
    let (living, dead) = TEN;
    let rate = |dead, span| {
        let units = Arc::new(Units::new(living, dead));
        let _port = serve(link, TEN_BAUD, &units)?;
        let terms = Terms {
            timeout: LONG_TIMEOUT,
            span,
            by_probes: dead > 0,
        };
        reader::read(link, &line, &units, terms)
    };
    let before = rate(0, span / 2)?;
    let with = rate(dead, span)?;
    let after = rate(0, span / 2)?;
    let without = f64::midpoint(before, after);
    say(&format!(
        "  {before:.1} and {after:.1} readings/s without the dead, {with:.1} with them"
    ));
    let cost = 100.0 * (without - with) / without;
    let noise = 50.0 * difference(before, after) / cost.abs().max(1.0);
    Ok((cost, noise))
}

/// How far apart two values are, as a share of the larger.
fn difference(one: f64, other: f64) -> f64 {
    (one - other).abs() / one.max(other)
}

fn serve(link: &Path, baud: u32, units: &Arc<Units>) -> anyhow::Result<Port> {
    let options = RtuOptions {
        line: protocols_sim::line::LineSettings::new(baud, Parity::Even, 1),
        strict: true,
    };
    let core = RtuLine::new(options, Arc::clone(units) as _);
    Ok(Port::start(link, Box::new(core), None)?)
}

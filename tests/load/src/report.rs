//! What was measured, for people and for scripts, and whether all of it is as it must be.

use crate::count::Counted;
use crate::meter::Meter;
use crate::plan::Plan;
use crate::screen;
use std::fmt::Write as _;
use std::time::Duration;
use tests_harness::measure::{float, percentile};

/// What a stretch of the run took.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    /// How long it was.
    pub(crate) seconds: f64,
    /// Delays of the store's acknowledgement, milliseconds.
    pub(crate) delays_ms: Vec<f64>,
    /// Processor time by process, seconds.
    pub(crate) cpu: Vec<(&'static str, f64)>,
    /// Readings settled.
    pub(crate) readings: u64,
}

/// The whole run.
#[derive(Debug)]
pub(crate) struct Report {
    /// What was asked for.
    pub(crate) plan: Plan,
    /// How long certificates took, and the registry.
    pub(crate) issuing: [Duration; 2],
    /// How long the ramp took.
    pub(crate) ramp: Duration,
    /// Sessions that stood after it.
    pub(crate) sessions: u64,
    /// Resident memory by process before and after the ramp, KiB.
    pub(crate) resident: Vec<(&'static str, u64, u64)>,
    /// Without a flood.
    pub(crate) steady: Stretch,
    /// With one.
    pub(crate) flooded: Option<Stretch>,
    /// Attempts of the flood, refused, let in; connections that `HAProxy` denied.
    pub(crate) flood: Option<[u64; 4]>,
    /// The database's word.
    pub(crate) counted: Counted,
    /// Gateways whose settlements are exactly what they sent.
    pub(crate) confirmed: u64,
}

impl Report {
    /// Prints it; whether everything is as it must be.
    pub(crate) fn print(&self, meter: &Meter) -> bool {
        let Self { plan, .. } = self;
        let [issued, entered] = self.issuing.map(|span| span.as_secs_f64());
        let gateways = f64::from(plan.gateways);
        screen::say(&format!(
            "certificates   {} in {issued:.1} s ({:.0}/s); registry {entered:.1} s",
            plan.gateways,
            gateways / issued
        ));
        let ramp = self.ramp.as_secs_f64();
        screen::say(&format!(
            "ramp           {} sessions in {ramp:.1} s: {:.0} handshakes/s with hello and answer",
            self.sessions,
            float(meter.handshakes.get()) / ramp
        ));
        for (name, before, after) in &self.resident {
            let each = float(after.saturating_sub(*before)) / float(self.sessions.max(1));
            screen::say(&format!(
                "memory         {name}: {:.1} MB before, {:.1} MB after the ramp, {each:.1} KB a session",
                float(*before) * 1024.0 / 1e6,
                float(*after) * 1024.0 / 1e6
            ));
        }
        show("steady", &self.steady);
        if let (Some(flooded), Some([attempts, refused, let_in, denied])) =
            (&self.flooded, self.flood)
        {
            show("under fire", flooded);
            screen::say(&format!(
                "flood          {attempts} attempts, {refused} refused ({denied} of them by HAProxy), \
                 {let_in} let in"
            ));
        }
        screen::result(&self.line(meter));
        self.holds(meter)
    }

    fn slower(&self) -> Option<f64> {
        let flooded = self.flooded.as_ref()?;
        Some(percentile(&flooded.delays_ms, 99) / percentile(&self.steady.delays_ms, 99))
    }

    fn line(&self, meter: &Meter) -> String {
        let counted = &self.counted;
        let mut line = format!(
            "gateways={} sessions={} confirmed={} sent={} stored={} lost={} duplicated={} foreign={} \
             refused={} reconnects={} ack_p50_ms={:.0} ack_p99_ms={:.0}",
            self.plan.gateways,
            self.sessions,
            self.confirmed,
            counted.sent,
            counted.stored,
            counted.lost,
            counted.duplicated,
            counted.foreign + meter.foreign.get() + meter.unreadable.get(),
            meter.refused.get(),
            meter.lost.get(),
            percentile(&self.steady.delays_ms, 50),
            percentile(&self.steady.delays_ms, 99)
        );
        if let (Some(slower), Some([attempts, refused, let_in, denied])) =
            (self.slower(), self.flood)
        {
            let _written = write!(
                line,
                " attempts={attempts} kept_out={refused} let_in={let_in} denied={denied} \
                 p99_slower={slower:.2}"
            );
        }
        line
    }

    fn holds(&self, meter: &Meter) -> bool {
        let counted = &self.counted;
        let wrong = counted.lost
            + counted.duplicated
            + counted.foreign
            + meter.foreign.get()
            + meter.unreadable.get()
            + meter.refused.get();
        let all = u64::from(self.plan.gateways);
        let limit = self.plan.slower_at_most.unwrap_or(f64::INFINITY);
        let kept_out = self.flood.is_none_or(|[attempts, refused, let_in, _]| {
            let_in == 0 && refused == attempts && attempts > 0
        });
        wrong == 0
            && counted.sent > 0
            && self.confirmed == all
            && kept_out
            && self.slower().is_none_or(|slower| slower < limit)
    }
}

fn show(name: &str, stretch: &Stretch) {
    let delays = &stretch.delays_ms;
    let mut cpu = String::new();
    for (process, seconds) in &stretch.cpu {
        let _written = write!(
            cpu,
            "{process} {:.1} %, ",
            100.0 * seconds / stretch.seconds
        );
    }
    screen::say(&format!(
        "{name:<14} {:.0} readings/s stored over {:.0} s; acknowledgement p50 {:.0} ms, p99 {:.0} ms; \
         of one processor: {}",
        float(stretch.readings) / stretch.seconds,
        stretch.seconds,
        percentile(delays, 50),
        percentile(delays, 99),
        cpu.trim_end_matches(", ")
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn report() -> Report {
        Report {
            plan: Plan::parse_from(["fogline-load", "--gateways", "2", "--flood", "200"]),
            issuing: [Duration::from_secs(1); 2],
            ramp: Duration::from_secs(1),
            sessions: 2,
            resident: vec![("broker", 1000, 1040)],
            steady: Stretch {
                seconds: 1.0,
                delays_ms: vec![10.0, 20.0],
                ..Stretch::default()
            },
            flooded: Some(Stretch {
                seconds: 1.0,
                delays_ms: vec![15.0, 30.0],
                ..Stretch::default()
            }),
            flood: Some([5, 5, 0, 3]),
            counted: Counted {
                sent: 40,
                stored: 40,
                ..Counted::default()
            },
            confirmed: 2,
        }
    }

    #[test]
    fn whatever_is_not_as_it_must_be_makes_the_run_fail() {
        let meter = Meter::default();
        assert!(report().holds(&meter));
        let spoilt: [fn(&mut Report); 7] = [
            |report| report.counted.lost = 1,
            |report| report.counted.duplicated = 1,
            |report| report.counted.foreign = 1,
            |report| report.counted.sent = 0,
            |report| report.confirmed = 1,
            |report| report.flood = Some([5, 4, 1, 0]),
            |report| report.plan.slower_at_most = Some(1.5),
        ];
        for spoil in spoilt {
            let mut report = report();
            spoil(&mut report);
            assert!(!report.holds(&meter), "{report:?}");
        }
        meter.foreign.up();
        assert!(!report().holds(&meter));
    }

    #[test]
    fn the_line_for_scripts_has_every_figure() {
        let line = report().line(&Meter::default());
        for part in ["lost=0", "ack_p99_ms=20", "denied=3", "p99_slower=1.50"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}

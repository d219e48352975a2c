//! Figures with their limits, the noise of their rounds, and the verdict.
//!
//! A figure is the median of its rounds; its noise is half the distance between its lowest and its
//! highest round, relative to the median, and never less than [`FLOOR`]; of a single round it is what
//! the figure says of itself, [`ALONE`] where it says nothing. It is missed when it is
//! beyond its limit by more than that noise. Without enough rounds it is *not measured*, which fails
//! the run as well: nothing is claimed that was not seen.

use crate::measure::median;

/// What even perfect rounds leave uncertain: the clock, the edges of a window.
const FLOOR: f64 = 0.03;
/// What one round alone leaves uncertain.
pub(crate) const ALONE: f64 = 0.1;

/// What a figure is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
    /// To be known only.
    None,
}

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Its name for machines, unit included.
    pub key: &'static str,
    /// Its name for people.
    pub what: &'static str,
    /// Its limit.
    pub limit: Limit,
    /// One value a round.
    pub rounds: Vec<f64>,
    /// Rounds that were thrown away because the machine was busy.
    pub discarded: usize,
    /// Rounds without which nothing can be said.
    pub needs: usize,
    /// What a single round leaves uncertain, as a share of the figure.
    pub alone: f64,
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within its limit, or without one.
    Ok,
    /// Beyond its limit by less than the noise.
    InNoise,
    /// Beyond its limit.
    Missed,
    /// Not enough rounds.
    NotMeasured,
}

impl Verdict {
    /// As it is printed.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::InNoise => "in-noise",
            Self::Missed => "missed",
            Self::NotMeasured => "not-measured",
        }
    }

    /// Whether the run may end well with it.
    pub(crate) const fn is_fine(self) -> bool {
        matches!(self, Self::Ok | Self::InNoise)
    }
}

impl Figure {
    /// The figure itself.
    pub(crate) fn value(&self) -> f64 {
        median(&self.rounds)
    }

    /// Lowest and highest round.
    pub(crate) fn span(&self) -> (f64, f64) {
        let low = self.rounds.iter().copied().fold(f64::NAN, f64::min);
        let high = self.rounds.iter().copied().fold(f64::NAN, f64::max);
        (low, high)
    }

    /// The share by which the figure is uncertain.
    pub(crate) fn noise(&self) -> f64 {
        let (low, high) = self.span();
        let value = self.value().abs();
        let alone = if self.rounds.len() < 2 {
            self.alone
        } else {
            0.0
        };
        let floor = FLOOR.max(alone);
        if value > 0.0 {
            ((high - low) / 2.0 / value).max(floor)
        } else {
            floor
        }
    }

    /// What became of it.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.rounds.len() < self.needs.max(1) || !self.value().is_finite() {
            return Verdict::NotMeasured;
        }
        let value = self.value();
        // How far beyond the limit, as a share of the limit.
        let beyond = match self.limit {
            Limit::AtMost(limit) => (value - limit) / limit,
            Limit::AtLeast(limit) => (limit - value) / limit,
            Limit::None => return Verdict::Ok,
        };
        if beyond <= 0.0 {
            Verdict::Ok
        } else if beyond <= self.noise() {
            Verdict::InNoise
        } else {
            Verdict::Missed
        }
    }

    /// `key=value` words of one line.
    pub(crate) fn words(&self) -> String {
        let (low, high) = self.span();
        let limit = match self.limit {
            Limit::AtMost(limit) => format!(" at_most={limit}"),
            Limit::AtLeast(limit) => format!(" at_least={limit}"),
            Limit::None => String::new(),
        };
        let (key, value) = (self.key, self.value());
        format!(
            "{key}={value:.3} low={low:.3} high={high:.3}{limit} noise_pct={:.0} rounds={} \
             discarded={} verdict={}",
            self.noise() * 100.0,
            self.rounds.len(),
            self.discarded,
            self.verdict().as_str()
        )
    }

    /// One row of the table.
    pub(crate) fn row(&self) -> String {
        let (low, high) = self.span();
        let limit = match self.limit {
            Limit::AtMost(limit) => format!("≤ {}", short(limit)),
            Limit::AtLeast(limit) => format!("≥ {}", short(limit)),
            Limit::None => String::new(),
        };
        format!(
            "{:<52} {:>10} {:>10} {:>10} {:>10} {:>6.0} % {:>3} {}",
            self.what,
            short(self.value()),
            short(low),
            short(high),
            limit,
            self.noise() * 100.0,
            self.rounds.len(),
            self.verdict().as_str()
        )
    }

    /// The table's head.
    pub(crate) fn head() -> String {
        format!(
            "{:<52} {:>10} {:>10} {:>10} {:>10} {:>8} {:>3} verdict",
            "figure", "median", "lowest", "highest", "limit", "noise", "n"
        )
    }
}

/// A number with as many digits as one wants to read.
fn short(value: f64) -> String {
    if !value.is_finite() {
        "-".to_owned()
    } else if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(limit: Limit, rounds: &[f64]) -> Figure {
        Figure {
            key: "key",
            what: "what",
            limit,
            rounds: rounds.to_vec(),
            discarded: 0,
            needs: 2,
            alone: ALONE,
        }
    }

    #[test]
    fn a_figure_is_missed_only_beyond_its_own_noise() {
        let verdict = |limit, rounds: &[f64]| figure(limit, rounds).verdict();
        assert_eq!(verdict(Limit::AtMost(1.5), &[1.4, 1.5, 1.6]), Verdict::Ok);
        assert_eq!(
            verdict(Limit::AtMost(1.5), &[1.4, 1.55, 1.7]),
            Verdict::InNoise
        );
        assert_eq!(
            verdict(Limit::AtMost(1.5), &[1.7, 1.75, 1.8]),
            Verdict::Missed
        );
        assert_eq!(
            verdict(Limit::AtLeast(100.0), &[90.0, 91.0]),
            Verdict::Missed
        );
        assert_eq!(verdict(Limit::AtLeast(100.0), &[140.0, 150.0]), Verdict::Ok);
        assert_eq!(verdict(Limit::None, &[9.0, 1.0]), Verdict::Ok);
    }

    #[test]
    fn too_few_rounds_are_no_measurement() {
        assert_eq!(
            figure(Limit::AtMost(1.0), &[0.5]).verdict(),
            Verdict::NotMeasured
        );
        assert_eq!(figure(Limit::None, &[]).verdict(), Verdict::NotMeasured);
        assert_eq!(
            figure(Limit::AtMost(1.0), &[f64::NAN, f64::NAN]).verdict(),
            Verdict::NotMeasured
        );
    }
}

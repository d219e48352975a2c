//! A poll group: the points of one device that share a period, and the requests that read them.

use crate::config::Device;
use crate::learned::Learned;
use crate::plan::{self, Request, Rules};
use crate::timing::Timing;
use std::sync::Arc;
use std::time::Duration;

/// The points of one device that share a period.
pub(super) struct Group {
    pub(super) unit: usize,
    pub(super) period: Duration,
    /// As the planner made them.
    planned: Vec<Arc<Request>>,
    /// As the device takes them: those it refused are asked in parts.
    pub(super) requests: Vec<Arc<Request>>,
    /// What the plan was made with.
    revision: u64,
    turnaround: Duration,
    /// The next request of the pass under way.
    pub(super) cursor: usize,
    /// Whether this pass had an answer.
    pub(super) answered: bool,
    /// Whether the last pass had none, only refusals: no smaller request will help.
    pub(super) refusing: bool,
}

/// The periods of a device's polled points, shortest first.
pub(super) fn periods(device: &Device) -> Vec<Duration> {
    let polled = plan::polled(device).into_iter();
    let mut periods: Vec<Duration> = polled.map(|(_, point)| point.period).collect();
    periods.sort_unstable();
    periods.dedup();
    periods
}

impl Group {
    pub(super) fn new(
        unit: usize,
        period: Duration,
        device: &Device,
        timing: &Timing,
        learned: &Learned,
    ) -> Self {
        let mut group = Self {
            unit,
            period,
            planned: Vec::new(),
            requests: Vec::new(),
            revision: 0,
            turnaround: Duration::ZERO,
            cursor: 0,
            answered: false,
            refusing: false,
        };
        group.plan(device, timing, learned);
        group
    }

    fn plan(&mut self, device: &Device, timing: &Timing, learned: &Learned) {
        let mut points = plan::polled(device);
        points.retain(|(_, point)| point.period == self.period);
        let requests = plan::plan(&points, &Rules::new(device, timing, learned));
        self.planned = requests.into_iter().map(Arc::new).collect();
        self.requests.clone_from(&self.planned);
        self.revision = learned.revision();
        self.turnaround = learned.turnaround().unwrap_or(timing.assumed());
    }

    /// A pass begins; the plan follows what was learned since it was made.
    pub(super) fn begin(&mut self, device: &Device, timing: &Timing, learned: &Learned) {
        (self.cursor, self.answered) = (0, false);
        let has_drifted =
            || device.limits.max_gap.is_none() && learned.has_drifted(self.turnaround);
        if self.revision != learned.revision() || has_drifted() {
            self.plan(device, timing, learned);
        }
    }

    /// What one pass costs the bus.
    pub(super) fn cost(&self, device: &Device, timing: &Timing) -> Duration {
        let requests = self.planned.iter();
        requests
            .map(|request| timing.request(request, device, self.turnaround))
            .sum()
    }

    /// All requests of the pass were asked. A device that refused all of them for a while, whatever
    /// their size, gets its plan back.
    pub(super) fn complete(&mut self) {
        self.refusing = !self.answered;
        if self.refusing {
            self.requests.clone_from(&self.planned);
        }
    }
}

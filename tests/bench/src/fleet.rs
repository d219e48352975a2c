//! `fleet`: many gateways lose their broker at one moment, and it comes back.
//!
//! ```text
//! N × (records ─▶ spool in memory ─▶ uplink, as in the gateway) ─▶ link, cut and mended ─▶ broker ─▶ cloud
//! ```
//!
//! The uplinks are the gateway's own, each with its identity and its own connection; only drivers and disks are
//! missing: the spools have no usable folder and stay in memory, as they would on a broken disk. When the link
//! is mended nobody is told: each tries again when its back-off says. What is looked at is how many handshakes
//! fall into one second, and how long settling takes while everybody catches up: longer than five
//! seconds, and gateways would begin to ask and to send again.

use crate::broker::Identity;
use crate::figures::{Figure, Limit};
use crate::measure::float;
use crate::report::row;
use crate::rig::Rig;
use anyhow::Context as _;
use gateway_spool::{SpoolConfig, SpoolHandle};
use gateway_uplink::{Server, UplinkHandle, UplinkOptions, UplinkState};
use protocols_model::{
    BootId, Clock, GatewayId, Lane, PointDescriptor, Quality, SystemClock, Value, ValueType,
};
use protocols_wire::{Column, Dictionary, Record, RecordStamp, Sample, SealedRecord, Telemetry};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tests_harness::proxy::Link;
use tests_harness::wait::wait_for;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Each gateway seals a record so often, of so many points with so many readings.
const SEALS: Duration = Duration::from_millis(200);
const POINTS: u32 = 100;
const SAMPLES: u32 = 10;
/// Everything flows before the link is cut.
const CALM: Duration = Duration::from_secs(5);
const START_LIMIT: Duration = Duration::from_secs(120);
const BACK_LIMIT: Duration = Duration::from_secs(180);
/// Records that wait beside what was just sealed: it has caught up.
const FEW: u64 = 10;
const LOOK: Duration = Duration::from_millis(500);
/// Handshakes that are counted together.
const SECOND: Duration = Duration::from_secs(1);

/// What the return of the fleet was like.
#[derive(Debug)]
pub(crate) struct Return {
    gateways: u64,
    /// When each was connected again, after the link was mended.
    back: Vec<Duration>,
    caught_up: Duration,
    /// The slowest 99th percentile of settling of any gateway at any time.
    settling_ms: f64,
    hellos: u64,
    resent: u64,
}

/// One gateway without drivers and disk.
struct Member {
    uplink: UplinkHandle,
    spool: SpoolHandle,
}

impl Rig {
    /// Cuts the link of so many gateways for `outage` and lets them come back.
    pub(crate) async fn fleet(&self, gateways: u64, outage: Duration) -> anyhow::Result<Return> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let mut members = Vec::new();
        let mut sealing = JoinSet::new();
        for number in 0..gateways {
            let file = self.enter(&format!("fleet-{number}")).await?;
            let member = self.member(&file, number, &clock).await?;
            sealing.spawn(seal(member.spool.clone(), number, Arc::clone(&clock)));
            members.push(member);
        }
        wait_for("the fleet to flow", START_LIMIT, async || {
            let flowing = members.iter().filter(|member| {
                let state = member.state();
                state.connected && state.settling.is_some()
            });
            let flowing = float(flowing.count() as u64);
            anyhow::ensure!(flowing >= float(gateways), "{flowing} of {gateways} flow");
            Ok(())
        })
        .await?;
        sleep(CALM).await;
        let before = members
            .iter()
            .map(|m| m.state().counters.hellos)
            .sum::<u64>();
        self.stack.link.set(Link::Cut);
        wait_for("the fleet to notice", START_LIMIT, async || {
            let up = members.iter().filter(|member| member.state().connected);
            anyhow::ensure!(up.count() == 0, "some are still connected");
            Ok(())
        })
        .await?;
        sleep(outage).await;
        self.stack.link.set(Link::Passing);
        let returned = watch(&members).await;
        sealing.abort_all();
        let hellos = members
            .iter()
            .map(|m| m.state().counters.hellos)
            .sum::<u64>();
        let resent = members.iter().map(|m| m.state().counters.resent).sum();
        for member in members {
            let whole = member.uplink.stop(Duration::from_secs(10)).await;
            anyhow::ensure!(whole, "a gateway of the fleet could not empty its spool");
        }
        let (back, caught_up, settling_ms) = returned?;
        Ok(Return {
            gateways,
            back,
            caught_up,
            settling_ms,
            hellos: hellos - before,
            resent,
        })
    }

    async fn member(
        &self,
        identity: &Path,
        number: u64,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Member> {
        let identity_read = Identity::read(identity)?;
        let boot = BootId(number + 1);
        // A folder below a file: the spool stays in memory.
        let config = SpoolConfig::new(identity.join("none"));
        let (spool, _report) = gateway_spool::start(config, Arc::clone(clock), boot);
        let dictionaries = vec![dictionary()?];
        spool.keep_dictionaries(dictionaries).await?;
        let server = Server::try_new(&format!("mqtts://{}", self.stack.link.address()))?;
        let id = GatewayId::try_new(&identity_read.gateway)?;
        let options = UplinkOptions::new(id, vec![server], identity_read.tls()?, boot);
        let uplink = gateway_uplink::start(options, spool.clone(), Arc::clone(clock));
        Ok(Member { uplink, spool })
    }
}

impl Member {
    fn state(&self) -> Arc<UplinkState> {
        Arc::clone(&self.uplink.state().borrow())
    }
}

/// From the mending of the link until everybody has caught up.
async fn watch(members: &[Member]) -> anyhow::Result<(Vec<Duration>, Duration, f64)> {
    let begun = Instant::now();
    let mut connecting = JoinSet::new();
    for member in members {
        let mut state = member.uplink.state();
        connecting.spawn(async move {
            let back = state.wait_for(|state| state.connected).await;
            back.map(|_| begun.elapsed())
        });
    }
    let mut settling_ms = 0.0f64;
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let mut behind = 0;
        for member in members {
            let state = member.state();
            let p99 = state.settling.map_or(Duration::ZERO, |(_, p99)| p99);
            if state.connected {
                settling_ms = settling_ms.max(p99.as_secs_f64() * 1e3);
            }
            behind += u64::from(!state.connected || state.backlog_records > FEW);
        }
        if behind == 0 {
            break;
        }
        let elapsed = begun.elapsed();
        anyhow::ensure!(
            elapsed < BACK_LIMIT,
            "{behind} are behind after {elapsed:?}"
        );
    }
    let caught_up = begun.elapsed();
    let mut back = Vec::new();
    while let Some(one) = connecting.join_next().await {
        back.push(one??);
    }
    Ok((back, caught_up, settling_ms))
}

/// Seals records into the spool until it is ended.
async fn seal(spool: SpoolHandle, number: u64, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let dictionary = dictionary()?;
    let mut tick = interval(SEALS);
    let mut round = 0;
    loop {
        tick.tick().await;
        round += 1;
        let record = record(&dictionary, number, round, &*clock)?;
        spool.append(Lane::Telemetry, vec![record]).await?;
    }
}

fn dictionary() -> anyhow::Result<Dictionary> {
    let point = |number| {
        Ok(PointDescriptor {
            device: "meter".parse()?,
            point: format!("r{number}").parse()?,
            value_type: ValueType::U64,
            unit: String::new(),
            scale: 1.0,
        })
    };
    let points = (0..POINTS).map(point).collect::<anyhow::Result<_>>()?;
    Ok(Dictionary::try_new(points)?)
}

fn record(
    dictionary: &Dictionary,
    number: u64,
    round: u64,
    clock: &dyn Clock,
) -> anyhow::Result<SealedRecord> {
    let wall = clock.wall();
    let column = |index: u32| Column {
        dictionary: 0,
        index,
        filtered: 0,
        samples: (0..SAMPLES)
            .map(|sample| Sample {
                time: wall.plus(Duration::from_millis(20) * sample),
                value: Some(Value::U64(round % 7 * u64::from(index) + number)),
                quality: Quality::Good,
            })
            .collect(),
    };
    let telemetry = Telemetry {
        dictionaries: vec![dictionary.hash()],
        columns: (0..POINTS).map(column).collect(),
        unchanged: Vec::new(),
    };
    let stamp = RecordStamp {
        boot: BootId(number + 1),
        mono: clock.monotonic(),
        wall,
    };
    let mut sealed = Record::seal_telemetry(stamp, telemetry)?;
    sealed.pop().context("a second makes one record")
}

/// Most handshakes in any second.
fn peak(back: &[Duration]) -> u64 {
    let within = |from: Duration| {
        let hits = back.iter().filter(|at| (from..from + SECOND).contains(at));
        hits.count() as u64
    };
    back.iter().map(|from| within(*from)).max().unwrap_or(0)
}

/// The figures.
pub(crate) fn figures(fleet: &Return) -> Vec<Figure> {
    use Limit::{AtMost, None};
    let peak = float(peak(&fleet.back));
    let all = float(fleet.gateways);
    let last = fleet.back.iter().max().copied().unwrap_or_default();
    #[rustfmt::skip]
    let figures = vec![
        row("fleet_peak_pct", "fleet comes back: of all handshakes in one second, most, %", AtMost(40.0), vec![peak * 100.0 / all], 0, 1),
        row("fleet_settling_p99_ms", "fleet catches up: settling, 99 %, slowest gateway, ms", AtMost(5000.0), vec![fleet.settling_ms], 0, 1),
        row("fleet_peak_handshakes_per_s", "fleet comes back: most handshakes in one second", None, vec![peak], 0, 1),
        row("fleet_back_s", "fleet comes back: seconds until the last is connected", None, vec![last.as_secs_f64()], 0, 1),
        row("fleet_caught_up_s", "fleet comes back: seconds until all have caught up", None, vec![fleet.caught_up.as_secs_f64()], 0, 1),
        row("fleet_hellos", "fleet comes back: hellos a gateway", None, vec![float(fleet.hellos) / all], 0, 1),
        row("fleet_resent", "fleet comes back: records sent again, all together", None, vec![float(fleet.resent)], 0, 1),
    ];
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_fullest_second_wherever_it_begins() {
        let back = [100, 900, 1050, 1400, 5000].map(Duration::from_millis);
        assert_eq!(peak(&back), 3);
        assert_eq!(peak(&[]), 0);
    }
}

//! The time of a GNSS receiver: a point like any other, named by `gateway.gnss`.
//!
//! What the point says is milliseconds since 1970 UTC; when it arrived is known on the monotonic clock.
//! Both together place this run, however wrong the wall clock is. The wall clock itself is not set: that
//! is the system's work.

use crate::generation::Generation;
use crate::snapshot::GnssReport;
use gateway_config::GatewayConfig;
use gateway_pipeline::{Ask, Latest, Look};
use gateway_uplink::tls_time::build_time;
use protocols_model::{Clock, Instant, Quality, Timestamp, Value};
use std::time::Duration;
use tokio::sync::oneshot;

/// The pipeline answers between two sweeps; an answer that is late is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// An older reading says nothing about a receiver that has no fix any more.
const FRESH: Duration = Duration::from_secs(60);

/// What the receiver says, and UTC of this run's begin where it says so; nothing where none is named.
pub(super) async fn look(
    config: &GatewayConfig,
    generation: &Generation,
    clock: &dyn Clock,
) -> Option<(GnssReport, Option<Timestamp>)> {
    let point = config.gateway.gnss?;
    let (name, _) = generation.names().get(point)?;
    let asked = async {
        let look = Look {
            among: Some(vec![point]),
            trouble: false,
            from: 0,
            most: 1,
        };
        let (answer, answered) = oneshot::channel();
        let asks = generation.asks();
        asks.send(Ask::Look(look, answer)).await.ok()?;
        answered.await.ok()?.rows.pop()?.1
    };
    let latest = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
    let (now, wall) = (clock.monotonic(), clock.wall());
    Some(read(name, latest.as_ref(), now, wall))
}

/// What the latest reading of the point says.
fn read(
    point: String,
    latest: Option<&Latest>,
    now: Instant,
    wall: Timestamp,
) -> (GnssReport, Option<Timestamp>) {
    let told = match latest {
        None => Err("nothing came yet".to_owned()),
        Some(latest) => utc(latest, now).map(|utc| (utc, latest.at)),
    };
    let state = told
        .as_ref()
        .map_or_else(Clone::clone, |_| "good".to_owned());
    let told = told.ok();
    let offset_ms = told.map(|(utc, at)| {
        let here = wall.minus(now.since(at));
        utc.as_millis().saturating_sub(here.as_millis())
    });
    let report = GnssReport {
        point,
        state,
        offset_ms,
    };
    (report, told.map(|(utc, at)| utc.minus(at.0)))
}

/// The time that a reading says, or why it says none.
fn utc(latest: &Latest, now: Instant) -> Result<Timestamp, String> {
    let millis = match (&latest.value, latest.quality) {
        (_, Quality::Bad(reason)) => return Err(reason.as_str().to_owned()),
        (Some(Value::I64(millis)), _) => Some(*millis),
        (Some(Value::U64(millis)), _) => i64::try_from(*millis).ok(),
        _ => None,
    };
    let utc = Timestamp::from_millis(millis.ok_or("not a number")?);
    if now.since(latest.at) > FRESH {
        return Err("stale".to_owned());
    }
    // A receiver that has just been switched on says the first day of its calendar.
    if utc < build_time() {
        return Err("before this program was built: it has no time yet".to_owned());
    }
    Ok(utc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::Reason;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn latest(value: Option<Value>, quality: Quality, seconds: u64) -> Latest {
        let at = at(seconds);
        Latest { value, quality, at }
    }

    fn said(latest: Option<&Latest>) -> (String, Option<i64>, Option<Timestamp>) {
        // A board that believes it is 1970, a hundred seconds after its start.
        let wall = Timestamp::from_millis(100_000);
        let (report, origin) = read("gps/utc".to_owned(), latest, at(100), wall);
        (report.state, report.offset_ms, origin)
    }

    #[test]
    fn a_reading_places_the_run_by_the_moment_it_came() {
        let utc = build_time().plus(Duration::from_secs(86_400)).as_millis();
        let good = latest(Some(Value::I64(utc)), Quality::Good, 90);
        let (state, offset, origin) = said(Some(&good));
        assert_eq!((state.as_str(), offset), ("good", Some(utc - 90_000)));
        assert_eq!(origin, Some(Timestamp::from_millis(utc - 90_000)));
    }

    #[test]
    fn what_says_no_time_places_nothing_and_says_why() {
        let utc = build_time().as_millis() + 1;
        let bad = latest(None, Quality::Bad(Reason::Timeout), 90);
        let old = latest(Some(Value::I64(utc)), Quality::Good, 10);
        let unset = latest(Some(Value::I64(315_964_800_000)), Quality::Good, 90);
        let text = latest(Some(Value::Text("now".into())), Quality::Good, 90);
        let cases = [
            (None, "nothing came yet"),
            (Some(&bad), "timeout"),
            (Some(&old), "stale"),
            (
                Some(&unset),
                "before this program was built: it has no time yet",
            ),
            (Some(&text), "not a number"),
        ];
        for (latest, why) in cases {
            assert_eq!(said(latest), (why.to_owned(), None, None));
        }
    }
}

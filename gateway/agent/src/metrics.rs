//! `/metrics`: the report as Prometheus text. Names: `fogline_<part>_<what>[_<unit>]`.

use crate::snapshot::{LaneReport, Report};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt::Error;

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes a report as metrics.
pub(crate) fn encode(report: Report) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("fogline");
    registry.register_collector(Box::new(Metrics(report)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Metrics(Report);

/// A family of one counter a bus: help, and values by bus.
type ByBus<'a> = (&'a str, Vec<(&'a str, u64)>);

/// One sample of a family: label values, value.
type Sample<'a> = (Vec<(&'static str, &'a str)>, f64);

impl Collector for Metrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), Error> {
        let report = &self.0;
        let out = &mut out;
        let labels = [
            ("gateway", report.gateway.as_str()),
            ("version", report.version.as_str()),
        ];
        gauges(out, "info", "What runs here", [(labels.to_vec(), 1.0)])?;
        gauge(
            out,
            "uptime_seconds",
            "Since the process started",
            whole(report.uptime_s),
        )?;
        let healthy = report.health().ok;
        gauge(out, "healthy", "Whether nothing is wrong", flag(healthy))?;
        self.encode_buses(out)?;
        let p = &report.pipeline;
        for (name, help, value) in [
            ("readings_taken", "Readings from drivers", p.taken),
            ("readings_kept", "Readings put into records", p.kept),
            (
                "readings_filtered",
                "Readings filtered out by rule",
                p.filtered,
            ),
            (
                "readings_not_good",
                "Readings with a quality that is not good",
                p.not_good,
            ),
            (
                "readings_unsealable",
                "Readings no record could carry",
                p.unsealable,
            ),
            ("records_sealed", "Records handed to the spool", p.records),
            ("record_bytes_sealed", "Bytes of these records", p.bytes),
        ] {
            counter(out, &format!("pipeline_{name}"), help, value)?;
        }
        self.encode_spool(out)?;
        self.encode_uplink(out)?;
        let process = &report.process;
        if let Some(bytes) = process.resident_bytes {
            gauge(
                out,
                "process_resident_memory_bytes",
                "Resident memory",
                whole(bytes),
            )?;
        }
        if let Some(bytes) = process.resident_peak_bytes {
            gauge(
                out,
                "process_resident_memory_peak_bytes",
                "Its peak",
                whole(bytes),
            )?;
        }
        if let Some(seconds) = process.cpu_seconds {
            let metric = ConstCounter::new(seconds);
            let name = "process_cpu_seconds";
            let encoder =
                out.encode_descriptor(name, "CPU time used", None, MetricType::Counter)?;
            metric.encode(encoder)?;
        }
        Ok(())
    }
}

impl Metrics {
    fn encode_buses(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let buses = &self.0.buses;
        let mut families: BTreeMap<&str, ByBus<'_>> = BTreeMap::new();
        for bus in buses {
            for c in &bus.counters {
                let family = families.entry(&c.name).or_insert((&c.help, Vec::new()));
                family.1.push((&bus.name, c.value));
            }
            let help = "Times the driver was started again";
            let family = families
                .entry("driver_restarts")
                .or_insert((help, Vec::new()));
            family.1.push((&bus.name, bus.restarts));
        }
        for (name, (help, values)) in families {
            let name = format!("bus_{name}");
            let mut family = out.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (bus, value) in values {
                let labels = [("bus", bus)];
                ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut up = Vec::new();
        for bus in buses {
            for device in &bus.devices {
                let labels = vec![("bus", bus.name.as_str()), ("device", device.id.as_str())];
                up.push((labels, flag(device.state == "up")));
            }
        }
        gauges(out, "device_up", "Whether the device answers", up)
    }

    fn encode_spool(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let spool = &self.0.spool;
        for (name, help, value) in [
            ("records", "Records held", spool.records),
            ("live_bytes", "Bytes of held records", spool.live_bytes),
            ("quota_bytes", "Bound of the live bytes", spool.quota_bytes),
            (
                "memory_bytes",
                "Bytes of records that are in memory only",
                spool.memory_bytes,
            ),
        ] {
            gauge(out, &format!("spool_{name}"), help, whole(value))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a span in milliseconds")]
        let window = spool.loss_window_ms as f64 / 1000.0;
        gauge(
            out,
            "spool_loss_window_seconds",
            "What a crash takes along at most",
            window,
        )?;
        #[expect(clippy::cast_precision_loss, reason = "a span in milliseconds")]
        let commit = spool.commit_interval_ms as f64 / 1000.0;
        gauge(
            out,
            "spool_commit_interval_seconds",
            "How long a record waits for the disk now",
            commit,
        )?;
        let lanes = |value: fn(&LaneReport) -> Option<u64>| {
            spool.lanes.iter().filter_map(move |lane| {
                Some((vec![("lane", lane.lane.as_str())], whole(value(lane)?)))
            })
        };
        gauges(
            out,
            "spool_lane_bytes",
            "Bytes of held records, claims apart",
            lanes(|lane| Some(lane.bytes)),
        )?;
        gauges(
            out,
            "spool_lane_share_bytes",
            "Bytes that the lane is sure of",
            lanes(|lane| Some(lane.share_bytes)),
        )?;
        gauges(
            out,
            "spool_lane_thinned_to_seconds",
            "Longest bucket that held readings were thinned to",
            lanes(|lane| lane.thinned_to_s),
        )?;
        let alarms = spool
            .alarms
            .iter()
            .map(|alarm| (vec![("alarm", alarm.as_str())], 1.0));
        gauges(
            out,
            "spool_alarm",
            "What is wrong with the spool now",
            alarms,
        )?;
        for (name, value) in &spool.counters {
            counter(
                out,
                &format!("spool_{name}"),
                "Counted by the spool",
                *value,
            )?;
        }
        Ok(())
    }

    fn encode_uplink(&self, out: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(uplink) = &self.0.uplink else {
            return Ok(());
        };
        for (name, help, value) in [
            (
                "connected",
                "Whether a connection stands",
                flag(uplink.connected),
            ),
            (
                "store_away",
                "Whether the cloud takes but does not store",
                flag(uplink.store_away),
            ),
            (
                "unsettled_records",
                "Records sent and not settled",
                whole(uplink.unsettled_records),
            ),
            (
                "backlog_records",
                "Records not yet sent",
                whole(uplink.backlog_records),
            ),
            ("backlog_bytes", "Their bytes", whole(uplink.backlog_bytes)),
            (
                "slowed",
                "Whether the cloud asked for backlog to come more slowly",
                flag(uplink.slowed_to_bytes_per_s.is_some()),
            ),
            (
                "history_window_bytes",
                "Backlog that may be unsettled: follows the acknowledgement delay",
                whole(uplink.history_window_bytes),
            ),
            (
                "link_bytes_per_second",
                "What the link is thought to carry",
                whole(uplink.link_bytes_per_s),
            ),
        ] {
            gauge(out, &format!("uplink_{name}"), help, value)?;
        }
        let delays = [
            ("0.5", uplink.settling_p50_ms),
            ("0.99", uplink.settling_p99_ms),
        ];
        let delays = delays
            .into_iter()
            .filter_map(|(quantile, ms)| Some((vec![("quantile", quantile)], ms? / 1000.0)));
        gauges(
            out,
            "uplink_settling_seconds",
            "From sent to settled, of the last ones",
            delays,
        )?;
        for (name, value) in &uplink.counters {
            counter(
                out,
                &format!("uplink_{name}"),
                "Counted by the uplink",
                *value,
            )?;
        }
        Ok(())
    }
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), Error> {
    let encoder = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value).encode(encoder)
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Result<(), Error> {
    let encoder = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(encoder)
}

#[expect(
    single_use_lifetimes,
    reason = "elision is not stable inside impl Trait"
)]
fn gauges<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = Sample<'a>>,
) -> Result<(), Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

const fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// A count as a gauge; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a gauge of bytes or records")]
const fn whole(value: u64) -> f64 {
    value as f64
}

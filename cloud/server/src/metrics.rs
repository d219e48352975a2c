//! The process' numbers as Prometheus text.

use crate::surroundings::Numbers;
use cloud_ingest::stats::COMMIT_BUCKETS_MS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A registry of everything that the process' roles count.
pub(crate) fn registry(numbers: Arc<Numbers>) -> Registry {
    let mut registry = Registry::with_prefix("fogline");
    registry.register_collector(Box::new(Shown(numbers)));
    registry
}

/// What is counted, as it is shown. Only of roles that this process has: a role that counts nothing
/// because it is elsewhere must not look like one that does nothing.
#[derive(Debug)]
struct Shown(Arc<Numbers>);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.process(&mut encoder)?;
        let roles = self.0.roles;
        if roles.ingest {
            self.ingest(&mut encoder)?;
            self.ingest_state(&mut encoder)?;
            self.latency(&mut encoder)?;
        }
        if roles.needs_broker() {
            self.broker(&mut encoder)?;
        }
        if roles.auth {
            self.auth(&mut encoder)?;
        }
        if roles.tasks {
            self.tasks(&mut encoder)?;
        }
        Ok(())
    }
}

type NoLabels = [(&'static str, &'static str); 0];

/// Name, help, value.
type Line = (&'static str, &'static str, u64);

fn counters(encoder: &mut DescriptorEncoder<'_>, lines: &[Line]) -> fmt::Result {
    for (name, help, value) in lines {
        let counter = ConstCounter::new(*value);
        let into = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
        counter.encode(into)?;
    }
    Ok(())
}

fn gauges(encoder: &mut DescriptorEncoder<'_>, lines: &[Line]) -> fmt::Result {
    for (name, help, value) in lines {
        let gauge = ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX));
        let into = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
        gauge.encode(into)?;
    }
    Ok(())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Shown {
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Roles of this process";
        let mut metric = encoder.encode_descriptor("role", help, None, MetricType::Gauge)?;
        for role in self.0.roles.names() {
            ConstGauge::new(1_i64).encode(metric.encode_family(&[("role", role)])?)?;
        }
        let database = self.0.database.load(Ordering::Relaxed);
        gauges(
            encoder,
            &[
                (
                    "ready",
                    "Every role of this process can do its work",
                    u64::from(self.0.not_ready().is_empty()),
                ),
                (
                    "database_ready",
                    "The database answered when it was last asked",
                    u64::from(database),
                ),
            ],
        )
    }

    fn ingest(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ingest = &self.0.ingest;
        counters(
            encoder,
            &[
                (
                    "ingest_messages_received",
                    "Messages taken from the broker",
                    ingest.received.get(),
                ),
                (
                    "ingest_messages_committed",
                    "Messages committed",
                    ingest.committed.get(),
                ),
                (
                    "ingest_readings",
                    "Readings newly stored",
                    ingest.readings.get(),
                ),
                (
                    "ingest_duplicate_records",
                    "Records stored before",
                    ingest.duplicates.get(),
                ),
                (
                    "ingest_refused_ranges",
                    "Ranges of records refused",
                    ingest.refused.get(),
                ),
                (
                    "ingest_retry_hints",
                    "Records asked for again later",
                    ingest.retried.get(),
                ),
                (
                    "ingest_quarantined",
                    "Inputs set aside",
                    ingest.quarantined.get(),
                ),
                (
                    "ingest_failed_commits",
                    "Commits that failed",
                    ingest.failed_commits.get(),
                ),
                ("ingest_hellos", "Hellos answered", ingest.hellos.get()),
                (
                    "ingest_bad_hellos",
                    "Hellos not answered",
                    ingest.bad_hellos.get(),
                ),
                (
                    "ingest_acknowledgements",
                    "Acknowledgements sent",
                    ingest.acknowledgements.get(),
                ),
                (
                    "ingest_slowing_acknowledgements",
                    "Acknowledgements that asked a gateway to send backlog more slowly",
                    ingest.slowing.get(),
                ),
            ],
        )
    }

    fn ingest_state(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ingest = &self.0.ingest;
        gauges(
            encoder,
            &[
                (
                    "ingest_store_ready",
                    "The last commit succeeded",
                    u64::from(ingest.store_ready()),
                ),
                (
                    "ingest_untold_messages",
                    "Messages committed whose gateways are still to be told",
                    ingest.untold(),
                ),
                (
                    "ingest_other_replicas",
                    "Other processes that ingest",
                    count(ingest.peers.count()),
                ),
            ],
        )
    }

    fn broker(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ingest = &self.0.ingest;
        let stream = ingest.stream();
        gauges(
            encoder,
            &[
                (
                    "ingest_source_ready",
                    "Stream and consumers exist",
                    u64::from(ingest.source_ready()),
                ),
                (
                    "ingest_lag_messages",
                    "Messages not settled yet, by all replicas together",
                    stream.pending(),
                ),
                (
                    "ingest_lag_live_messages",
                    "Live messages not settled yet",
                    stream.live,
                ),
                (
                    "ingest_lag_history_messages",
                    "Messages of backlog not settled yet",
                    stream.history,
                ),
                (
                    "ingest_lag_seconds",
                    "How long the oldest of them has waited",
                    stream.waited.as_secs(),
                ),
                (
                    "broker_stream_bytes",
                    "Bytes in the broker's stream",
                    stream.bytes,
                ),
                (
                    "broker_stream_max_bytes",
                    "Bound of the broker's stream",
                    stream.max_bytes,
                ),
                (
                    "broker_stream_copies",
                    "Nodes that hold all of the broker's stream",
                    count(stream.copies),
                ),
                (
                    "broker_stream_wanted_copies",
                    "Nodes that should",
                    count(stream.replicas),
                ),
            ],
        )
    }

    fn auth(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let auth = &self.0.auth;
        counters(
            encoder,
            &[
                ("auth_granted", "Connections let in", auth.granted()),
                ("auth_cut", "Live sessions cut", auth.cut()),
                (
                    "auth_unreadable",
                    "Questions that could not be read",
                    auth.unreadable(),
                ),
            ],
        )?;
        gauges(
            encoder,
            &[
                (
                    "auth_elected",
                    "This process is the one that notes sessions",
                    u64::from(auth.elected()),
                ),
                (
                    "auth_sessions",
                    "Gateways that are connected, as far as this process sees",
                    auth.sessions(),
                ),
            ],
        )?;
        let help = "Connections kept out, by reason";
        let mut metric =
            encoder.encode_descriptor("auth_refused", help, None, MetricType::Counter)?;
        for (reason, count) in auth.refused() {
            ConstCounter::new(count).encode(metric.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }

    fn tasks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tasks = &self.0.tasks;
        let report = tasks.report();
        counters(
            encoder,
            &[
                (
                    "tasks_steps",
                    "Steps of maintenance that did something",
                    tasks.steps(),
                ),
                (
                    "tasks_failures",
                    "Steps of maintenance that failed",
                    tasks.failures(),
                ),
                (
                    "tasks_compacted_records",
                    "Records turned into blocks",
                    report.compacted_records,
                ),
            ],
        )?;
        gauges(
            encoder,
            &[
                (
                    "tasks_elected",
                    "This process is the one that maintains the database",
                    u64::from(tasks.elected()),
                ),
                (
                    "tasks_waiting_records",
                    "Records that wait to be turned into blocks",
                    report.record_rows,
                ),
            ],
        )
    }

    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let latency = self.0.ingest.latency();
        let help = "Time of a commit in seconds";
        let bounds = COMMIT_BUCKETS_MS
            .iter()
            .map(|ms| std::time::Duration::from_millis(*ms).as_secs_f64())
            .chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
        let mut metric = encoder.encode_descriptor(
            "ingest_commit_seconds",
            help,
            None,
            MetricType::Histogram,
        )?;
        metric.encode_histogram::<NoLabels>(
            latency.sum.as_secs_f64(),
            latency.count,
            &buckets,
            None,
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Role;
    use crate::roles::Roles;
    use tokio_util::sync::CancellationToken;

    fn shown(roles: &[Role]) -> String {
        let numbers = Numbers::new(Roles::of(roles), CancellationToken::new());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry(Arc::new(numbers))).unwrap();
        text
    }

    #[test]
    fn every_number_of_every_role_has_a_line() {
        let text = shown(&[Role::All]);
        for line in [
            "fogline_role{role=\"auth\"} 1",
            "fogline_ready 0",
            "fogline_ingest_readings_total 0",
            "fogline_ingest_source_ready 0",
            "fogline_ingest_store_ready 1",
            "fogline_ingest_commit_seconds_count 0",
            "fogline_broker_stream_copies 0",
            "fogline_auth_granted_total 0",
            "fogline_tasks_elected 0",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_role_that_is_elsewhere_shows_nothing_rather_than_zeros() {
        let text = shown(&[Role::Api]);
        assert!(text.contains("fogline_ready 1"), "{text}");
        for part in ["ingest", "broker", "auth_", "tasks"] {
            assert!(!text.contains(part), "{part} in:\n{text}");
        }
    }
}

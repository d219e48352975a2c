//! The process' numbers as Prometheus text.

use cloud_auth::AuthStats;
use cloud_ingest::IngestStats;
use cloud_ingest::stats::COMMIT_BUCKETS_MS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// Everything that is counted.
#[derive(Debug)]
struct Numbers {
    ingest: Arc<IngestStats>,
    auth: Arc<AuthStats>,
}

/// A registry of everything that is counted.
pub(crate) fn registry(ingest: Arc<IngestStats>, auth: Arc<AuthStats>) -> Registry {
    let mut registry = Registry::with_prefix("fogline");
    registry.register_collector(Box::new(Numbers { ingest, auth }));
    registry
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(&mut encoder)?;
        self.gauges(&mut encoder)?;
        self.refusals(&mut encoder)?;
        self.latency(&mut encoder)
    }
}

type NoLabels = [(&'static str, &'static str); 0];

impl Numbers {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ingest = &self.ingest;
        for (name, help, value) in [
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
            ("auth_granted", "Connections let in", self.auth.granted()),
            ("auth_cut", "Live sessions cut", self.auth.cut()),
            (
                "auth_unreadable",
                "Questions that could not be read",
                self.auth.unreadable(),
            ),
        ] {
            let counter = ConstCounter::new(value);
            let into = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(into)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ingest = &self.ingest;
        let stream = ingest.stream();
        for (name, help, value) in [
            (
                "ingest_source_ready",
                "Stream and consumers exist",
                u64::from(ingest.source_ready()),
            ),
            (
                "ingest_store_ready",
                "The last commit succeeded",
                u64::from(ingest.store_ready()),
            ),
            (
                "ingest_lag_messages",
                "Messages not settled yet",
                stream.pending,
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
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let into = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(into)?;
        }
        Ok(())
    }

    fn refusals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections kept out, by reason";
        let mut metric =
            encoder.encode_descriptor("auth_refused", help, None, MetricType::Counter)?;
        for (reason, count) in self.auth.refused() {
            ConstCounter::new(count).encode(metric.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }

    fn latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let latency = self.ingest.latency();
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

    #[test]
    fn every_number_has_a_line() {
        let registry = registry(Arc::default(), Arc::default());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "fogline_ingest_readings_total 0",
            "fogline_ingest_source_ready 0",
            "fogline_ingest_store_ready 1",
            "fogline_ingest_commit_seconds_count 0",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}

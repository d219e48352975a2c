//! Raw exports: every stored reading with the record that brought it, the loss ledger, the counts.
//! What the database holds and nothing derived: the oracle counts by these lines.
//!
//! One JSON object a line (or CSV). Times are nanoseconds since 1970 UTC. A bool is written as 0 or
//! 1; text and bytes stand in `text`, with `value` empty.

use crate::cli::{ExportArguments, ExportFormat};
use crate::config::CloudConfig;
use crate::database;
use anyhow::Context as _;
use cloud_store::{
    ExportFilter, ExportedSample, LedgerEntry, LedgerFilter, PointCounts, Series, SeriesId, Store,
};
use protocols_model::Value as Reading;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufWriter, Write};

/// Ledger entries read at once.
const LEDGER_PAGE: usize = 1_000;

/// Columns of each export, in CSV's order.
const READINGS: [&str; 13] = [
    "gateway", "device", "point", "unit", "time_ns", "value", "text", "quality", "reason", "epoch",
    "lane", "seq", "suspect",
];
const LEDGER: [&str; 13] = [
    "gateway",
    "epoch",
    "lane",
    "first",
    "last",
    "lost_records",
    "reason",
    "from_ns",
    "to_ns",
    "readings",
    "at_most",
    "by_cloud",
    "points",
];
const COUNTS: [&str; 7] = [
    "gateway",
    "device",
    "point",
    "stored",
    "filtered",
    "lost",
    "lost_filtered",
];

/// Writes what was asked for.
pub(crate) async fn export(config: &CloudConfig, what: &ExportArguments) -> anyhow::Result<()> {
    let store = database::beside(config).await?;
    let mut out: Box<dyn Write + Send> = match &what.out {
        Some(path) => Box::new(
            std::fs::File::create(path)
                .with_context(|| format!("cannot write {}", path.display()))?,
        ),
        None => Box::new(std::io::stdout()),
    };
    let mut lines = Lines {
        out: BufWriter::new(&mut *out),
        format: what.format,
    };
    if what.what.readings {
        readings(&*store, what, &mut lines).await?;
    } else if what.what.ledger {
        ledger(&*store, what, &mut lines).await?;
    } else {
        counts(&*store, what, &mut lines).await?;
    }
    lines.out.flush()?;
    Ok(())
}

struct Lines<'a> {
    out: BufWriter<&'a mut (dyn Write + Send)>,
    format: ExportFormat,
}

impl Lines<'_> {
    fn head(&mut self, columns: &[&str]) -> anyhow::Result<()> {
        if self.format == ExportFormat::Csv {
            writeln!(self.out, "{}", columns.join(","))?;
        }
        Ok(())
    }

    fn line(&mut self, columns: &[&str], line: &Value) -> anyhow::Result<()> {
        match self.format {
            ExportFormat::Ndjson => writeln!(self.out, "{line}")?,
            ExportFormat::Csv => {
                let cells = columns.iter().map(|column| cell(line.get(column)));
                writeln!(self.out, "{}", cells.collect::<Vec<_>>().join(","))?;
            }
        }
        Ok(())
    }
}

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

async fn series(store: &dyn Store) -> anyhow::Result<HashMap<SeriesId, Series>> {
    let all = store.series(None).await?;
    Ok(all.into_iter().map(|series| (series.id, series)).collect())
}

async fn readings(
    store: &dyn Store,
    what: &ExportArguments,
    lines: &mut Lines<'_>,
) -> anyhow::Result<()> {
    lines.head(&READINGS)?;
    let filter = ExportFilter {
        gateway: what.gateway.clone(),
        series: None,
    };
    let mut samples = store.export(filter).await?;
    // Read after the snapshot began, and again when a younger series turns up.
    let mut names = series(store).await?;
    while let Some(chunk) = samples.next().await {
        for sample in chunk? {
            if !names.contains_key(&sample.series) {
                names = series(store).await?;
            }
            let series = names.get(&sample.series);
            let series = series.with_context(|| format!("{:?} has no name", sample.series))?;
            lines.line(&READINGS, &reading(series, &sample))?;
        }
    }
    Ok(())
}

fn reading(series: &Series, sample: &ExportedSample) -> Value {
    let (value, text) = match &sample.value {
        None => (Value::Null, None),
        Some(Reading::Bool(on)) => (json!(u8::from(*on)), None),
        Some(Reading::I64(number)) => (json!(number), None),
        Some(Reading::U64(number)) => (json!(number), None),
        Some(Reading::F64(number)) if number.is_finite() => (json!(number), None),
        Some(Reading::F64(number)) => (Value::Null, Some(number.to_string())),
        Some(Reading::Text(text)) => (Value::Null, Some(text.to_string())),
        Some(Reading::Bytes(bytes)) => (Value::Null, Some(data_encoding::HEXLOWER.encode(bytes))),
    };
    json!({
        "gateway": series.gateway.as_str(),
        "device": series.device.as_str(),
        "point": series.point.as_str(),
        "unit": series.unit,
        "time_ns": sample.time.0,
        "value": value,
        "text": text,
        "quality": sample.quality.as_str(),
        "reason": sample.quality.reason().map(protocols_model::Reason::as_str),
        "epoch": sample.record.epoch.to_string(),
        "lane": sample.record.lane.as_str(),
        "seq": sample.record.seq,
        "suspect": sample.suspect,
    })
}

async fn ledger(
    store: &dyn Store,
    what: &ExportArguments,
    lines: &mut Lines<'_>,
) -> anyhow::Result<()> {
    lines.head(&LEDGER)?;
    let names = series(store).await?;
    let mut after = 0;
    loop {
        let filter = LedgerFilter {
            gateway: what.gateway.clone(),
            after,
            limit: LEDGER_PAGE,
            ..LedgerFilter::default()
        };
        let page = store.ledger(filter).await?;
        for entry in &page {
            lines.line(&LEDGER, &ledger_line(&names, entry))?;
        }
        match page.last() {
            Some(last) if page.len() == LEDGER_PAGE => after = last.id,
            _ => return Ok(()),
        }
    }
}

fn ledger_line(names: &HashMap<SeriesId, Series>, entry: &LedgerEntry) -> Value {
    let point = |point: &cloud_store::LedgerPoint| {
        let series = names.get(&point.series?)?;
        Some(json!({
            "device": series.device.as_str(),
            "point": series.point.as_str(),
            "readings": point.readings,
            "filtered": point.filtered,
        }))
    };
    json!({
        "gateway": entry.gateway.as_str(),
        "epoch": entry.epoch.to_string(),
        "lane": entry.lane.as_str(),
        "first": entry.range.first(),
        "last": entry.range.last(),
        "lost_records": entry.lost.count(),
        "reason": entry.reason.as_str(),
        "from_ns": entry.from.map(|at| at.0),
        "to_ns": entry.to.map(|at| at.0),
        "readings": entry.readings,
        "at_most": entry.at_most,
        "upper_bound": entry.upper_bound,
        "by_cloud": entry.by_cloud,
        "points": entry.points.iter().filter_map(point).collect::<Vec<_>>(),
    })
}

async fn counts(
    store: &dyn Store,
    what: &ExportArguments,
    lines: &mut Lines<'_>,
) -> anyhow::Result<()> {
    lines.head(&COUNTS)?;
    let names = series(store).await?;
    for gateway in store.gateways().await? {
        if what
            .gateway
            .as_ref()
            .is_some_and(|only| *only != gateway.id)
        {
            continue;
        }
        for counts in store.counts(&gateway.id).await? {
            if let Some(series) = names.get(&counts.series) {
                lines.line(&COUNTS, &count_line(series, &counts))?;
            }
        }
    }
    Ok(())
}

fn count_line(series: &Series, counts: &PointCounts) -> Value {
    json!({
        "gateway": series.gateway.as_str(),
        "device": series.device.as_str(),
        "point": series.point.as_str(),
        "stored": counts.stored,
        "filtered": counts.filtered,
        "lost": counts.lost,
        "lost_filtered": counts.lost_filtered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_comma_or_a_quote_stays_one_cell() {
        assert_eq!(cell(Some(&json!("a,b"))), "\"a,b\"");
        assert_eq!(cell(Some(&json!("a \"b\""))), "\"a \"\"b\"\"\"");
        assert_eq!(cell(Some(&json!(12.5))), "12.5");
        assert_eq!(cell(Some(&Value::Null)), "");
    }
}

//! Logs: for people or as JSON, to standard error, where systemd takes them.

use crate::console::colour_err;
use gateway_config::{Log, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging. `FOGLINE_LOG` overrides the level with a filter (`debug,gateway_uplink=trace`):
/// who installs the gateway decides. A filter that cannot be read is named and changes nothing.
pub(crate) fn start(log: &Log) {
    let asked = std::env::var("FOGLINE_LOG").ok();
    let read = asked.as_deref().map(str::parse::<Targets>);
    let (filter, refused) = match read {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (usual(log), Some(error)),
        None => (usual(log), None),
    };
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour_err());
    let all = tracing_subscriber::registry().with(filter);
    let started = match log.format {
        LogFormat::Human => all.with(lines).try_init(),
        LogFormat::Json => all.with(lines.json().flatten_event(true)).try_init(),
    };
    // Only a second start could fail, and there is none.
    debug_assert!(started.is_ok());
    if let Some(error) = refused {
        tracing::warn!(
            %error,
            "FOGLINE_LOG is not a filter such as `debug,gateway_uplink=trace`: the configured level holds"
        );
    }
}

/// sled and rumqttc log their own housekeeping at info; nobody can act on it.
fn usual(log: &Log) -> Targets {
    let level = log.level.parse().unwrap_or(LevelFilter::INFO);
    Targets::new()
        .with_default(level)
        .with_target("sled", level.min(LevelFilter::WARN))
        .with_target("rumqttc", level.min(LevelFilter::WARN))
}

//! Logs: for people or as JSON, to standard error, where systemd takes them.

use crate::console::colour_err;
use gateway_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging. `FOGLINE_LOG` overrides the level with a filter (`debug,gateway_uplink=trace`):
/// who installs the gateway decides.
pub(crate) fn start(log: &Log) {
    let filter = std::env::var("FOGLINE_LOG").ok();
    let filter = filter.and_then(|filter| EnvFilter::try_new(filter).ok());
    // sled logs its own housekeeping at info; nobody can act on it.
    let usual = || EnvFilter::new(format!("{},sled=warn,rumqttc=warn", log.level));
    let builder = fmt()
        .with_env_filter(filter.unwrap_or_else(usual))
        .with_writer(std::io::stderr)
        .with_ansi(colour_err());
    let started = match log.format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // Only a second start could fail, and there is none.
    debug_assert!(started.is_ok());
}

//! `status`: what the gateway is doing, at a glance; without network and without a valid
//! configuration.
//!
//! Asks the local endpoint of a running gateway; where none answers, tells what can be found without:
//! the configuration's problems, what the state directory holds, how the gateway looked when it
//! stopped.

mod page;

use crate::cli::{Format, StatusArgs};
use crate::console::say;
use crate::exit::Exit;
use crate::gateway::LAST_REPORT_FILE;
use crate::http::ADDRESS_FILE;
use crate::snapshot::Report;
use crate::{last_good, machine};
use anyhow::Context;
use gateway_config::{Loaded, Options, Severity, load};
use page::{NotRunning, Paint, Running};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// The endpoint is on this machine: it answers at once or not at all.
const ANSWER: Duration = Duration::from_secs(3);
/// Longest answer: a few hundred bytes a device.
const MAX_ANSWER: u64 = 16 << 20;

pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let options = Options {
        unknown_keys: Severity::Warning,
        overload: Severity::Warning,
        memory: machine::memory_limit(),
    };
    let loaded = load(&args.config, options);
    let state_dir = args.state_dir.clone().unwrap_or_else(|| {
        let mut places = last_good::places(&args.config, &loaded.state_dir).into_iter();
        places
            .find(|place| place.join(ADDRESS_FILE).exists())
            .unwrap_or_else(|| loaded.state_dir.clone())
    });
    let running = ask(&state_dir);
    let healthy = running.as_ref().is_ok_and(|report| report.health().ok);
    match (args.format, &running) {
        (Format::Json, Ok(report)) => say(format_args!("{}\n", serde_json::to_string(report)?)),
        (Format::Json, Err(why)) => {
            let problems: Vec<_> = loaded.problems.iter().map(|p| p.report()).collect();
            let found = Found::look(&state_dir, &loaded);
            say(format_args!(
                "{}\n",
                serde_json::json!({
                    "running": false,
                    "why": format!("{why:#}"),
                    "state_dir": state_dir,
                    "config_problems": problems,
                    "spool_bytes": found.spool_bytes,
                    "last_good": found.last_good,
                    "last_report": found.last_report,
                })
            ));
        }
        (Format::Human, Ok(report)) => say(Running(report, Paint::new())),
        (Format::Human, Err(why)) => {
            let found = Found::look(&state_dir, &loaded);
            say(NotRunning {
                args,
                loaded: &loaded,
                state_dir: &state_dir,
                why,
                found,
                paint: Paint::new(),
            });
        }
    }
    Ok(if healthy {
        Exit::Done
    } else {
        Exit::NotHealthy
    })
}

/// Asks the gateway of this state directory.
fn ask(state_dir: &Path) -> anyhow::Result<Report> {
    let file = state_dir.join(ADDRESS_FILE);
    let address = std::fs::read_to_string(&file)
        .with_context(|| format!("there is no {}", file.display()))?;
    let address: SocketAddr = address
        .trim()
        .parse()
        .context("its address cannot be read")?;
    anyhow::ensure!(
        address.ip().is_loopback(),
        "{address} is not on this machine"
    );
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)
        .with_context(|| format!("nothing listens at {address}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream
        .take(MAX_ANSWER)
        .read_to_string(&mut answer)
        .context("no answer")?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is not HTTP")?;
    anyhow::ensure!(
        head.starts_with("HTTP/1.1 200"),
        "{address} is something else"
    );
    serde_json::from_str(body).context("the answer is not a gateway's")
}

/// What can be found without a running gateway.
struct Found {
    spool_bytes: Option<u64>,
    last_good: bool,
    last_report: Option<Report>,
}

impl Found {
    fn look(state_dir: &Path, loaded: &Loaded) -> Self {
        let configured = loaded
            .config
            .as_ref()
            .map(|config| config.spool.dir.clone());
        let spool = configured.unwrap_or_else(|| state_dir.join("spool"));
        let last_report = std::fs::read(state_dir.join(LAST_REPORT_FILE)).ok();
        Self {
            spool_bytes: folder_bytes(&spool, 8),
            last_good: state_dir.join(last_good::FILE).exists(),
            last_report: last_report.and_then(|json| serde_json::from_slice(&json).ok()),
        }
    }
}

/// Bytes of the files in a folder; `None` when there is no such folder. Links are not followed.
fn folder_bytes(folder: &Path, depth: u32) -> Option<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_file() {
            total += about.len();
        } else if about.is_dir() && depth > 0 {
            total += folder_bytes(&entry.path(), depth - 1).unwrap_or(0);
        }
    }
    Some(total)
}

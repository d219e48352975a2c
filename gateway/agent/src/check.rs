//! `check`: every problem of a configuration, for people or machines; also of the files it names.

use crate::cli::{CheckArgs, DEFAULT_CONFIG, Format};
use crate::console::{colour_out, say};
use crate::exit::Exit;
use crate::{explain, machine, uplink};
use gateway_config::{BusConfig, GatewayConfig, Loaded, Options, Severity, load, render};
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let path = args.file.as_ref().or(args.config.as_ref());
    let path = path
        .cloned()
        .unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
    let options = Options {
        unknown_keys: Severity::Error,
        overload: Severity::Error,
        memory: machine::memory_limit(),
    };
    let loaded = load(&path, options);
    // The identity is a file of its own: what is wrong with it does not stop a gateway from reading
    // and keeping, but it will not report.
    let identity = loaded.config.as_ref().and_then(uplink::identity_problem);
    match args.format {
        Format::Json => say(format_args!(
            "{}\n",
            machine_form(&loaded, identity.as_deref())?
        )),
        Format::Human => say(human_form(&path, &loaded, identity.as_deref())),
    }
    let fine = loaded.config.is_some() && identity.is_none();
    Ok(if fine {
        Exit::Done
    } else {
        Exit::ConfigRefused
    })
}

fn machine_form(loaded: &Loaded, identity: Option<&str>) -> anyhow::Result<String> {
    let problems: Vec<_> = loaded.problems.iter().map(|p| p.report()).collect();
    Ok(serde_json::to_string(&serde_json::json!({
        "ok": loaded.config.is_some() && identity.is_none(),
        "problems": problems,
        "identity": identity,
    }))?)
}

fn human_form(path: &Path, loaded: &Loaded, identity: Option<&str>) -> String {
    let mut text = render(&loaded.problems, colour_out());
    if let Some(secret) = loaded.config.as_ref().and_then(uplink::readable_secret) {
        let path = secret.display();
        text +=
            &format!("warning: others can read the private key in {path}; run: chmod 600 {path}\n");
    }
    if let Some(problem) = identity {
        text += &format!("error: {problem}\n");
    } else if let Some(config) = &loaded.config {
        text += &format!("{}: {}\n", path.display(), summary(config));
        text += &explain::brief(config);
    }
    text
}

/// What a configuration amounts to, in one line.
pub(crate) fn summary(config: &GatewayConfig) -> String {
    let devices: usize = config.buses.iter().map(|bus| bus.devices().len()).sum();
    let rates = config.buses.iter().map(BusConfig::polled_per_second);
    // The empty sum of floats is -0.0.
    let rate = rates.fold(0.0, |sum, rate| sum + rate);
    let to = config.uplink.as_ref().map_or_else(
        || "no uplink".to_owned(),
        |uplink| format!("uplink {}", uplink.name),
    );
    format!(
        "gateway {}, buses {}, devices {devices}, points {}, {rate:.1} readings/s, spool {}MiB, {to}",
        config.gateway.id,
        config.buses.len(),
        config.points.len(),
        config.spool.disk_quota_bytes >> 20,
    )
}

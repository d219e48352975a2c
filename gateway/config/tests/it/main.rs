//! The configuration as people meet it: files in, values or problems out.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

mod accepted;
mod fog;
mod guides;
mod reference;
mod refused;
mod schema;

use gateway_config::{Loaded, Options, Severity, load_with};
use std::collections::BTreeMap;
use std::path::Path;

/// Loads `gateway.toml` from a set of named texts.
fn load_texts(files: &[(&str, &str)], options: Options) -> Loaded {
    let files: BTreeMap<&Path, &str> = files.iter().map(|(n, t)| (Path::new(*n), *t)).collect();
    load_with(Path::new("gateway.toml"), options, &|path| {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        files
            .get(path)
            .map(|text| (*text).to_owned())
            .ok_or_else(missing)
    })
}

const CHECK: Options = Options {
    unknown_keys: Severity::Error,
    overload: Severity::Error,
    memory: None,
};

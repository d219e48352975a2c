//! Makes sure that the folder with the built dashboard exists, because embedding needs a folder.
//!
//! It never builds the dashboard: a cargo build needs no Node and no network. Without a built
//! dashboard the binary serves a page that says how to build it.

use std::path::Path;

fn main() {
    let dist = Path::new("../dashboard/dist");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());
    if let Err(error) = std::fs::create_dir_all(dist) {
        println!("cargo::error=creating {} failed: {error}", dist.display());
    }
}

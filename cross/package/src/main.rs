//! `fogline-package`: what `cargo xtask package` hands over to.

use anyhow::Context as _;
use clap::Parser;
use cross_package::{Order, build};
use cross_toolchain::Places;
use cross_toolchain::say::{megabytes, result, say};
use cross_toolchain::target::Arch;
use std::path::PathBuf;
use std::process::ExitCode;

/// Makes a Debian package of a program that was built before.
#[derive(Debug, Parser)]
#[command(name = "fogline-package")]
struct Cli {
    /// `gateway` or `cloud`: the folder below `deploy`.
    what: String,
    /// For which processor.
    arch: Arch,
    /// The program.
    binary: PathBuf,
    /// What `fogline-manual` wrote.
    #[arg(long)]
    manual: Option<PathBuf>,
    /// Debian's revision: raise it to upgrade without a new version.
    #[arg(long, default_value_t = 1)]
    revision: u32,
    /// The folder that the package goes to.
    #[arg(long)]
    into: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let deploy = Places::find()?.root.join("deploy");
    let version = format!("{}-{}", env!("CARGO_PKG_VERSION"), cli.revision);
    let path = build(&Order {
        recipe: &deploy.join(&cli.what).join("package.toml"),
        binary: &cli.binary,
        manual: cli.manual.as_deref(),
        arch: cli.arch,
        version: &version,
        into: &cli.into,
    })
    .with_context(|| format!("packing {} for {}", cli.what, cli.arch.name()))?;
    say(format_args!("  {}", megabytes(path.metadata()?.len())));
    result(path.display());
    Ok(())
}

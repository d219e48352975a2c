//! `fogline-image`: what `cargo xtask image` and `cargo xtask flash` hand over to.

use clap::{Parser, Subcommand};
use cross_image::{Board, Flash, Order, build, flash};
use cross_toolchain::Places;
use cross_toolchain::lock::Lock;
use cross_toolchain::program::source_date;
use cross_toolchain::say::{result, say};
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds images and writes them.
#[derive(Debug, Parser)]
#[command(name = "fogline-image")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build an image; print its path.
    Build {
        /// For which machines.
        #[arg(long, default_value = "virt")]
        board: Board,
        /// The gateway's package for arm64.
        gateway: PathBuf,
        /// The folder that the image goes to; default target/images.
        #[arg(long)]
        into: Option<PathBuf>,
    },
    /// Write an image to a card or a file, compare, and put the site's files onto it.
    Flash {
        /// The image, plain or `.zst`.
        image: PathBuf,
        /// A device such as `/dev/sdb`, or a file.
        to: PathBuf,
        /// A folder with `identity.toml`, `gateway.toml` and, where it is not DHCP, `*.network`.
        #[arg(long)]
        site: Option<PathBuf>,
        /// The disk is meant although it is larger than cards are.
        #[arg(long)]
        large: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Build {
            board,
            gateway,
            into,
        } => {
            let places = Places::find()?;
            let lock = Lock::read(&places.lock())?;
            let image = build(
                &lock,
                &Order {
                    board,
                    gateway: &gateway,
                    deploy: &places.root.join("deploy/image"),
                    cache: &places.cross().join("cache"),
                    into: &into.unwrap_or_else(|| places.target.join("images")),
                    time: source_date(&places.root)?,
                },
            )?;
            result(image.display());
            Ok(())
        }
        Task::Flash {
            image,
            to,
            site,
            large,
        } => {
            let site = site.as_deref();
            flash(&Flash {
                image: &image,
                to: &to,
                site,
                large,
            })
        }
    }
}

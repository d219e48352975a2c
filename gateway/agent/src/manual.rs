//! `fogline-manual DIR`: writes the manual pages and the completions for shells, from the command lines
//! themselves. The packages carry what it wrote; nobody carries the program.

#![forbid(unsafe_code)]

mod cli;
#[path = "sim/args.rs"]
mod sim;

use anyhow::Context as _;
use clap::{Args as _, Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use std::fs;
use std::path::{Path, PathBuf};

const NAME: &str = "fogline-gateway";

/// Writes manual pages and completions of the gateway.
#[derive(Debug, clap::Parser)]
struct Order {
    /// The folder to write them into
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    write_all(&<Order as clap::Parser>::parse().dir)
}

/// The gateway's command line as people see it: with that of `fogline-sim` in the place of its `sim`, which
/// hands over.
fn whole() -> Command {
    let sim = |_handing_over| {
        sim::SimArgs::augment_args(Command::new("sim"))
            .about("Simulate devices: Modbus, serial lines in real time, Bluetooth LE")
    };
    cli::Cli::command().mut_subcommand("sim", sim)
}

fn write_all(dir: &Path) -> anyhow::Result<()> {
    let mut command = whole();
    command.build();
    pages(&command, NAME, &dir.join("man"))?;
    for (shell, folder, file) in [
        (Shell::Bash, "bash", NAME.to_owned()),
        (Shell::Zsh, "zsh", format!("_{NAME}")),
        (Shell::Fish, "fish", format!("{NAME}.fish")),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut whole(), NAME, &mut script);
        write(&dir.join(folder), &file, &script)?;
    }
    Ok(())
}

/// One page for a command and each of its subcommands: `fogline-gateway-spool-stat.1`.
fn pages(command: &Command, name: &str, into: &Path) -> anyhow::Result<()> {
    let mut page = Vec::new();
    let titled = command.clone().display_name(name.to_owned());
    clap_mangen::Man::new(titled)
        .manual("Fogline")
        .render(&mut page)
        .context("making a manual page")?;
    write(into, &format!("{name}.1"), &page)?;
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        pages(sub, &format!("{name}-{}", sub.get_name()), into)?;
    }
    Ok(())
}

fn write(folder: &Path, file: &str, content: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(file);
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_owned();
        write_all(&dir).unwrap();
        let read = |path: &str| fs::read_to_string(dir.join(path)).unwrap();
        let page = read("man/fogline-gateway.1");
        assert!(page.contains(".TH fogline-gateway 1"), "{page}");
        assert!(read("man/fogline-gateway-spool-stat.1").contains("\\-\\-config"));
        assert!(read("man/fogline-gateway-sim-modbus-rtu.1").contains("\\-\\-link"));
        for script in [
            "bash/fogline-gateway",
            "zsh/_fogline-gateway",
            "fish/fogline-gateway.fish",
        ] {
            assert!(read(script).contains("status"), "{script}");
        }
    }
}

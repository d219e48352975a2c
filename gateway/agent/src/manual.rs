//! `manual`: writes the manual pages and the completions for shells, from the command line itself; the
//! packages carry them.

use crate::cli::{Cli, ManualArgs};
use crate::exit::Exit;
use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use std::fs;
use std::path::Path;

const NAME: &str = "fogline-gateway";

pub(crate) fn run(args: &ManualArgs) -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    command.build();
    pages(&command, NAME, &args.dir.join("man"))?;
    for (shell, folder, file) in [
        (Shell::Bash, "bash", NAME.to_owned()),
        (Shell::Zsh, "zsh", format!("_{NAME}")),
        (Shell::Fish, "fish", format!("{NAME}.fish")),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), NAME, &mut script);
        write(&args.dir.join(folder), &file, &script)?;
    }
    Ok(Exit::Done)
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
        run(&ManualArgs { dir: dir.clone() }).unwrap();
        let read = |path: &str| fs::read_to_string(dir.join(path)).unwrap();
        let page = read("man/fogline-gateway.1");
        assert!(page.contains(".TH fogline-gateway 1"), "{page}");
        assert!(read("man/fogline-gateway-spool-stat.1").contains("\\-\\-config"));
        for script in [
            "bash/fogline-gateway",
            "zsh/_fogline-gateway",
            "fish/fogline-gateway.fish",
        ] {
            assert!(read(script).contains("status"), "{script}");
        }
    }
}

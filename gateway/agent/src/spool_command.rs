//! x
use crate::cli::SpoolCommand;
use crate::exit::Exit;
pub(crate) fn run(_c: &SpoolCommand) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}

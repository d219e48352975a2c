//! `config reference|schema`: what the reader of configurations knows, for people and editors.

use crate::cli::find::ConfigCommand;
use crate::console::say;
use crate::exit::Exit;
use gateway_config::reference::{reference, schema, template_schema};

pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Reference => say(reference()),
        ConfigCommand::Schema { template } => {
            let schema = if *template {
                template_schema()
            } else {
                schema()
            };
            say(format_args!("{}\n", serde_json::to_string_pretty(&schema)?));
        }
    }
    Ok(Exit::Done)
}

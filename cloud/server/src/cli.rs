//! The command line: what it takes, and where each command goes.

use crate::config::{CloudConfig, NodeArgument};
use crate::log::LogFormat;
use crate::{commands, export, init, log, nodes, run};
use clap::{Args, Parser, Subcommand};
use protocols_model::GatewayId;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  fogline-cloud init --dir fogline            everything for one machine
  fogline-cloud init --dir fogline --node n1@10.0.0.1 --node n2@10.0.0.2 --node n3@10.0.0.3
  nats-server -c fogline/broker/nats-server.conf
  fogline-cloud run --config fogline/cloud.toml
  fogline-cloud gateway add plant-1 --config fogline/cloud.toml
  fogline-cloud gateway revoke plant-1 --config fogline/cloud.toml
  fogline-cloud export --readings --config fogline/cloud.toml > readings.ndjson";

/// The cloud side of Fogline.
#[derive(Debug, Parser)]
#[command(name = "fogline-cloud", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Configuration file.
    #[arg(long, global = true, default_value = "cloud.toml", value_name = "FILE")]
    config: PathBuf,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make everything for one machine or a cluster: configuration, authority, broker, certificates, database,
    /// first user.
    Init(InitArguments),
    /// The certificate authority.
    #[command(subcommand)]
    Ca(CaCommand),
    /// The broker's secrets, certificate and configuration.
    #[command(subcommand)]
    Broker(BrokerCommand),
    /// The API's certificate.
    #[command(subcommand)]
    Api(ApiCommand),
    /// Gateways: who may connect.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Users of the dashboard and the API.
    #[command(subcommand)]
    User(UserCommand),
    /// The database.
    #[command(subcommand)]
    Database(DatabaseCommand),
    /// Run the services.
    Run(RunArguments),
    /// Write out what the database holds.
    Export(ExportArguments),
    /// Input that could not be used.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
}

/// What `init` needs to know.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Folder to make everything in.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// Name or address that gateways and browsers use; may be given several times. The first is
    /// written into identities. Default: 127.0.0.1 and localhost, or the nodes' own.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// A node of the broker, `NAME@HOST`, HOST as the others reach it; given three or five times.
    /// Default: one node on this machine.
    #[arg(long, value_name = "NAME@HOST")]
    pub(crate) node: Vec<NodeArgument>,
    /// Address that broker and API listen on. Default: loopback, or everywhere with --node; a node
    /// listens on HOST where that is an address.
    #[arg(long, value_name = "IP")]
    pub(crate) listen: Option<IpAddr>,
    /// Port for gateways (MQTT over TLS).
    #[arg(long, default_value_t = 8883)]
    pub(crate) mqtt_port: u16,
    /// Port for our own services at the broker.
    #[arg(long, default_value_t = 4222)]
    pub(crate) client_port: u16,
    /// Port for the other nodes of the broker.
    #[arg(long, default_value_t = 6222)]
    pub(crate) route_port: u16,
    /// Port of a node's own health page, on loopback.
    #[arg(long, default_value_t = 8222)]
    pub(crate) monitor_port: u16,
    /// Port of API and dashboard (HTTPS).
    #[arg(long, default_value_t = 8443)]
    pub(crate) api_port: u16,
    /// For demonstrations: the one-time password opens everything without choosing a new one.
    #[arg(long)]
    pub(crate) demo: bool,
}

impl InitArguments {
    /// Names and addresses of the installation.
    pub(crate) fn hosts(&self) -> Vec<String> {
        match (self.host.is_empty(), self.node.is_empty()) {
            (false, _) => self.host.clone(),
            (true, true) => ["127.0.0.1", "localhost"].map(str::to_owned).to_vec(),
            (true, false) => self.node.iter().map(|node| node.host.clone()).collect(),
        }
    }

    /// Where to listen.
    pub(crate) fn listen(&self) -> IpAddr {
        let cluster = !self.node.is_empty();
        let unless_told = if cluster {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        };
        self.listen.unwrap_or(IpAddr::V4(unless_told))
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            dir: "x".into(),
            host: vec!["mqtt.example.com".into()],
            node: Vec::new(),
            listen: Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            mqtt_port: 8883,
            client_port: 4222,
            route_port: 6222,
            monitor_port: 8222,
            api_port: 8443,
            demo: false,
        }
    }
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Make the authority; refuses to replace one.
    Init,
}

#[derive(Debug, Subcommand)]
enum BrokerCommand {
    /// Make secrets, certificate and configuration; refuses to replace secrets.
    Init,
    /// Write the nodes' configuration anew, after a change of settings or an update.
    Config {
        /// Only of this node; may be given several times.
        #[arg(long, value_name = "NAME")]
        node: Vec<String>,
        /// Folder to write one node's `nats-server.conf` and `node.toml` to; default: the node's own
        /// beside the configuration.
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Issue the nodes' certificates anew.
    Certificate,
    /// Before each start of a node: refuse a volume of another node, cluster or installation.
    Check {
        /// The node's folder.
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// Take streams that no record speaks of for this node's.
        #[arg(long)]
        adopt: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ApiCommand {
    /// Issue the API's certificate anew; a running server takes it up by itself.
    Certificate,
}

#[derive(Debug, Subcommand)]
enum GatewayCommand {
    /// Enter a gateway and write its identity file.
    Add {
        /// Its id: a-z, 0-9 and '-', at most 63 characters.
        id: GatewayId,
        /// For people.
        #[arg(long, default_value = "")]
        note: String,
        /// Where to write the identity file; default `gateways/{id}.toml` beside the configuration.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Broker to write into the identity, `mqtts://host:port`; may be given several times.
        /// Default: those of the configuration.
        #[arg(long, value_name = "URL")]
        server: Vec<String>,
    },
    /// List all gateways.
    List,
    /// Show everything known about one.
    Show {
        /// Its id.
        id: GatewayId,
    },
    /// Trust a gateway no longer: its live session is cut, its data refused.
    Revoke {
        /// Its id.
        id: GatewayId,
    },
}

#[derive(Debug, Subcommand)]
enum DatabaseCommand {
    /// Say that the database was put back from a backup; once, before the services run on it.
    /// Gateways then offer again what they still hold, and what was lost with the newer database is
    /// entered in the ledger.
    Restored,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Give a user a new one-time password and end their sessions.
    Reset {
        /// Login name.
        #[arg(default_value = cloud_api::FIRST_USER)]
        name: String,
    },
}

/// Which services to run.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Roles of this process, comma between them.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    pub(crate) role: Vec<Role>,
    /// Where to answer `/livez`, `/readyz` and `/metrics`, plain HTTP; instead of `health.listen`.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) health: Option<SocketAddr>,
}

/// A part of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Every other one.
    All,
    /// From the broker into the database.
    Ingest,
    /// Who may connect to the broker.
    Auth,
    /// API and dashboard.
    Api,
    /// Compaction, rollups, retention.
    Tasks,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    pub(crate) what: ExportWhat,
    /// Only of this gateway.
    #[arg(long, value_name = "ID")]
    pub(crate) gateway: Option<GatewayId>,
    /// Form of the lines.
    #[arg(long, value_enum, default_value = "ndjson")]
    pub(crate) format: ExportFormat,
    /// File to write to; default standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Exactly one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ExportWhat {
    /// Every stored reading.
    #[arg(long)]
    pub(crate) readings: bool,
    /// The loss ledger.
    #[arg(long)]
    pub(crate) ledger: bool,
    /// Stored, filtered and lost readings of each point, summed up.
    #[arg(long)]
    pub(crate) counts: bool,
}

/// Form of exported lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated, with a head line.
    Csv,
}

#[derive(Debug, Subcommand)]
enum QuarantineCommand {
    /// List it, newest first.
    List {
        /// Only of this gateway.
        #[arg(long, value_name = "ID")]
        gateway: Option<GatewayId>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

/// Does what was asked.
pub(crate) async fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    log::start(arguments.log_format);
    let command = match arguments.command {
        Command::Init(init) => return init::everything(&init).await,
        // On a broker's host there is no configuration of the cloud.
        Command::Broker(BrokerCommand::Check { dir, adopt }) => return nodes::check(&dir, adopt),
        command => command,
    };
    let config = CloudConfig::read(&arguments.config)?;
    match command {
        Command::Init(_) | Command::Broker(BrokerCommand::Check { .. }) => Ok(()),
        Command::Ca(CaCommand::Init) => init::ca(&config),
        Command::Broker(BrokerCommand::Init) => nodes::init(&config),
        Command::Broker(BrokerCommand::Config { node, out }) => {
            nodes::write(&config, &node, out.as_deref())
        }
        Command::Broker(BrokerCommand::Certificate) => nodes::certificates(&config),
        Command::Api(ApiCommand::Certificate) => init::api_certificate(&config),
        Command::Gateway(GatewayCommand::Add {
            id,
            note,
            out,
            server,
        }) => commands::add(&config, id, note, out, server).await,
        Command::Gateway(GatewayCommand::List) => commands::list(&config).await,
        Command::Gateway(GatewayCommand::Show { id }) => commands::show(&config, &id).await,
        Command::Gateway(GatewayCommand::Revoke { id }) => commands::revoke(&config, &id).await,
        Command::User(UserCommand::Reset { name }) => commands::reset_user(&config, &name).await,
        Command::Database(DatabaseCommand::Restored) => commands::restored(&config).await,
        Command::Run(run) => run::run(&config, &run).await,
        Command::Export(what) => export::export(&config, &what).await,
        Command::Quarantine(QuarantineCommand::List { gateway, limit }) => {
            commands::quarantine(&config, gateway.as_ref(), limit).await
        }
    }
}

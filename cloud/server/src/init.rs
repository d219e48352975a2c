//! Setting up: authority, broker, certificates, database, first user. Nothing that exists is
//! replaced, except certificates and the broker's configuration, which can be made again.

use crate::cli::InitArguments;
use crate::config::CloudConfig;
use crate::log::say;
use crate::{database, nodes};
use anyhow::Context as _;
use cloud_pki::{Authority, files, secret};
use cloud_store::Store;
use protocols_model::{Clock as _, SystemClock, Timestamp};

/// Everything, for one machine or a cluster.
pub(crate) async fn everything(init: &InitArguments) -> anyhow::Result<()> {
    let config = CloudConfig::for_init(init);
    let path = init.dir.join("cloud.toml");
    files::refuse_existing(&path)?;
    config.check()?;
    ca(&config)?;
    nodes::init(&config)?;
    api_certificate(&config)?;
    if let Some(token) = config.metrics_token_file() {
        files::write_secret(&token, &format!("{}\n", secret::password()?))?;
    }
    let store = database::alone(&config).await?;
    first_user(&config, &*store).await?;
    store.close().await?;
    // Last: where it stands, everything it speaks of stands too.
    files::write_public(&path, &config.to_toml()?)?;
    say(&format!("configuration: {}", path.display()));
    say("next:");
    for node in config.broker.nodes() {
        let conf = config.node_dir(&node).join(cloud_auth::node::CONFIG_FILE);
        say(&format!("  nats-server -c {}", conf.display()));
    }
    say(&format!("  fogline-cloud run --config {}", path.display()));
    say(&format!(
        "  fogline-cloud gateway add ID --config {}",
        path.display()
    ));
    Ok(())
}

/// The authority.
pub(crate) fn ca(config: &CloudConfig) -> anyhow::Result<()> {
    let dir = config.pki_dir();
    Authority::init(&dir, "Fogline authority", now())?;
    say(&format!("authority: {}", config.ca().display()));
    Ok(())
}

/// The API's certificate.
pub(crate) fn api_certificate(config: &CloudConfig) -> anyhow::Result<()> {
    let issued = authority(config)?.issue_server(&config.api.names, now())?;
    let (certificate, key) = config.api_files();
    files::write_secret(&key, &issued.key)?;
    files::write_public(&certificate, &issued.certificate)?;
    say(&format!("API's certificate: {}", certificate.display()));
    Ok(())
}

/// The authority of this installation.
pub(crate) fn authority(config: &CloudConfig) -> anyhow::Result<Authority> {
    Authority::load(&config.pki_dir()).context("`fogline-cloud ca init` makes the authority")
}

/// Makes the first user where there is none, and leaves the one-time password in a file that only
/// the owner can read.
pub(crate) async fn first_user(config: &CloudConfig, store: &dyn Store) -> anyhow::Result<()> {
    let Some(login) = cloud_api::first_user(store, now()).await? else {
        return Ok(());
    };
    let path = config.one_time_password_file();
    files::write_secret(&path, &format!("{} {}\n", login.name, login.password))?;
    say(&format!(
        "first login: user {}, one-time password {} (also in {})",
        login.name,
        login.password,
        path.display()
    ));
    Ok(())
}

pub(crate) fn now() -> Timestamp {
    SystemClock::start().wall()
}

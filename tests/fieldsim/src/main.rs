//! `fogline-fieldsim`: serves a site file until it is told to stop.
//!
//! Writes the chosen TCP ports to the ready file once every bus can be reached, and removes it once all
//! were told to fall silent (SIGUSR1) and did; SIGUSR2 lets Modbus units answer again, and the file is
//! back. Told to stop, it says
//! nothing more and stays until what it said is heard: an answer in the log has left.

use anyhow::Context as _;
use clap::Parser;
use protocols_sim::line::{LineSettings, Parity, Port};
use protocols_sim::modbus::{RtuLine, RtuOptions, TcpFraming, TcpServer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tests_fieldsim::answer_log::AnswerLog;
use tests_fieldsim::bus::Bus;
use tests_fieldsim::radio::Radio;
use tests_fieldsim::serial::SerialDevice;
use tests_fieldsim::{BusKind, BusSite, Site};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What was said when the stop came is on the line for some milliseconds, and a gateway on a busy
/// machine takes its time to read it; a pseudo-terminal that closes takes unread bytes along.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// Simulated devices whose every answer is logged.
#[derive(Debug, Parser)]
struct Args {
    /// The site file (JSON).
    #[arg(long)]
    site: PathBuf,
    /// Where each answer is logged (NDJSON, appended).
    #[arg(long)]
    log: PathBuf,
    /// Written once all buses can be reached: TCP port by bus name (JSON). Gone again once they all
    /// fell silent.
    #[arg(long)]
    ready: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let text = std::fs::read_to_string(&args.site)
        .with_context(|| format!("reading {}", args.site.display()))?;
    let site: Site = serde_json::from_str(&text).context("reading the site file")?;
    let log = Arc::new(AnswerLog::open(&args.log).context("opening the answer log")?);
    let folder = args.site.canonicalize()?;
    let folder = folder.parent().context("a site file without a folder")?;
    let served = start(&site, folder, &log).await?;
    write_whole(&args.ready, &serde_json::to_vec(&served.ports)?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut silence = signal(SignalKind::user_defined1())?;
    let mut speech = signal(SignalKind::user_defined2())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // The devices stop, the process stays: were it gone, its ports and terminals could be
            // given to another simulator, and a gateway would read that one.
            _ = silence.recv() => {
                served.fall_silent().await;
                // Whoever waits for the silence sees it by this; a second signal finds it gone.
                let _gone = std::fs::remove_file(&args.ready);
            }
            _ = speech.recv() => {
                served.buses.iter().for_each(|bus| bus.speak_again());
                write_whole(&args.ready, &serde_json::to_vec(&served.ports)?)?;
            }
        }
    }
    served.fall_silent().await;
    tokio::time::sleep(LAST_WORDS).await;
    drop(served.lines);
    Ok(())
}

/// What is served: the ports by bus, the buses, and the lines, which end when dropped.
struct Served {
    ports: BTreeMap<String, u16>,
    buses: Vec<Arc<Bus>>,
    lines: Vec<Port>,
    serials: Vec<SerialDevice>,
    radio: Option<Radio>,
}

impl Served {
    fn bus(&mut self, site: &BusSite, log: &Arc<AnswerLog>) -> Arc<Bus> {
        let bus = Arc::new(Bus::new(site, Arc::clone(log)));
        self.buses.push(Arc::clone(&bus));
        bus
    }

    async fn fall_silent(&self) {
        self.buses.iter().for_each(|bus| bus.fall_silent());
        self.serials.iter().for_each(SerialDevice::fall_silent);
        if let Some(radio) = &self.radio {
            radio.fall_silent().await;
        }
    }
}

/// Serves every bus.
async fn start(site: &Site, folder: &Path, log: &Arc<AnswerLog>) -> anyhow::Result<Served> {
    let mut served = Served {
        ports: BTreeMap::new(),
        buses: Vec::new(),
        lines: Vec::new(),
        serials: Vec::new(),
        radio: None,
    };
    let is_radio = |bus: &&BusSite| matches!(bus.kind, BusKind::Radio { .. });
    let radios: Vec<&BusSite> = site.buses.iter().filter(is_radio).collect();
    if !radios.is_empty() {
        served.radio = Some(Radio::start(folder, &radios, log).await?);
    }
    for bus_site in &site.buses {
        match &bus_site.kind {
            BusKind::Tcp { port } => {
                let bus = served.bus(bus_site, log);
                let listener = TcpListener::bind(("127.0.0.1", *port))
                    .await
                    .with_context(|| format!("listening for bus {}", bus_site.name))?;
                let port = listener.local_addr()?.port();
                served.ports.insert(bus_site.name.clone(), port);
                let server = Arc::new(TcpServer::new(bus, TcpFraming::Mbap));
                // Never told to stop: it serves until the process ends.
                tokio::spawn(server.serve(listener, CancellationToken::new()));
            }
            BusKind::Rtu { link, baud } => {
                let bus = served.bus(bus_site, log);
                // What is judged is what was read; how well gaps are kept is for others to test.
                let options = RtuOptions {
                    line: LineSettings::new(*baud, Parity::None, 1),
                    strict: false,
                };
                let core = Box::new(RtuLine::new(options, bus));
                let line = Port::start(Path::new(link), core, None)
                    .with_context(|| format!("making the line of bus {}", bus_site.name))?;
                served.lines.push(line);
            }
            BusKind::Scale { .. } | BusKind::Scpi { .. } => {
                served.serials.push(SerialDevice::serve(bus_site, log)?);
            }
            // All of them together, above.
            BusKind::Radio { .. } => {}
        }
    }
    Ok(served)
}

/// Writes beside and renames: whoever waits for the file never sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path).with_context(|| format!("writing {}", path.display()))
}

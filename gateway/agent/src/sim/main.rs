//! `fogline-sim`, started by `fogline-gateway sim`: simulated devices of all three families, for rehearsing a
//! site without hardware and for tests. A program of its own, so that a gateway does not carry it.
//!
//! Serves what a file or a quick form names until Ctrl-C, SIGTERM or the given time; then everything ends
//! and links are removed. Words on standard input or on a control socket switch faults while it runs.
//! Standard output carries the configuration, events or JSON that were asked for; what is said to people
//! goes to standard error, with a line of sums that renews itself on a terminal only.

#![forbid(unsafe_code)]

mod args;
mod around;
mod matching;
mod played;
mod quick;
mod screen;
mod words;

use anyhow::Context as _;
use args::{SimArgs, What};
use around::Around;
use clap::Parser;
use gateway_recorder::Recording;
use protocols_sim::control::{Command, help};
use protocols_sim::event::Hook;
use protocols_sim::{Sim, Site};
use screen::{Screen, say, warn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use words::Words;

/// How often the sums are renewed.
const RENEWED: Duration = Duration::from_secs(1);

/// Whoever says "quit" on the socket hears the answer within this.
const LAST_WORD: Duration = Duration::from_millis(100);

/// The commented site file.
const EXAMPLE: &str = include_str!("example.toml");

/// Called as people call it: errors and help show the command that they typed.
#[derive(Debug, Parser)]
#[command(
    name = "fogline-gateway sim",
    bin_name = "fogline-gateway sim",
    version
)]
struct Cli {
    #[command(flatten)]
    args: SimArgs,
}

fn main() -> ExitCode {
    match run(&Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format_args!("fogline-gateway: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &SimArgs) -> anyhow::Result<()> {
    if matches!(args.what, Some(What::Example)) {
        say(EXAMPLE);
        return Ok(());
    }
    let (site, folder) = read(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting")?;
    runtime.block_on(serve(args, &site, &folder))?;
    // A thread that waits for standard input would be waited for.
    runtime.shutdown_background();
    Ok(())
}

/// The site, and the folder that its links are relative to.
fn read(args: &SimArgs) -> anyhow::Result<(Site, PathBuf)> {
    match (&args.file, &args.what) {
        (Some(_), Some(_)) => {
            anyhow::bail!("--file and a quick form exclude each other: leave one out")
        }
        (None, None) => anyhow::bail!(
            "say what to serve: --file site.toml, or one of modbus-tcp, modbus-rtu, modbus-rtu-over-tcp, serial, ble, recording; \"fogline-gateway sim --help\" has examples"
        ),
        (Some(file), None) => {
            let text = std::fs::read_to_string(file).with_context(|| {
                format!(
                    "reading {}; \"fogline-gateway sim example\" prints a site file",
                    file.display()
                )
            })?;
            let site = Site::parse(&text).with_context(|| file.display().to_string())?;
            let file = file.canonicalize()?;
            let folder = file.parent().context("a file without a folder")?;
            Ok((site, folder.to_owned()))
        }
        (None, Some(What::Recording(recorded))) => {
            let folder = std::env::current_dir().context("looking where we are")?;
            let recording = Recording::read(&recorded.data, recorded.last)?;
            for torn in &recording.torn {
                warn(format_args!(
                    "{} is damaged or cut off; what stood behind that place is not played\n",
                    torn.display()
                ));
            }
            let text = played::site(&recording, recorded.listen)
                .with_context(|| recorded.data.display().to_string())?;
            Ok((Site::parse(&text)?, folder))
        }
        (None, Some(what)) => {
            let folder = std::env::current_dir().context("looking where we are")?;
            let text = quick::site(what, &folder).context("nothing to serve")?;
            Ok((Site::parse(&text)?, folder))
        }
    }
}

async fn serve(args: &SimArgs, site: &Site, folder: &Path) -> anyhow::Result<()> {
    let plan = site.build(folder)?;
    let nothing = plan.buses.is_empty() && plan.serials.is_empty() && site.ble.is_none();
    anyhow::ensure!(
        !nothing,
        "the site is empty; \"fogline-gateway sim example\" prints one"
    );
    // Before anything is made, so that nothing stays behind when they come early.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let screen = Arc::new(Screen::new(args.json, args.events));
    let told = Arc::clone(&screen);
    let hook: Option<Hook> = args
        .events
        .then(|| -> Hook { Arc::new(move |event| told.event(event)) });
    let sim = Sim::start(plan, hook).await?;
    let mut around = match &site.ble {
        Some(table) => {
            let told = Arc::clone(&screen);
            let tell = move |name: &str, event: &_| told.advert(name, event);
            Some(Around::start(table, folder, args.bus_dir.as_deref(), tell).await?)
        }
        None => None,
    };
    screen.serving(site, &sim.served(), around.as_ref());
    if let Some(place) = &args.print_config {
        print_config(
            place,
            &matching::configuration(site, &sim.served(), around.as_ref()),
        )?;
    }
    let play = around.as_mut().map(Around::play);
    let mut play = pin!(async {
        match play {
            Some(play) => play.await,
            None => std::future::pending().await,
        }
    });
    let mut words = Words::listen(args.control.as_deref())?;
    let mut end = pin!(async {
        match args.time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    });
    let mut renew = tokio::time::interval(RENEWED);
    renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut end => break,
            () = &mut play => {}
            word = words.next() => {
                let done = act(&sim, around.as_ref(), &word.line);
                let quits = matches!(done, Ok(None));
                let text = match done {
                    Ok(text) => text.unwrap_or_else(|| "ending".to_owned()),
                    Err(error) => format!("error: {error:#}"),
                };
                screen.answer(&text);
                word.answer(text);
                if quits {
                    tokio::time::sleep(LAST_WORD).await;
                    break;
                }
            }
            _ = renew.tick() => screen.sums(&sim, around.as_ref()),
        }
    }
    screen.ended(&sim, around.as_ref());
    sim.stop();
    Ok(())
}

/// Does what a line says; `None` when it says to end.
fn act(sim: &Sim, around: Option<&Around>, line: &str) -> anyhow::Result<Option<String>> {
    let (name, rest) = line
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or((line.trim(), ""));
    if let Some(done) = around.and_then(|around| around.act(name, rest.trim())) {
        return done.map(Some);
    }
    let Some(command) = Command::parse(line)? else {
        return Ok(Some(String::new()));
    };
    Ok(match command {
        Command::Quit => None,
        Command::Help => {
            let ble = around.map_or_else(String::new, |_| around::help());
            Some(help() + &ble)
        }
        Command::List => Some(screen::list(&sim.served(), around)),
        Command::About(name, action) => Some(sim.act(&name, &action)?),
    })
}

/// Prints the configuration, or writes it whole: whoever waits for the file never sees half of it.
fn print_config(place: &Path, text: &str) -> anyhow::Result<()> {
    if place == Path::new("-") {
        say(text);
        return Ok(());
    }
    let beside = place.with_extension("part");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, place))
        .with_context(|| format!("writing {}", place.display()))?;
    warn(format_args!("wrote {}\n", place.display()));
    Ok(())
}

//! `watch`: a view of a running gateway for a terminal or a serial console.
//!
//! ```text
//! control.sock ─▶ seen (last answer, rates) ┐
//! keys ─▶ view (pane, filter, place) ───────┴▶ page (lines) ─▶ grid (what changed) ─▶ terminal
//! ```
//! What is shown is made by pure parts; this file waits. A gateway that does not answer is said to, its
//! last answer stays on the screen with its age, and it is asked again. Nothing of the gateway's work
//! depends on the view: one question at a time, bounded by what the screen shows.

mod grid;
mod keys;
mod page;
mod panes;
mod seen;
mod terminal;
mod view;

use crate::alarms::whoami;
use crate::cli::watch::{Pane, WatchArgs};
use crate::console::say;
use crate::control::{self, AlarmsNow, WatchNow, What};
use crate::exit::Exit;
use crate::{last_good, lock, machine};
use anyhow::Context;
use gateway_config::{Options, Severity, load};
use grid::Screen;
use keys::{Key, Keys};
use seen::Seen;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use terminal::{Painter, Terminal};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use view::{View, Wish};

/// Between two questions, where nobody says.
const EVERY: Duration = Duration::from_secs(1);
const EVERY_ON_A_SLOW_LINE: Duration = Duration::from_secs(2);
/// Less is not watching but load.
const LEAST: Duration = Duration::from_millis(200);
/// An ESC that nothing follows within this span was the key.
const ESCAPE: Duration = Duration::from_millis(150);
/// Rows of points in one question of `--once`.
const PAGE: usize = 500;
/// Between the two questions of `--once`, so that there are rates.
const ONCE: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &WatchArgs) -> anyhow::Result<Exit> {
    let state_dir = state_dir(args);
    if lock::owner(&state_dir).is_none() {
        say(not_running(args, &state_dir));
        return Ok(Exit::NotHealthy);
    }
    let mut view = View::new(args.pane, args.filter.clone(), args.trouble);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = if args.once {
        runtime.block_on(once(&mut view, &state_dir))
    } else {
        let terminal = Terminal::take(args.ascii)?;
        let usual = if terminal.is_slow {
            EVERY_ON_A_SLOW_LINE
        } else {
            EVERY
        };
        let every = args.every.unwrap_or(usual).max(LEAST);
        runtime.block_on(watch(view, &terminal, state_dir, every))
    };
    // A question that is still open must not hold the end.
    runtime.shutdown_background();
    done
}

/// Where the gateway that is meant keeps its state, also when its configuration has errors.
fn state_dir(args: &WatchArgs) -> PathBuf {
    if let Some(given) = &args.state_dir {
        return given.clone();
    }
    let options = Options {
        unknown_keys: Severity::Warning,
        overload: Severity::Warning,
        memory: machine::memory_limit(),
    };
    let loaded = load(&args.config, options);
    let mut places = last_good::places(&args.config, &loaded.state_dir).into_iter();
    let running = places.find(|place| lock::owner(place).is_some());
    running.unwrap_or(loaded.state_dir)
}

fn not_running(args: &WatchArgs, state_dir: &Path) -> String {
    let (dir, config) = (state_dir.display(), args.config.display());
    format!(
        "no gateway runs on {dir}\n\
         start it:      systemctl start fogline-gateway, or fogline-gateway run --config {config}\n\
         what is left:  fogline-gateway status --config {config}\n\
         another place: --config FILE or --state-dir DIR\n"
    )
}

/// Asks, off this thread.
async fn ask(state_dir: &Path, page: control::Page) -> anyhow::Result<WatchNow> {
    let dir = state_dir.to_owned();
    tokio::task::spawn_blocking(move || control::watch(&dir, page))
        .await
        .context("the question was not finished")?
}

/// Prints the chosen pane: one screen on a terminal, everything into a pipe.
async fn once(view: &mut View, state_dir: &Path) -> anyhow::Result<Exit> {
    let (start, mut seen) = (Instant::now(), Seen::default());
    let (rows, columns) = terminal::size();
    let is_terminal = terminal::is_terminal();
    let most = if is_terminal { page::room(rows) } else { PAGE };
    view.room = most;
    seen.answered(start.elapsed(), ask(state_dir, view.page()).await?);
    tokio::time::sleep(ONCE).await;
    let mut now = ask(state_dir, view.page()).await?;
    while !is_terminal && !now.points.is_empty() && now.points.len() < now.fitting {
        let from = now.points.len();
        let more = ask(
            state_dir,
            control::Page {
                from,
                ..view.page()
            },
        )
        .await?;
        if more.points.is_empty() {
            break;
        }
        now.points.extend(more.points);
    }
    let left = now.fitting.saturating_sub(now.points.len());
    seen.answered(start.elapsed(), now);
    // The prompt takes a row of the screen, and so may the last line.
    let most = if is_terminal {
        rows.saturating_sub(2)
    } else {
        usize::MAX
    };
    let mut text = page::text(view, &seen, columns, most);
    if is_terminal && view.pane == Pane::Points && left > 0 {
        text += &format!("… and {left} more: fogline-gateway watch --once | less\n");
    }
    say(text);
    Ok(Exit::Done)
}

/// What goes on while somebody looks.
struct Watching<'a> {
    view: View,
    seen: Seen,
    start: Instant,
    state_dir: PathBuf,
    terminal: &'a Terminal,
    size: (usize, usize),
    screen: Screen,
    painter: Painter,
    /// The question that is open; one at a time.
    asked: JoinSet<anyhow::Result<WatchNow>>,
    /// What is asked meanwhile is asked when that one is answered.
    ask_again: bool,
    told: JoinSet<(String, anyhow::Result<AlarmsNow>)>,
    dirty: bool,
}

async fn watch(
    view: View,
    terminal: &Terminal,
    state_dir: PathBuf,
    every: Duration,
) -> anyhow::Result<Exit> {
    let mut ends = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ];
    let [terminate, interrupt, hangup] = &mut ends;
    let mut resized = signal(SignalKind::window_change())?;
    let mut continued = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?;
    let (mut bytes, mut keys) = (terminal::keys(), Keys::default());
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let size = terminal::size();
    let mut on = Watching {
        view,
        seen: Seen::default(),
        start: Instant::now(),
        state_dir,
        terminal,
        size,
        screen: Screen::new(terminal.skill, size.0, size.1),
        painter: Painter::start(),
        asked: JoinSet::new(),
        ask_again: false,
        told: JoinSet::new(),
        dirty: true,
    };
    on.painter.paint(Terminal::opening().to_owned());
    loop {
        on.draw();
        let key = tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(Exit::Done),
            _ = interrupt.recv() => return Ok(Exit::Done),
            _ = hangup.recv() => return Ok(Exit::Done),
            key = next_key(&mut bytes, &mut keys) => match key {
                Some(key) => key,
                None => return Ok(Exit::Done),
            },
            _ = resized.recv() => { on.anew(); None }
            _ = continued.recv() => { on.terminal.make_raw()?; on.anew(); None }
            free = on.painter.freed(), if !on.painter.is_free() => {
                if !free {
                    return Ok(Exit::Done);
                }
                None
            }
            Some(answer) = on.asked.join_next() => { on.answered(answer?); None }
            Some(told) = on.told.join_next() => { on.acknowledged(told?); None }
            _ = ticks.tick() => { on.ask(); None }
        };
        if let Some(key) = key
            && on.key(key)
        {
            return Ok(Exit::Done);
        }
    }
}

/// The next key: `None` when the terminal is gone, nothing inside when bytes were none. Cancel-safe: a
/// byte that was taken is in `keys`.
async fn next_key(bytes: &mut mpsc::Receiver<u8>, keys: &mut Keys) -> Option<Option<Key>> {
    let waits = keys.waits();
    tokio::select! {
        biased;
        byte = bytes.recv() => Some(keys.take(byte?)),
        () = tokio::time::sleep(ESCAPE), if waits => Some(keys.idle()),
    }
}

impl Watching<'_> {
    /// Sends what changed, if the line is free; what is not sent now is in the next screen.
    fn draw(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        if !self.painter.is_free() {
            self.dirty = true;
            return;
        }
        self.view.room = page::room(self.size.0);
        let lines = page::screen(&self.view, &self.seen, self.start.elapsed(), self.size);
        self.painter.paint(self.screen.show(&lines));
    }

    /// Everything is drawn anew, in the size that the terminal has now.
    fn anew(&mut self) {
        self.size = terminal::size();
        self.screen = Screen::new(self.terminal.skill, self.size.0, self.size.1);
        self.view.room = page::room(self.size.0);
        self.dirty = true;
        self.ask();
    }

    fn ask(&mut self) {
        self.dirty = true;
        if !self.asked.is_empty() {
            self.ask_again = true;
            return;
        }
        let (dir, page) = (self.state_dir.clone(), self.view.page());
        self.asked
            .spawn_blocking(move || control::watch(&dir, page));
    }

    fn answered(&mut self, answer: anyhow::Result<WatchNow>) {
        self.dirty = true;
        match answer {
            Ok(now) => self.seen.answered(self.start.elapsed(), now),
            Err(_) if lock::owner(&self.state_dir).is_none() => {
                let dir = self.state_dir.display();
                self.seen
                    .failed(format!("no gateway runs on {dir} any more"));
            }
            Err(error) => self.seen.failed(format!("{error:#}")),
        }
        if std::mem::take(&mut self.ask_again) | self.view.settle(&self.seen) {
            self.ask();
        }
    }

    /// Does what a key asks for; whether that is to end.
    fn key(&mut self, key: Key) -> bool {
        self.dirty = true;
        match self.view.key(key, &self.seen) {
            Wish::Quit => return true,
            Wish::Draw => {}
            Wish::Ask => self.ask(),
            Wish::Redraw => self.anew(),
            Wish::Acknowledge(name) => {
                let (dir, by) = (self.state_dir.clone(), whoami());
                self.told.spawn_blocking(move || {
                    let what = What::Ack {
                        name: name.clone(),
                        by,
                    };
                    (name, control::alarms(&dir, what))
                });
            }
        }
        false
    }

    fn acknowledged(&mut self, (name, told): (String, anyhow::Result<AlarmsNow>)) {
        self.view.note = Some(match told {
            Ok(AlarmsNow { error: None, .. }) => format!("{name} is acknowledged"),
            Ok(AlarmsNow {
                error: Some(why), ..
            }) => format!("{name}: {why}"),
            Err(error) => format!("{name}: {error:#}"),
        });
        self.ask();
    }
}

#[cfg(test)]
mod tests;

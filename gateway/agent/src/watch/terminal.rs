//! The terminal: raw while we have it, as it was afterwards, however we end.
//!
//! Standard input is read by a thread of its own, and standard output written by another: over a serial
//! line a screen takes seconds, and a stopped one (XOFF, a cable pulled) takes none at all. There is
//! never more than one screen on its way; what changes meanwhile is in the next one.
//! Flow control, speed and character size stay as they were: a console on 7E1 with XON/XOFF goes on.

use super::grid::Skill;
use anyhow::{Context, bail};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    Action, InputModes, OptionalActions, Termios, isatty, tcflow, tcgetattr, tcgetwinsize,
    tcsetattr,
};
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError, mpsc as blocking};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a terminal is taken for that does not tell its size: a serial console.
const USUAL: (usize, usize) = (24, 80);
/// A size beyond this is nonsense, or would cost memory for nothing.
const LARGEST: (usize, usize) = (500, 1000);
/// Lines of so many bits a second or fewer are slow.
const SLOW: u32 = 19_200;
/// What we wait for a slow line to take our last words.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Bytes of keys that may wait.
const KEY_CAPACITY: usize = 256;

/// The terminal as it was, while it is ours.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

#[derive(Debug, Clone)]
struct Before {
    modes: Termios,
    /// It was given a screen of its own.
    alternate: bool,
}

/// A terminal that is ours. Gives it back when dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) skill: Skill,
    pub(super) is_slow: bool,
}

/// Whether standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    isatty(stdout())
}

/// Rows and columns.
pub(super) fn size() -> (usize, usize) {
    let told = tcgetwinsize(stdout()).ok();
    let told = told.map(|size| (usize::from(size.ws_row), usize::from(size.ws_col)));
    let given = |name| std::env::var(name).ok()?.parse().ok();
    let (rows, columns) = told
        .filter(|(rows, columns)| *rows > 0 && *columns > 0)
        .unwrap_or((
            given("LINES").unwrap_or(USUAL.0),
            given("COLUMNS").unwrap_or(USUAL.1),
        ));
    (rows.clamp(1, LARGEST.0), columns.clamp(1, LARGEST.1))
}

/// Whether the locale takes UTF-8.
fn locale_is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"];
    let mut set = set.into_iter().filter_map(|name| std::env::var(name).ok());
    let locale = set.find(|value| !value.is_empty()).unwrap_or_default();
    let locale = locale.to_ascii_uppercase();
    locale.contains("UTF-8") || locale.contains("UTF8")
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When there is none, or it cannot move its cursor.
    pub(super) fn take(ascii: bool) -> anyhow::Result<Self> {
        if !isatty(stdin()) || !isatty(stdout()) {
            bail!("this is no terminal; `fogline-gateway watch --once` prints once and ends");
        }
        let name = std::env::var("TERM").unwrap_or_default();
        if name == "dumb" {
            bail!(
                "TERM=dumb cannot move its cursor; use --once, or say which terminal it is: TERM=vt100"
            );
        }
        // Terminals in a window have a second screen; a VT100 has one, and keeps what we leave on it.
        let windows = [
            "xterm",
            "screen",
            "tmux",
            "rxvt",
            "alacritty",
            "foot",
            "konsole",
        ];
        let alternate = windows.iter().any(|known| name.starts_with(known));
        let colours = alternate || name.starts_with("linux") || name.contains("color");
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let modes = tcgetattr(stdin()).context("the terminal does not tell its settings")?;
        let is_slow = modes.output_speed() <= SLOW && modes.output_speed() > 0;
        *lock() = Some(Before { modes, alternate });
        give_back_on_panic();
        let terminal = Self {
            skill: Skill {
                utf8: !ascii && locale_is_utf8(),
                colour: colours && !forbidden,
            },
            is_slow,
        };
        terminal.make_raw()?;
        Ok(terminal)
    }

    /// Takes it again, after somebody else had it (the shell, while we were stopped).
    pub(super) fn make_raw(&self) -> anyhow::Result<()> {
        let Some(before) = lock().clone() else {
            return Ok(());
        };
        let mut raw = before.modes.clone();
        raw.make_raw();
        raw.control_modes = before.modes.control_modes;
        let flow = InputModes::IXON | InputModes::IXOFF | InputModes::IXANY;
        raw.input_modes |= before.modes.input_modes & flow;
        tcsetattr(stdin(), OptionalActions::Now, &raw).context("the terminal stays as it is")
    }

    /// What comes before the first screen. Terminals pass over what they do not know.
    pub(super) fn opening() -> &'static str {
        match lock().as_ref() {
            Some(before) if before.alternate => "\x1b[?1049h\x1b[?25l",
            _ => "\x1b[?25l",
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Before>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the terminal back, once. What a stopped line does not take is not waited for.
fn give_back() {
    let Some(before) = lock().take() else {
        return;
    };
    let _not_stopped = tcflow(stdout(), Action::OOn);
    let words = if before.alternate {
        "\x1b[m\x1b[?25h\x1b[?1049l"
    } else {
        // To the last row, however many there are, and a fresh line below.
        "\x1b[m\x1b[?25h\x1b[999;1H\r\n"
    };
    let (done, said) = blocking::sync_channel(1);
    std::thread::spawn(move || {
        let mut out = std::io::stdout().lock();
        let _gone = out.write_all(words.as_bytes()).and_then(|()| out.flush());
        let _nobody_waits = done.send(());
    });
    let _late = said.recv_timeout(LAST_WORDS);
    let _gone = tcsetattr(stdin(), OptionalActions::Now, &before.modes);
}

/// A panic's message is read on a terminal that is itself again.
fn give_back_on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        usual(panic);
    }));
}

/// The bytes of keys, until the terminal is gone.
pub(super) fn keys() -> mpsc::Receiver<u8> {
    let (to, from) = mpsc::channel(KEY_CAPACITY);
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        let mut input = std::io::stdin().lock();
        loop {
            let count = match input.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            for byte in bytes.iter().take(count) {
                if to.blocking_send(*byte).is_err() {
                    return;
                }
            }
        }
    });
    from
}

/// Writes screens, one at a time.
#[derive(Debug)]
pub(super) struct Painter {
    to: blocking::SyncSender<String>,
    done: mpsc::Receiver<()>,
    free: bool,
}

impl Painter {
    pub(super) fn start() -> Self {
        let (to, from) = blocking::sync_channel::<String>(1);
        let (finished, done) = mpsc::channel(1);
        std::thread::spawn(move || {
            for text in from {
                let mut out = std::io::stdout().lock();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                drop(out);
                if written.is_err() || finished.blocking_send(()).is_err() {
                    return;
                }
            }
        });
        Self {
            to,
            done,
            free: true,
        }
    }

    pub(super) const fn is_free(&self) -> bool {
        self.free
    }

    /// Begins to write; only when it is free.
    pub(super) fn paint(&mut self, text: String) {
        if !text.is_empty() {
            self.free = self.to.try_send(text).is_err();
        }
    }

    /// Waits until it is free; `false` when the terminal is gone. Cancel-safe.
    pub(super) async fn freed(&mut self) -> bool {
        self.free = self.done.recv().await.is_some();
        self.free
    }
}

//! `watch` as somebody at a terminal has it: the real binary on a pseudo-terminal, and in a pipe.

use crate::meter::Meter;
use crate::plant::Plant;
use crate::rig::Rig;
use crate::{config, rules};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// A pseudo-terminal with a program on it.
struct Terminal {
    /// The side of the person.
    keys: File,
    /// Kept open, so that its settings can be looked at when the program has ended.
    other: File,
    heard: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn start(rig: &Rig, arguments: &[&str], term: &str) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
        // O_NOCTTY: a test that leads a session must not make it its own terminal.
        let mut how = File::options();
        how.read(true).write(true).custom_flags(0o400);
        let other = how.open(name).unwrap();
        resize(&person, 24, 80);
        let stdio = || Stdio::from(other.try_clone().unwrap());
        let mut command = rig.command(arguments);
        command
            .env("TERM", term)
            .env_remove("LC_ALL")
            .env("LANG", "C.UTF-8");
        let child = command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let keys = File::from(person);
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (mut from, to) = (keys.try_clone().unwrap(), Arc::clone(&heard));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                to.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(&bytes[..count]);
            }
        });
        Self {
            keys,
            other,
            heard,
            child,
        }
    }

    fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// What was sent since the last time.
    fn forget(&self) {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn wait(&self, rig: &Rig, text: &str) {
        rig.wait(text, || self.heard().contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.other).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([format!("-{name}"), pid])
            .status();
        assert!(sent.unwrap().success());
    }

    fn end(&mut self, rig: &Rig) -> Option<i32> {
        let mut ended = None;
        rig.wait("the view ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn resize(person: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(person, size).unwrap();
}

const WATCH: [&str; 3] = ["watch", "--config", "gateway.toml"];

#[test]
fn a_person_at_a_terminal_sees_the_points_and_gets_the_terminal_back() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let _gateway = rig.start();
    rig.wait("it reads", || rig.number("/pipeline/taken") > 4);

    let mut terminal = Terminal::start(&rig, &WATCH, "vt100");
    let before = terminal.modes();
    assert!(
        before.local_modes.contains(LocalModes::ECHO),
        "a terminal as shells have it"
    );
    terminal.wait(&rig, "m1/a");
    terminal.wait(&rig, "2 good");
    assert!(!terminal.modes().local_modes.contains(LocalModes::ICANON));
    assert!(
        !terminal.heard().contains("\x1b[?1049h"),
        "a VT100 has one screen"
    );
    terminal.press("2");
    terminal.wait(&rig, "plc");
    terminal.forget();
    terminal.press("\x0c");
    terminal.wait(&rig, "\x1b[2J");
    terminal.press("q");
    assert_eq!(terminal.end(&rig), Some(0));
    let after = terminal.modes();
    assert_eq!(after.local_modes, before.local_modes);
    assert_eq!(after.input_modes, before.input_modes);
    assert_eq!(after.output_modes, before.output_modes);
    assert!(
        terminal.heard().contains("\x1b[?25h"),
        "the cursor is seen again"
    );
}

#[test]
fn a_signal_ends_the_view_and_the_terminal_is_itself_again() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let _gateway = rig.start();
    for name in ["TERM", "INT", "HUP"] {
        let mut terminal = Terminal::start(&rig, &WATCH, "xterm-256color");
        let before = terminal.modes();
        terminal.wait(&rig, "m1/a");
        terminal.signal(name);
        assert_eq!(terminal.end(&rig), Some(0), "{name}");
        assert_eq!(terminal.modes().local_modes, before.local_modes, "{name}");
        terminal.wait(&rig, "\x1b[?1049l");
    }
}

#[test]
fn a_view_outlives_its_gateway_says_so_and_follows_a_new_size() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let mut gateway = rig.start();
    let mut terminal = Terminal::start(&rig, &WATCH, "vt220");
    terminal.wait(&rig, "m1/a");
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
    terminal.wait(&rig, "no gateway runs on state any more");
    let _again = rig.start();
    terminal.forget();
    resize(&OwnedFd::from(terminal.keys.try_clone().unwrap()), 40, 120);
    terminal.signal("WINCH");
    // The foot stands in the last row of the larger screen.
    terminal.wait(&rig, "\x1b[40;1HTab pane");
    terminal.wait(&rig, "2 good");
    terminal.press("\x03");
    assert_eq!(terminal.end(&rig), Some(0));
}

#[test]
fn an_alarm_is_acknowledged_with_a_key() {
    let (cellar, pump) = (Plant::start(), Plant::start());
    cellar.set(0, 342);
    let rig = Rig::new(&rules::config(&cellar, &pump, rules::OVERTEMP));
    let _gateway = rig.start();
    rig.wait("the alarm", || {
        rules::state(&rig).as_deref() == Some("raised")
    });
    let arguments = [&WATCH[..], &["--pane", "alarms"]].concat();
    let mut terminal = Terminal::start(&rig, &arguments, "vt100");
    terminal.wait(&rig, "overtemp: cellar hot");
    terminal.press("a");
    terminal.wait(&rig, "overtemp is acknowledged");
    rig.wait("it is", || {
        rules::state(&rig).as_deref() == Some("acknowledged")
    });
    terminal.press("q");
    assert_eq!(terminal.end(&rig), Some(0));
}

#[test]
fn once_prints_what_a_pipe_can_use_and_a_pipe_is_no_terminal() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let _gateway = rig.start();
    rig.wait("it reads", || rig.number("/pipeline/taken") > 4);
    let once = rig.output(&[&WATCH[..], &["--once"]].concat());
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    let text = String::from_utf8(once.stdout).unwrap();
    assert!(!text.contains('\x1b'), "{text:?}");
    let point = text.lines().find(|line| line.starts_with("m1/a")).unwrap();
    assert!(point.contains("good"), "{point}");
    assert!(
        text.contains("readings/s"),
        "rates, from two answers: {text}"
    );
    let one = rig.output(&[&WATCH[..], &["--once", "--filter", "*/b"]].concat());
    let text = String::from_utf8(one.stdout).unwrap();
    assert!(text.contains("m1/b") && !text.contains("m1/a"), "{text}");
    let refused = rig.output(&WATCH);
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("--once"), "{why}");
}

#[test]
fn where_no_gateway_runs_the_view_says_what_to_do() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let output = rig.output(&WATCH);
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("no gateway runs on state"), "{text}");
    assert!(text.contains("fogline-gateway run"), "{text}");
}

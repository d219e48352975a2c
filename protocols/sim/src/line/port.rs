//! The thread of one line: owns the pseudo-terminal, waits for bytes and deadlines, moves bytes between
//! the terminal and the [`Core`]. No rule about time lives here.

use super::accuracy::Accuracy;
use super::pty::Pty;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a line that nobody has open is looked at: the kernel does not tell of an opening.
const LOOK: Duration = Duration::from_millis(10);
/// Requests to the thread that may wait; each is a person's or a test's word.
const WORDS: usize = 16;

/// What happens on a line, as a function of time. Pure: the thread gives it `now`, counted from the
/// port's start, and never the same moment backwards.
pub trait Core: Send + fmt::Debug {
    /// The client wrote these bytes; the line begins to carry them now at the soonest.
    fn written(&mut self, now: Duration, bytes: &[u8]);
    /// When [`Core::advance`] is to be called next.
    fn due(&self) -> Option<Duration>;
    /// Lets everything happen that is due at `now`; bytes that have reached the client go to `out`.
    fn advance(&mut self, now: Duration, out: &mut Vec<u8>);
    /// The client's speed is the line's, or not.
    fn tuned(&mut self, right: bool);
    /// A client has opened the port.
    fn opened(&mut self, now: Duration);
    /// The client has closed the port, or it was unplugged.
    fn closed(&mut self, now: Duration);
}

/// What there is to say about a port.
#[derive(Debug, Clone, Default)]
pub struct PortState {
    /// A client has it open.
    pub is_open: bool,
    /// It is plugged in.
    pub is_plugged: bool,
    /// Speed that the client has set, where it is not the line's.
    pub wrong_speed: Option<u32>,
    /// Bytes to the client that it did not take.
    pub overrun: u64,
    /// How late deadlines were met.
    pub accuracy: Accuracy,
}

/// Where a port's thread writes its state down.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<PortState>>);

impl Notes {
    fn change(&self, how: impl FnOnce(&mut PortState)) {
        how(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> PortState {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The port's thread is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line has stopped")]
pub struct Stopped;

#[derive(Debug)]
enum Word {
    Unplug(Duration),
    Stop,
}

/// A running line. Dropping it ends its thread and removes its link.
#[derive(Debug)]
pub struct Port {
    link: PathBuf,
    notes: Notes,
    words: SyncSender<Word>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Makes the terminal and the link to it, and lets `core` live on it. Where `speed` is given, a
    /// client that has set another one understands nothing and is not understood.
    ///
    /// # Errors
    /// Where the terminal, the link or the thread cannot be made.
    pub fn start(link: &Path, core: Box<dyn Core>, speed: Option<u32>) -> io::Result<Self> {
        let pty = Pty::make(link, speed)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = Arc::new(bell);
        let (words, heard) = sync_channel(WORDS);
        let notes = Notes::default();
        notes.change(|state| state.is_plugged = true);
        let mut line = Line {
            link: link.to_owned(),
            pty: Some(pty),
            core,
            speed,
            notes: notes.clone(),
            bell: Arc::clone(&bell),
            words: heard,
            origin: Instant::now(),
            is_open: false,
            back_at: Duration::MAX,
            out: Vec::new(),
        };
        let name = "line".to_owned();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || line.run())?;
        Ok(Self {
            link: link.to_owned(),
            notes,
            words,
            bell,
            thread: Some(thread),
        })
    }

    /// The link that a client opens.
    #[must_use]
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> PortState {
        self.notes.state()
    }

    /// Where the state is written down, for whoever shows it.
    #[must_use]
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Pulls the adapter out for a time: the terminal and its link are gone, then a new one is there.
    ///
    /// # Errors
    /// Where the thread has ended or too many such words wait already.
    pub fn unplug(&self, time: Duration) -> Result<(), Stopped> {
        self.say(Word::Unplug(time))
    }

    fn say(&self, word: Word) -> Result<(), Stopped> {
        self.words.try_send(word).map_err(|_| Stopped)?;
        rustix::io::write(&*self.bell, &1u64.to_ne_bytes()).map_err(|_| Stopped)?;
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let _ended_already = self.say(Word::Stop);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Line {
    link: PathBuf,
    pty: Option<Pty>,
    core: Box<dyn Core>,
    speed: Option<u32>,
    notes: Notes,
    bell: Arc<OwnedFd>,
    words: Receiver<Word>,
    origin: Instant,
    is_open: bool,
    /// When an unplugged adapter is back.
    back_at: Duration,
    out: Vec<u8>,
}

/// What the thread waited for.
#[derive(Debug, Clone, Copy, Default)]
struct Woken {
    readable: bool,
    hung_up: bool,
}

impl Line {
    fn run(&mut self) {
        // The default slack of 50 µs would be a third of a character at 115200 baud.
        let _kernel_without = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        loop {
            match self.words.try_recv() {
                Ok(Word::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                Ok(Word::Unplug(time)) => self.unplug(time),
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            self.plug_in();
            self.let_happen();
            let Ok(woken) = self.wait() else { return };
            self.look(woken);
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Lets the core go on, and hands its bytes to the client.
    fn let_happen(&mut self) {
        let now = self.now();
        let due = self.core.due();
        self.core.advance(now, &mut self.out);
        if let Some(due) = due.filter(|due| *due <= now) {
            self.notes.change(|state| state.accuracy.enter(now - due));
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let is_garbled = !self.is_tuned();
        if let Some(pty) = self.pty.as_ref().filter(|_| self.is_open) {
            if is_garbled {
                for byte in &mut self.out {
                    *byte = byte.rotate_left(3) ^ 0xa5;
                }
            }
            let taken = rustix::io::write(&pty.ours, &self.out).unwrap_or(0);
            let left = self.out.len().saturating_sub(taken);
            if left > 0 {
                self.notes.change(|state| state.overrun += left as u64);
            }
        }
        self.out.clear();
    }

    /// Waits for bytes, the bell or the next deadline.
    fn wait(&self) -> io::Result<Woken> {
        let now = self.now();
        let mut until = self.core.due().unwrap_or(Duration::MAX);
        if !self.is_open {
            until = until.min(now + LOOK);
        }
        let until = until.min(self.back_at);
        let patience = until.saturating_sub(now);
        let patience = Timespec::try_from(patience)
            .ok()
            .filter(|_| until < Duration::MAX);
        let mut waited = vec![PollFd::new(&*self.bell, PollFlags::IN)];
        // A terminal that nobody has open reports so at once, always: looked at, not waited for.
        if let Some(pty) = self.pty.as_ref().filter(|_| self.is_open) {
            waited.push(PollFd::new(&pty.ours, PollFlags::IN));
        }
        match poll(&mut waited, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let bell = waited.first().map_or(PollFlags::empty(), PollFd::revents);
        let terminal = waited.get(1).map_or(PollFlags::empty(), PollFd::revents);
        drop(waited);
        if bell.contains(PollFlags::IN) {
            let _counter = rustix::io::read(&*self.bell, &mut [0u8; 8]);
        }
        Ok(Woken {
            readable: terminal.contains(PollFlags::IN),
            hung_up: terminal.contains(PollFlags::HUP),
        })
    }

    fn look(&mut self, woken: Woken) {
        let now = self.now();
        if !self.is_open && self.is_opened() {
            self.is_open = true;
            self.notes.change(|state| state.is_open = true);
            self.core.opened(now);
            return;
        }
        if woken.readable {
            self.read(now);
        }
        if woken.hung_up && !woken.readable {
            self.close(now);
        }
    }

    fn is_opened(&self) -> bool {
        let Some(pty) = &self.pty else { return false };
        let mut looked = [PollFd::new(&pty.ours, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let polled = poll(&mut looked, Some(&at_once));
        let [terminal] = looked;
        polled.is_ok() && !terminal.revents().contains(PollFlags::HUP)
    }

    fn read(&mut self, now: Duration) {
        let Some(pty) = &mut self.pty else { return };
        let mut bytes = [0u8; 1024];
        let Some(got) = pty.ours.read(&mut bytes).ok().and_then(|n| bytes.get(..n)) else {
            return self.close(now);
        };
        let is_tuned = self.is_tuned();
        self.core.tuned(is_tuned);
        self.core.advance(now, &mut self.out);
        self.core.written(now, got);
        self.hand_over();
    }

    /// Whether the client's speed is the line's. It may change it at any time, and a client that only
    /// listens never writes: looked at whenever a byte goes either way.
    fn is_tuned(&self) -> bool {
        let (Some(speed), Some(pty)) = (self.speed, &self.pty) else {
            return true;
        };
        let wrong = pty.speed().filter(|found| *found != speed);
        self.notes.change(|state| state.wrong_speed = wrong);
        wrong.is_none()
    }

    fn close(&mut self, now: Duration) {
        if self.is_open {
            self.is_open = false;
            self.notes.change(|state| state.is_open = false);
            self.core.closed(now);
        }
    }

    fn unplug(&mut self, time: Duration) {
        let now = self.now();
        self.close(now);
        self.pty = None;
        self.back_at = now.saturating_add(time);
        self.notes.change(|state| state.is_plugged = false);
    }

    /// Plugs an unplugged adapter in again when it is time; where that fails, tries again a little later.
    fn plug_in(&mut self) {
        let now = self.now();
        if now < self.back_at {
            return;
        }
        match Pty::make(&self.link, self.speed) {
            Ok(pty) => {
                self.pty = Some(pty);
                self.back_at = Duration::MAX;
                self.notes.change(|state| state.is_plugged = true);
            }
            Err(_) => self.back_at = now + Duration::from_secs(1),
        }
    }
}

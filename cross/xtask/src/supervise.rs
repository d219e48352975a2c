//! One command under a deadline: what it says goes on to our own output and is kept for the summary;
//! when its time is up, everything it started is ended.
//!
//! A test that hangs must not take the whole run with it, and what it said must not be lost. Whatever a
//! command leaves behind is ours to end: orphans come to this process, not to init.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, set_child_subreaper};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of output kept of one stage; the oldest lines go first.
const KEPT: usize = 16 << 20;
/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long what was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(15);
/// How long the output may stay open after its command ended: somebody else holds on to it.
const LAST_WORDS: Duration = Duration::from_secs(3);

thread_local! {
    static CURRENT: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// The stage that is running.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    until: Instant,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

/// The stage that this thread runs, if it runs one.
pub(crate) fn current() -> Option<Watch> {
    CURRENT.with_borrow(Clone::clone)
}

/// Runs `work`; its commands have until `until` together. Gives what they said beside how it ended.
pub(crate) fn within(
    until: Instant,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> (anyhow::Result<()>, Vec<String>) {
    let watch = Watch {
        until,
        kept: Arc::default(),
    };
    set(Some(watch.clone()));
    let done = work();
    set(None);
    let mut kept = watch.kept.lock().unwrap_or_else(PoisonError::into_inner);
    (done, std::mem::take(&mut kept.lines).into())
}

fn set(watch: Option<Watch>) {
    CURRENT.set(watch);
}

impl Watch {
    /// Runs commands side by side until all have ended; an error where one cannot be started or their time
    /// was up.
    pub(crate) fn run(&self, commands: &mut [&mut Command]) -> anyhow::Result<Vec<ExitStatus>> {
        set_child_subreaper(Some(rustix::process::getpid())).context("adopting orphans")?;
        let mut children = Vec::new();
        let mut readers = Vec::new();
        let ended = (|| {
            for command in commands {
                let mut child = command
                    // A page of frames hides the one line that says what failed.
                    .env("RUST_BACKTRACE", "0")
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .with_context(|| format!("starting {command:?}"))?;
                let out = child.stdout.take();
                readers.extend(out.map(|pipe| self.pass_on(pipe, std::io::stdout())));
                let err = child.stderr.take();
                readers.extend(err.map(|pipe| self.pass_on(pipe, std::io::stderr())));
                children.push(child);
            }
            self.wait(&mut children)
        })();
        end_all_descendants();
        let patience = Instant::now() + LAST_WORDS;
        for reader in readers {
            while !reader.is_finished() && Instant::now() < patience {
                pause();
            }
        }
        ended
    }

    fn wait(&self, children: &mut [Child]) -> anyhow::Result<Vec<ExitStatus>> {
        let begun = Instant::now();
        loop {
            let mut ended = Vec::new();
            for child in children.iter_mut() {
                ended.extend(child.try_wait()?);
            }
            if ended.len() == children.len() {
                return Ok(ended);
            }
            if Instant::now() >= self.until {
                end_all_descendants();
                for child in children {
                    child.kill()?;
                    child.wait()?;
                }
                anyhow::bail!("it hung: no end after {:.0?}", begun.elapsed());
            }
            pause();
        }
    }

    fn pass_on(
        &self,
        pipe: impl Read + Send + 'static,
        mut to: impl Write + Send + 'static,
    ) -> JoinHandle<()> {
        let kept = Arc::clone(&self.kept);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe
                .read_until(b'\n', &mut line)
                .is_ok_and(|bytes| bytes > 0)
            {
                // Nobody listens any more: it is kept all the same.
                let _gone = to.write_all(&line).and_then(|()| to.flush());
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(&String::from_utf8_lossy(&line));
                line.clear();
            }
        })
    }
}

impl Kept {
    fn add(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > KEPT
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tool with nothing else to do, between two looks at its child"
)]
fn pause() {
    std::thread::sleep(LOOK);
}

/// Asks whatever descends from this process to end, and kills what does not.
pub(crate) fn end_all_descendants() {
    let patience = Instant::now() + GRACE;
    for pid in descendants() {
        let _gone = kill_process(pid, Signal::TERM);
    }
    loop {
        let left = descendants();
        if left.is_empty() {
            return;
        }
        if Instant::now() >= patience {
            for pid in left {
                let _gone = kill_process(pid, Signal::KILL);
            }
            return;
        }
        pause();
    }
}

/// Running processes whose parent, or a parent of it, is this one.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let status = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some((parent, pid)) = running(&status) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        let of = children.remove(&parent).unwrap_or_default();
        found.extend(of.iter().filter_map(|pid| Pid::from_raw(*pid)));
        parents.extend(of);
    }
    found
}

/// Parent and id from a line of `/proc/<pid>/stat`; none of a process that has ended.
fn running(stat: &str) -> Option<(i32, i32)> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    // The name may hold anything, also spaces and brackets.
    let (state, rest) = stat.rsplit_once(") ")?.1.split_once(' ')?;
    let parent = rest.split_once(' ')?.0.parse().ok()?;
    (state != "Z").then_some((parent, pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// One test: what it ends is everything that this process started.
    #[test]
    fn a_command_is_heard_and_one_that_hangs_is_ended_with_all_it_started() {
        let minute = Duration::from_secs(60);
        let (done, said) = within(Instant::now() + minute, || {
            let watch = current().unwrap();
            let ended =
                watch.run(&mut [&mut shell("echo out; exit 3"), &mut shell("echo err >&2")])?;
            let codes: Vec<_> = ended.iter().map(ExitStatus::code).collect();
            assert_eq!(codes, [Some(3), Some(0)]);
            Ok(())
        });
        done.unwrap();
        let mut said = said;
        said.sort();
        assert_eq!(said, ["err", "out"]);

        let begun = Instant::now();
        let (done, _) = within(begun + Duration::from_secs(1), || {
            let watch = current().unwrap();
            // In a group of its own, with its output closed, and its parent gone.
            let left = "(setsid sleep 3600 >/dev/null 2>&1 &) ; sleep 3600";
            watch.run(&mut [&mut shell(left)]).map(drop)
        });
        assert!(done.unwrap_err().to_string().contains("it hung"));
        assert!(begun.elapsed() < minute);
        assert!(descendants().is_empty());
        assert!(current().is_none());
    }

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_trap_and_the_dead_do_not_count() {
        assert_eq!(running("12 (a) b) S 7 12 12 0 -1"), Some((7, 12)));
        assert_eq!(running("12 (sh) Z 7 12 12 0 -1"), None);
        assert_eq!(running(""), None);
    }
}

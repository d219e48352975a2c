//! A bad machine on demand: runs a command while it stands still again and again, as a shared virtual
//! machine does.
//!
//! In a control group of its own the command and all it starts get no processor for a while, without a
//! signal: what came meanwhile is there when it goes on, as after a real pause. Where no such group can
//! be made (it takes root), everything is stopped by signals instead, which also interrupts what it
//! waited for: harsher than a real pause.

use crate::{step, supervise};
use anyhow::Context as _;
use rustix::process::{Signal, getpid, kill_process, set_child_subreaper};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long the machine runs between two pauses, milliseconds.
const RUNS: Range<u64> = 1000..4000;
/// How long it stands still, milliseconds.
const STANDS: Range<u64> = 300..2000;
/// How often the command is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// One millisecond of processor a second: less cannot be given.
const NEXT_TO_NOTHING: (u32, u32) = (1000, 1_000_000);
/// Who takes that millisecond: a loop on each of the machine's cores, two at least.
const BUSY: &str = "while :; do :; done";

/// Runs `command` to its end while the machine is bad in the way of `seed`, and as many loops as `hogs`
/// take what they can get beside it.
pub(crate) fn run(command: &[String], seed: u64, hogs: u32) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("which command?")?;
    set_child_subreaper(Some(getpid())).context("adopting orphans")?;
    let group = match Group::make() {
        Ok(group) => Some(group),
        Err(why) => {
            step::say(&format!("no control group ({why:#}): pausing by signals"));
            None
        }
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let others: Vec<Loop> = (0..hogs).filter_map(|_| Loop::start(None)).collect();
    let mut child = match &group {
        Some(group) => group.enter(program, arguments).spawn(),
        None => Command::new(program).args(arguments).spawn(),
    }
    .with_context(|| format!("starting {program}"))?;
    let (mut pauses, mut stood) = (0u32, Duration::ZERO);
    let status = loop {
        if let Some(status) = wait(&mut child, Duration::from_millis(random.u64(RUNS)))? {
            break status;
        }
        let pause = Duration::from_millis(random.u64(STANDS));
        match &group {
            Some(group) => group.stand_still(pause)?,
            None => stop_for(pause, &others),
        }
        pauses += 1;
        stood += pause;
    };
    drop(others);
    supervise::end_all_descendants();
    step::say(&format!("stood still {pauses} times, for {stood:.1?}"));
    anyhow::ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

fn wait(child: &mut Child, time: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let until = Instant::now() + time;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= until {
            return Ok(status);
        }
        nap(LOOK);
    }
}

/// Stops everything the command started; its parents first, so that nobody starts more meanwhile.
fn stop_for(pause: Duration, spared: &[Loop]) {
    let ours = supervise::descendants();
    let ours = ours
        .iter()
        .filter(|pid| !spared.iter().any(|one| one.is(**pid)));
    for pid in ours.clone() {
        let _gone = kill_process(*pid, Signal::STOP);
    }
    nap(pause);
    for pid in ours {
        let _gone = kill_process(*pid, Signal::CONT);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tool that does nothing but wait"
)]
fn nap(time: Duration) {
    std::thread::sleep(time);
}

/// A busy loop; ends with this value.
struct Loop(Child);

impl Loop {
    fn start(group: Option<&Group>) -> Option<Self> {
        let arguments = ["-c".to_owned(), BUSY.to_owned()];
        let mut command = match group {
            Some(group) => group.enter("sh", &arguments),
            None => {
                let mut command = Command::new("sh");
                command.args(&arguments);
                command
            }
        };
        command.spawn().ok().map(Self)
    }

    fn is(&self, pid: rustix::process::Pid) -> bool {
        i64::from(pid.as_raw_nonzero().get()) == i64::from(self.0.id())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A control group of ours; gone with this value.
struct Group {
    folder: PathBuf,
    /// Version 2 of the kernel's interface.
    unified: bool,
}

impl Group {
    fn make() -> anyhow::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("fogline-stall-{}", std::process::id());
        let unified = root.join("cgroup.controllers").exists();
        let folder = if unified {
            std::fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
            root.join(name)
        } else {
            root.join("cpu").join(name)
        };
        std::fs::create_dir(&folder)?;
        let group = Self { folder, unified };
        group.allow(None)?;
        Ok(group)
    }

    /// A command that enters the group before it becomes `program`.
    fn enter(&self, program: &str, arguments: &[String]) -> Command {
        let list = self.folder.join("cgroup.procs");
        let script = "echo $$ > \"$0\" && exec \"$@\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(list)
            .arg(program)
            .args(arguments);
        command
    }

    /// Gives the group microseconds of processor per period, or all it wants.
    fn allow(&self, limit: Option<(u32, u32)>) -> anyhow::Result<()> {
        let write = |file: &str, text: String| std::fs::write(self.folder.join(file), text);
        let (quota, period) =
            limit.map_or((None, 100_000), |(quota, period)| (Some(quota), period));
        if self.unified {
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            write("cpu.max", format!("{quota} {period}"))?;
        } else {
            let quota = quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
            // No order of the two suits every change: the quota must fit the period at each step.
            write("cpu.cfs_quota_us", "-1".to_owned())?;
            write("cpu.cfs_period_us", period.to_string())?;
            write("cpu.cfs_quota_us", quota)?;
        }
        Ok(())
    }

    fn stand_still(&self, pause: Duration) -> anyhow::Result<()> {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        let eaters: Vec<Loop> = (0..cores).filter_map(|_| Loop::start(Some(self))).collect();
        self.allow(Some(NEXT_TO_NOTHING))?;
        nap(pause);
        self.allow(None)?;
        drop(eaters);
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty by now; where somebody is still in it, it stays for an administrator to see.
        let _busy = std::fs::remove_dir(&self.folder);
    }
}

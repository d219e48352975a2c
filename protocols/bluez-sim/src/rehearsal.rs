//! Tests of programs that find the system bus through the environment.
//!
//! The environment of a running process cannot be changed soundly while it has threads, and every test
//! binary has. So the test runs itself again as a child process, alone, with the address of a private bus
//! in its environment. In a test it reads as if nothing had happened:
//!
//! ```no_run
//! // #[test]
//! fn beacon_is_heard() {
//!     protocols_bluez_sim::on_private_bus!(async |address| {
//!         // btleplug finds this bus here; so does BlueZ::start(&address, …).
//!     });
//! }
//! ```

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::bus::{BUS_VARIABLE, Bus};

/// Set in the child: the name of the test that runs there.
const CHILD_VARIABLE: &str = "FOGLINE_BLUEZ_SIM_TEST";

/// A test that takes longer hangs: its own deadlines are at most a minute each.
const TEST_LIMIT: Duration = Duration::from_secs(300);

/// So much of what a failed child printed is repeated, bytes from the end.
const OUTPUT_SHOWN: usize = 32 * 1024;

/// Runs an async closure `async |address: String| { … }` as the body of the surrounding `#[test]`, in a
/// process whose system bus is a private one. The closure runs on a current-thread runtime.
#[macro_export]
macro_rules! on_private_bus {
    ($body:expr) => {{
        fn here() {}
        $crate::run_on_private_bus(
            ::std::any::type_name_of_val(&here),
            $crate::on_runtime($body),
        )
    }};
}

/// Makes a plain closure of an async one, for [`run_on_private_bus`].
///
/// # Panics
/// The closure does, when the runtime cannot be built.
pub fn on_runtime(body: impl AsyncFnOnce(String)) -> impl FnOnce(String) {
    move |address| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs a few file descriptors only")
            .block_on(body(address));
    }
}

/// Runs `body` in a process whose system bus is a private one, whose address it is given. `place` is the
/// path of any item declared in the body of the surrounding test, as [`std::any::type_name`] tells it:
/// [`on_private_bus!`](crate::on_private_bus) fills it in.
///
/// # Panics
/// When the bus cannot be started, and when the body panics, hangs, or was not found as a test. A test
/// marked `#[should_panic]` cannot use it: the child passes when it panics.
pub fn run_on_private_bus(place: &str, body: impl FnOnce(String)) {
    let test = test_name(place);
    if std::env::var(CHILD_VARIABLE).is_ok_and(|name| name == test) {
        end_with_the_parent();
        let address = std::env::var(BUS_VARIABLE).expect("set together with the test's name");
        return body(address);
    }
    if let Err(complaint) = run_child(&test) {
        complain(&complaint);
    }
}

#[expect(clippy::panic, reason = "this is how a test fails")]
fn complain(complaint: &str) -> ! {
    panic!("{complaint}")
}

/// The name libtest knows the test by: without the crate and without the item inside it.
fn test_name(place: &str) -> String {
    let inside: Vec<&str> = place
        .split("::")
        .skip(1)
        .filter(|part| !part.starts_with("{{"))
        .collect();
    inside
        .split_last()
        .map_or_else(String::new, |(_, rest)| rest.join("::"))
}

fn run_child(test: &str) -> Result<(), String> {
    let bus = Bus::start().map_err(|e| format!("no private bus for {test}: {e}"))?;
    let (status, output) = child_ended(test, bus.address())
        .map_err(|e| format!("running {test} again as a child: {e}"))?;
    let shown = output.len().saturating_sub(OUTPUT_SHOWN);
    let told = String::from_utf8_lossy(output.get(shown..).unwrap_or_default()).into_owned();
    match status {
        None => Err(format!(
            "{test} ran for {TEST_LIMIT:?} and was ended\n{told}"
        )),
        Some(status) if !status.success() => Err(format!("{test} failed in its child\n{told}")),
        // A name that fits no test makes libtest run none and call that a success.
        Some(_) if !told.contains("1 passed") => Err(format!(
            "{test} was not found by that name in its own binary\n{told}"
        )),
        Some(_) => Ok(()),
    }
}

fn child_ended(test: &str, address: &str) -> std::io::Result<(Option<ExitStatus>, Vec<u8>)> {
    let mut output = tempfile::tempfile()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(CHILD_VARIABLE, test)
        .env(BUS_VARIABLE, address)
        // Held open until the child is done: its end tells the child that we are gone.
        .stdin(Stdio::piped())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()?;
    let status = wait(&mut child)?;
    Ok((status, read_back(&mut output)?))
}

/// Waits for the child's end, and ends it when that takes too long.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > TEST_LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn read_back(output: &mut File) -> std::io::Result<Vec<u8>> {
    output.rewind()?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The parent holds the other end of standard input: when it is gone, by whatever means, nobody waits for
/// this process any more.
#[expect(
    clippy::exit,
    reason = "an orphaned test must not outlive the test run"
)]
fn end_with_the_parent() {
    let watch = std::thread::Builder::new()
        .name("orphan-watch".into())
        .spawn(|| {
            let mut nothing = [0_u8; 1];
            loop {
                match std::io::stdin().lock().read(&mut nothing) {
                    Ok(0) | Err(_) => std::process::exit(3),
                    Ok(_) => {}
                }
            }
        });
    // Without the watch the test still runs; it would only outlive a killed test run.
    drop(watch);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_name_is_what_libtest_calls_it() {
        assert_eq!(
            test_name("it::faults::adapter_gone::here"),
            "faults::adapter_gone"
        );
        assert_eq!(test_name("it::alone::here"), "alone");
        assert_eq!(test_name("it::alone::{{closure}}::here"), "alone");
    }

    #[test]
    fn body_runs_once_with_the_bus_in_its_environment() {
        crate::on_private_bus!(async |address: String| {
            assert_eq!(std::env::var(BUS_VARIABLE).unwrap(), address);
        });
    }

    /// Only ever run by the test below.
    #[test]
    #[ignore = "fails on purpose"]
    fn fails_in_its_child() {
        if std::env::var(CHILD_VARIABLE).is_ok() {
            on_runtime(async |_| panic!("the body says no"))(String::new());
        }
    }

    #[test]
    fn a_failing_body_fails_the_test_and_is_quoted() {
        let complaint = run_child("rehearsal::tests::fails_in_its_child").unwrap_err();
        assert!(complaint.contains("the body says no"), "{complaint}");
    }

    #[test]
    #[should_panic(expected = "was not found by that name")]
    fn a_name_that_is_no_test_fails() {
        run_on_private_bus("x::no_such_test::here", |_| {});
    }
}

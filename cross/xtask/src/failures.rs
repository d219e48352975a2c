//! What failed, from the output of a stage: of the test runner the failing tests' own words, of
//! everything else its last lines. Short enough to stand at the end of a log. Pure.

/// Lines shown of a stage that is no test run.
const MOST_LINES: usize = 25;
/// Lines shown of one failing test: its first ones say what, and where; the last may say why.
const FIRST_WORDS: usize = 8;
const LAST_WORDS: usize = 4;

/// What to show of a stage that failed.
pub(crate) fn of(output: &[String]) -> Vec<String> {
    let tests = failing_tests(output);
    if tests.is_empty() {
        let errors: Vec<&String> = output.iter().filter(|line| is_error(line)).collect();
        let last = output.get(output.len().saturating_sub(MOST_LINES)..);
        let last = last.unwrap_or_default();
        // An error that scrolled away is named above the last lines.
        let before = errors.iter().filter(|line| !last.contains(line));
        let before = before.take(MOST_LINES).map(|line| (*line).clone());
        return before.chain(last.iter().cloned()).collect();
    }
    // Names first: whatever room there is, all of them should be seen.
    let mut shown: Vec<String> = tests
        .iter()
        .map(|test| format!("{} ({})", test.name, test.binary))
        .collect();
    for test in &tests {
        shown.push(format!("{}:", test.name));
        let left_out = test.words.len().saturating_sub(FIRST_WORDS + LAST_WORDS);
        let first = test.words.iter().take(FIRST_WORDS);
        shown.extend(first.map(|line| format!("  {line}")));
        if left_out > 0 {
            shown.push(format!("  … {left_out} lines left out"));
        }
        let last = test.words.iter().skip(FIRST_WORDS + left_out);
        shown.extend(last.map(|line| format!("  {line}")));
    }
    shown
}

/// A line in which a compiler, a tool or the rig says that something is wrong.
fn is_error(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("error") || line.starts_with("FAILED") || line.starts_with("not ok")
}

/// One failing test.
struct Test<'a> {
    name: &'a str,
    /// The test binary, as the runner announced it.
    binary: &'a str,
    words: Vec<&'a str>,
}

/// The sections `---- name stdout ----` of the runner's output.
fn failing_tests(output: &[String]) -> Vec<Test<'_>> {
    let mut tests: Vec<Test<'_>> = Vec::new();
    let (mut binary, mut inside) = ("", false);
    for line in output {
        let head = line.strip_prefix("---- ");
        let name = head.and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(name) = name {
            tests.push(Test {
                name,
                binary,
                words: Vec::new(),
            });
            inside = true;
        } else if let Some(announced) = announced(line) {
            binary = announced;
            inside = false;
        } else if line == "failures:" {
            inside = false;
        } else if inside
            && !line.trim().is_empty()
            && let Some(test) = tests.last_mut()
        {
            test.words.push(line);
        }
    }
    tests
}

/// The binary in `     Running tests/it/main.rs (target/debug/deps/it-0123)`, or the crate of doc tests.
fn announced(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let name = line
        .strip_prefix("Running ")
        .or_else(|| line.strip_prefix("Doc-tests "))?;
    let short = name.rsplit_once("/deps/").map(|(_, file)| file);
    Some(short.map_or(name, |file| file.trim_end_matches(')')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn of_a_test_run_the_failing_tests_and_their_words_are_shown_and_nothing_else() {
        let output = lines(
            "     Running unittests src/lib.rs (target/debug/deps/gateway_uplink-12ab)\n\
             test engine::works ... ok\n\
             test engine::waits ... FAILED\n\
             failures:\n\
             \n\
             ---- engine::waits stdout ----\n\
             \n\
             thread 'engine::waits' panicked at gateway/uplink/src/engine.rs:12:5:\n\
             never: connected\n\
             \n\
             failures:\n    engine::waits\n\
             test result: FAILED. 1 passed; 1 failed\n\
             error: test failed, to rerun pass `-p gateway-uplink --lib`",
        );
        let shown = of(&output);
        assert_eq!(
            shown,
            [
                "engine::waits (gateway_uplink-12ab)",
                "engine::waits:",
                "  thread 'engine::waits' panicked at gateway/uplink/src/engine.rs:12:5:",
                "  never: connected",
            ]
        );
    }

    #[test]
    fn of_anything_else_the_last_lines_are_shown_and_errors_that_came_before_them() {
        let mut output = lines("error[E0308]: mismatched types");
        output.extend((0..100).map(|n| format!("line {n}")));
        let shown = of(&output);
        assert_eq!(shown.len(), MOST_LINES + 1);
        assert_eq!(shown.first().unwrap(), "error[E0308]: mismatched types");
        assert_eq!(shown.last().unwrap(), "line 99");
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn many_failures_do_not_bury_each_other() {
        let mut output = Vec::new();
        for n in 0..20 {
            output.push(format!("---- t{n} stdout ----"));
            output.extend((0..100).map(|line| format!("word {line}")));
        }
        let shown = of(&output);
        assert!(
            shown.iter().take(20).all(|line| line.starts_with('t')),
            "{shown:?}"
        );
        assert_eq!(shown.last().unwrap(), "  word 99");
    }
}

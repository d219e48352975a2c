//! The code blocks of a guide, and the script that a block of commands becomes. `tests/rig` runs the
//! scripts; what can only be tried on a live cluster is looked at here.

use std::path::Path;

/// Before the commands: they stop at the first that fails, are shown as they run, and whatever was
/// left running by `&` is asked to end and waited for, however the block ends.
const BEFORE: &str = "set -eu
started=
stop() {
  code=$?
  trap - EXIT
  set +x
  [ -z \"$started\" ] || kill $started 2>/dev/null || :
  wait || :
  exit $code
}
trap stop EXIT
set -x
";

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What follows the fence: `sh`, `sh live`, `toml`, …
    pub kind: &'a str,
    /// Line of its first line in the guide.
    pub line: usize,
    /// What stands in it.
    pub text: &'a str,
}

impl<'a> Block<'a> {
    /// The file that the block is, if its first line names one: `# gateway.toml`.
    #[must_use]
    pub fn file(&self) -> Option<&'a str> {
        let name = self.text.lines().next()?.strip_prefix("# ")?;
        let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
        (is_plain && name.contains('.') && !name.contains(' ')).then_some(name)
    }

    /// The block as a script.
    #[must_use]
    pub fn script(&self) -> String {
        let mut script = BEFORE.to_owned();
        for line in self.text.lines() {
            script.push_str(line);
            script.push('\n');
            if runs_on(line) {
                script.push_str("started=\"$started $!\"\n");
            }
        }
        script
    }
}

/// Whether a line leaves something running: it ends with `&`, before a comment if there is one.
fn runs_on(line: &str) -> bool {
    let command = line.split(" #").next().unwrap_or(line).trim_end();
    command.ends_with('&') && !command.ends_with("&&")
}

/// The fenced blocks of a guide, in order.
pub fn of(guide: &str) -> impl Iterator<Item = Block<'_>> {
    let mut rest = guide;
    let mut line = 1;
    std::iter::from_fn(move || {
        loop {
            let (before, after) = rest.split_once("```")?;
            let (kind, body) = after.split_once('\n')?;
            let (text, behind) = body.split_once("```")?;
            let first = line + before.matches('\n').count() + 1;
            line = first + text.matches('\n').count();
            rest = behind;
            if before.is_empty() || before.ends_with('\n') {
                let kind = kind.trim();
                return Some(Block {
                    kind,
                    line: first,
                    text,
                });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const GUIDE: &str = "# Guide\n\n```sh\none\n```\ntext\n```toml\n# a.toml\nb = 1\n```\n\n```ini\n# /etc/x.conf\n```\n";

    #[test]
    fn blocks_are_found_with_their_kind_line_and_file() {
        let blocks: Vec<Block<'_>> = of(GUIDE).collect();
        let seen: Vec<_> = blocks
            .iter()
            .map(|block| (block.kind, block.line, block.file()))
            .collect();
        assert_eq!(
            seen,
            [
                ("sh", 4, None),
                ("toml", 8, Some("a.toml")),
                ("ini", 13, None)
            ]
        );
        assert_eq!(blocks[1].text, "# a.toml\nb = 1\n");
    }

    fn run(text: &str) -> std::process::Output {
        let block = Block {
            kind: "sh",
            line: 1,
            text,
        };
        let output = Command::new("sh").args(["-c", &block.script()]).output();
        output.unwrap()
    }

    #[test]
    fn what_runs_on_is_stopped_and_a_failed_command_fails_the_block() {
        let fine = run("sleep 600 &     # for long\necho done\n");
        assert!(fine.status.success(), "{fine:?}");
        assert_eq!(fine.stdout, b"done\n");
        let bad = run("sleep 600 &\nfalse\necho never\n");
        assert_eq!(bad.status.code(), Some(1));
        assert!(bad.stdout.is_empty());
        assert!(!runs_on("a && b"));
        assert!(!runs_on("a &&"));
    }
}

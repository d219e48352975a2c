//! Problems for people: the message, the place, the source line with the spot marked, what is
//! allowed and what was probably meant. Colour only where the caller says a terminal reads it.

use crate::problem::{Problem, Severity};
use std::fmt::Write as _;

/// The colours of one rendering; all empty for plain text.
struct Paint {
    error: &'static str,
    warning: &'static str,
    frame: &'static str,
    bold: &'static str,
    help: &'static str,
    off: &'static str,
}

const PLAIN: Paint = Paint {
    error: "",
    warning: "",
    frame: "",
    bold: "",
    help: "",
    off: "",
};

const COLOUR: Paint = Paint {
    error: "\x1b[1;31m",
    warning: "\x1b[1;33m",
    frame: "\x1b[34m",
    bold: "\x1b[1m",
    help: "\x1b[32m",
    off: "\x1b[0m",
};

/// All problems as text, with a last line that counts them; empty when there are none.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "writing to a String cannot fail")]
pub fn render(problems: &[Problem], colour: bool) -> String {
    let paint = if colour { COLOUR } else { PLAIN };
    let mut out = String::new();
    for problem in problems {
        one(&mut out, problem, &paint).expect("invariant: writing to a String cannot fail");
    }
    let count = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let parts: Vec<String> = [
        (count(Severity::Error), "error"),
        (count(Severity::Warning), "warning"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
    .collect();
    if !parts.is_empty() {
        out.push_str(&parts.join(", "));
        out.push('\n');
    }
    out
}

fn one(out: &mut String, problem: &Problem, paint: &Paint) -> std::fmt::Result {
    let Paint {
        frame,
        bold,
        help,
        off,
        ..
    } = paint;
    let (name, colour) = match problem.severity {
        Severity::Error => ("error", paint.error),
        Severity::Warning => ("warning", paint.warning),
    };
    writeln!(out, "{colour}{name}{off}{bold}: {}{off}", problem.message)?;
    let mut margin = 1;
    if let (Some(place), Some(at)) = (&problem.place, problem.position()) {
        let number = at.line.to_string();
        margin = number.len();
        let line = place.source.line(at.line);
        let path = place.source.path().display();
        let key = if place.key.is_empty() {
            String::new()
        } else {
            format!("  {}", place.key)
        };
        writeln!(
            out,
            "{:margin$}{frame}-->{off} {path}:{}:{}{key}",
            "", at.line, at.column
        )?;
        if !line.is_empty() {
            // Marks under the spot, at most to the end of its line; tabs keep their width.
            let indent: String = line
                .chars()
                .take(at.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let spot = place.source.text().get(place.span.clone()).unwrap_or("");
            let length = spot.lines().next().unwrap_or("").chars().count().max(1);
            writeln!(out, "{:margin$} {frame}|{off}", "")?;
            writeln!(out, "{frame}{number} |{off} {line}")?;
            let marks = "^".repeat(length);
            writeln!(
                out,
                "{:margin$} {frame}|{off} {indent}{colour}{marks}{off}",
                ""
            )?;
        }
    }
    if !problem.allowed.is_empty() {
        writeln!(
            out,
            "{:margin$} {frame}={off} allowed: {}",
            "", problem.allowed
        )?;
    }
    if let Some(suggestion) = &problem.suggestion {
        writeln!(
            out,
            "{:margin$} {frame}={off} {help}did you mean `{suggestion}`?{off}",
            ""
        )?;
    }
    writeln!(out)
}

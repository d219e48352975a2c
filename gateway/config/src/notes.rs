//! What all files of one configuration share while they are read: problems, and the files themselves.

use crate::problem::{Problem, Problems, Severity};
use crate::source::{Place, Source};
use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// How files are read: from disk, or from a saved copy.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

/// What all files of one configuration share while they are read.
pub(crate) struct Notes<'a> {
    read: ReadFile<'a>,
    sources: RefCell<Vec<Arc<Source>>>,
    problems: RefCell<Problems>,
    /// Whether unknown keys stop the configuration (`check`) or are ignored aloud (at boot).
    pub(crate) unknown_keys: Severity,
    /// Whether a bus with more to do than it has time stops the configuration.
    pub(crate) overload: Severity,
    /// A syntax error may have swallowed keys: then a missing key is not worth telling.
    pub(crate) syntax_broken: Cell<bool>,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(unknown_keys: Severity, overload: Severity, read: ReadFile<'a>) -> Self {
        Self {
            read,
            sources: RefCell::default(),
            problems: RefCell::default(),
            unknown_keys,
            overload,
            syntax_broken: Cell::new(false),
        }
    }

    /// Reads a file that the configuration consists of; `named` is where it is named.
    pub(crate) fn read_file(&self, path: &Path, named: Option<&Place>) -> Option<Arc<Source>> {
        match (self.read)(path) {
            Ok(text) => {
                let source = Source::new(path, text);
                self.sources.borrow_mut().push(Arc::clone(&source));
                Some(source)
            }
            Err(error) => {
                self.push(Problem {
                    severity: Severity::Error,
                    place: named.cloned(),
                    message: format!("cannot read {}: {error}", path.display()),
                    allowed: "a text file of at most 4MiB that this user may read".to_owned(),
                    suggestion: None,
                });
                None
            }
        }
    }

    /// Reads a secret from disk. It is not among the files that are kept: secrets stay where they are.
    pub(crate) fn read_secret(&self, path: &Path, named: &Place) -> Option<String> {
        const LARGEST: u64 = 4096;
        let read = || {
            let about = std::fs::metadata(path)?;
            if about.len() > LARGEST {
                return Err(std::io::Error::other("it is too large for a key"));
            }
            Ok((std::fs::read_to_string(path)?, about.mode()))
        };
        match read() {
            Ok((text, mode)) => {
                if mode & 0o077 != 0 {
                    let path = path.display();
                    let message = format!("others can read the secret in {path}");
                    let remedy = format!("chmod 600 {path}");
                    self.push(Problem::warning(named, message, remedy));
                }
                Some(text)
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                let allowed = "a file that this user may read";
                self.push_of_file(Problem::error(named, message, allowed));
                None
            }
        }
    }

    /// Notes what is wrong with a file beside the configuration: no reason not to come up.
    pub(crate) fn push_of_file(&self, problem: Problem) {
        self.push(Problem {
            severity: self.unknown_keys,
            ..problem
        });
    }

    /// The files that were read.
    pub(crate) fn sources(&self) -> Vec<Arc<Source>> {
        self.sources.borrow().clone()
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.borrow().has_errors()
    }

    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        self.problems.into_inner().into_sorted()
    }
}

/// Parses a document; what is wrong with the syntax is noted, what could be saved is returned.
pub(crate) fn parse<'i>(source: &'i Arc<Source>, notes: &Notes<'_>) -> DeTable<'i> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    for error in errors {
        notes.syntax_broken.set(true);
        let place = Place {
            source: Arc::clone(source),
            span: error.span().unwrap_or(0..0),
            key: String::new(),
        };
        notes.push(Problem::error(&place, error.message(), ""));
    }
    table.into_inner()
}

//! One declaration for each key of the configuration: name, kind of value, bounds, default, help.
//!
//! The reader takes its bounds, defaults and known names from here, and so do the reference
//! (`config reference`) and the editors' schema (`config schema`): they cannot disagree. A table is
//! read *as a section*: a key that the section does not declare is unknown, and (in debug builds) a
//! declared key that the reader never asks for is a defect.

pub(crate) mod kinds;

use crate::source::Located;
use kinds::{Form, Kind, Shape};

/// A key whose value is of kind `K`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<K: Shape> {
    pub(crate) name: &'static str,
    pub(crate) kind: K,
    help: &'static str,
    default: Option<K::Default>,
    /// What holds when nothing is said and there is no default to write.
    otherwise: &'static str,
    pub(crate) required: bool,
}

impl<K: Shape> Key<K> {
    pub(crate) const fn new(name: &'static str, kind: K, help: &'static str) -> Self
    where
        K: Copy,
    {
        Self {
            name,
            kind,
            help,
            default: None,
            otherwise: "",
            required: false,
        }
    }

    /// With the value that holds when nothing is said.
    pub(crate) const fn default(self, value: K::Default) -> Self
    where
        K: Copy,
    {
        Self {
            default: Some(value),
            ..self
        }
    }

    /// With words for what holds when nothing is said.
    pub(crate) const fn otherwise(self, what: &'static str) -> Self
    where
        K: Copy,
    {
        Self {
            otherwise: what,
            ..self
        }
    }

    /// The same key at a point, where it means this and what is not said is taken from the device.
    pub(crate) const fn of_point(self, help: &'static str) -> Self
    where
        K: Copy,
    {
        Self {
            help,
            default: None,
            otherwise: "what the device says",
            ..self
        }
    }

    /// It must be said.
    pub(crate) const fn required(self) -> Self
    where
        K: Copy,
    {
        Self {
            required: true,
            ..self
        }
    }
}

impl<K: Kind> Key<K> {
    /// What was found, or the declared default.
    pub(crate) fn value(&self, found: Option<Located<K::Value>>) -> K::Value {
        self.or_default(found.map(|found| found.value))
    }

    /// The same, the place being gone.
    pub(crate) fn or_default(&self, found: Option<K::Value>) -> K::Value {
        found.unwrap_or_else(|| {
            let default = self.default;
            let default = default.expect("invariant: a key read this way declares a default");
            self.kind.default_value(default)
        })
    }
}

/// A key without its type, as sections list it.
pub(crate) trait Declared: Sync {
    fn name(&self) -> &'static str;
    fn help(&self) -> &'static str;
    fn form(&self) -> Form;
    /// The default as a TOML value.
    fn default_text(&self) -> Option<String>;
    fn otherwise(&self) -> &'static str;
    fn is_required(&self) -> bool;
}

impl<K: Shape + Sync> Declared for Key<K>
where
    K::Default: Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn form(&self) -> Form {
        self.kind.form()
    }

    fn default_text(&self) -> Option<String> {
        self.default.map(|default| self.kind.show_default(default))
    }

    fn otherwise(&self) -> &'static str {
        self.otherwise
    }

    fn is_required(&self) -> bool {
        self.required
    }
}

/// Keys that belong together.
pub(crate) type Keys = &'static [&'static dyn Declared];

/// Keys that several sections share and that the reference tells once.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) help: &'static str,
    pub(crate) keys: Keys,
}

/// One kind of table: the keys it may hold.
pub(crate) struct Section {
    /// As the reference calls it: `[bus.NAME]` with its kind, `points = [ { … } ]` and so on.
    pub(crate) title: &'static str,
    pub(crate) help: &'static str,
    /// The word by which it is told from others in its place: `("kind", "modbus-tcp")`.
    pub(crate) tag: Option<(&'static str, &'static str)>,
    pub(crate) keys: Keys,
    pub(crate) groups: &'static [&'static Group],
    /// Small enough to be told within the table that holds it.
    pub(crate) inline: bool,
}

impl Section {
    /// A section of its own.
    pub(crate) const fn new(title: &'static str, help: &'static str, keys: Keys) -> Self {
        Self {
            title,
            help,
            tag: None,
            keys,
            groups: &[],
            inline: false,
        }
    }

    /// A small table that is told within the one that holds it.
    pub(crate) const fn inline(keys: Keys) -> Self {
        Self {
            inline: true,
            ..Self::new("", "", keys)
        }
    }

    /// With shared keys.
    pub(crate) const fn with(self, groups: &'static [&'static Group]) -> Self {
        Self { groups, ..self }
    }

    /// Told from its alternatives by `key = "word"`.
    pub(crate) const fn tagged(self, key: &'static str, word: &'static str) -> Self {
        Self {
            tag: Some((key, word)),
            ..self
        }
    }

    /// All its keys.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static dyn Declared> {
        let shared = self.groups.iter().flat_map(|group| group.keys);
        self.keys.iter().chain(shared).copied()
    }

    pub(crate) fn key(&self, name: &str) -> Option<&'static dyn Declared> {
        self.all().find(|key| key.name() == name)
    }
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

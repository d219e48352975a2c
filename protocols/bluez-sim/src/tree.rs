//! The objects that `org.bluez` shows: paths, interfaces, properties, and what changed since last asked.
//!
//! Every change of an object becomes the signal that a client must hear; nothing changes silently.

use std::collections::BTreeMap;

use crate::value::{Props, Value};

/// The interfaces of one object.
pub(crate) type Interfaces = BTreeMap<&'static str, Props>;

/// What a client is told by a signal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Added {
        path: String,
        interfaces: Interfaces,
    },
    Removed {
        path: String,
        interfaces: Vec<&'static str>,
    },
    Changed {
        path: String,
        interface: &'static str,
        now: Props,
        gone: Vec<&'static str>,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Tree {
    objects: BTreeMap<String, Interfaces>,
    changes: Vec<Change>,
}

impl Tree {
    pub(crate) fn add(&mut self, path: &str, interfaces: Interfaces) {
        self.changes.push(Change::Added {
            path: path.to_owned(),
            interfaces: interfaces.clone(),
        });
        self.objects.insert(path.to_owned(), interfaces);
    }

    /// Removes an object and all below it, leaves first, as bluetoothd does.
    pub(crate) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        let paths: Vec<String> = self
            .objects
            .range(path.to_owned()..)
            .map(|(found, _)| found)
            .take_while(|found| found.starts_with(path))
            .filter(|found| *found == path || found.starts_with(&below))
            .cloned()
            .collect();
        for path in paths.into_iter().rev() {
            if let Some(interfaces) = self.objects.remove(&path) {
                let interfaces = interfaces.into_keys().collect();
                self.changes.push(Change::Removed { path, interfaces });
            }
        }
    }

    /// Forgets everything without a word, as a process that ends.
    pub(crate) fn clear(&mut self) {
        self.objects.clear();
        self.changes.clear();
    }

    /// Sets properties and tells of them, also when they are as before: a notification with the same value
    /// is news too. Nothing when the object is not there.
    pub(crate) fn set(&mut self, path: &str, interface: &'static str, now: Props) {
        let Some(props) = self
            .objects
            .get_mut(path)
            .and_then(|i| i.get_mut(interface))
        else {
            return;
        };
        if now.is_empty() {
            return;
        }
        props.extend(now.clone());
        self.changes.push(Change::Changed {
            path: path.to_owned(),
            interface,
            now,
            gone: Vec::new(),
        });
    }

    /// Takes properties away; nothing when none of them is there.
    pub(crate) fn unset(&mut self, path: &str, interface: &'static str, names: &[&'static str]) {
        let Some(props) = self
            .objects
            .get_mut(path)
            .and_then(|i| i.get_mut(interface))
        else {
            return;
        };
        let gone: Vec<_> = names
            .iter()
            .copied()
            .filter(|n| props.remove(n).is_some())
            .collect();
        if !gone.is_empty() {
            let path = path.to_owned();
            self.changes.push(Change::Changed {
                path,
                interface,
                now: Props::new(),
                gone,
            });
        }
    }

    pub(crate) fn interfaces(&self, path: &str) -> Option<&Interfaces> {
        self.objects.get(path)
    }

    pub(crate) fn value(&self, path: &str, interface: &str, name: &str) -> Option<&Value> {
        self.objects.get(path)?.get(interface)?.get(name)
    }

    pub(crate) fn all(&self) -> &BTreeMap<String, Interfaces> {
        &self.objects
    }

    /// The names of the nodes directly below `path`, whether they are objects or only lead to some.
    pub(crate) fn children(&self, path: &str) -> Vec<&str> {
        let below = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let mut names: Vec<&str> = self
            .objects
            .range(below.clone()..)
            .map_while(|(found, _)| found.strip_prefix(&below))
            .filter_map(|rest| rest.split('/').next())
            .filter(|name| !name.is_empty())
            .collect();
        names.dedup();
        names
    }

    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            tree.add(
                path,
                Interfaces::from([("i", Props::from([("P", Value::Bool(false))]))]),
            );
        }
        tree.take_changes();
        tree
    }

    #[test]
    fn children_are_the_next_names_also_where_no_object_is() {
        let tree = tree(&[
            "/org/bluez",
            "/org/bluez/hci0",
            "/org/bluez/hci0/dev_1/s",
            "/org/bluez/hci1",
        ]);
        assert_eq!(tree.children("/"), ["org"]);
        assert_eq!(tree.children("/org/bluez"), ["hci0", "hci1"]);
        assert_eq!(tree.children("/org/bluez/hci0"), ["dev_1"]);
        assert!(tree.children("/org/bluez/hci1").is_empty());
    }

    #[test]
    fn removing_takes_what_is_below_and_nothing_beside() {
        let mut tree = tree(&[
            "/a/hci1",
            "/a/hci1/d",
            "/a/hci1/d/s",
            "/a/hci10",
            "/a/hci1x/d",
        ]);
        tree.remove("/a/hci1");
        let gone: Vec<_> = tree
            .take_changes()
            .into_iter()
            .map(|change| match change {
                Change::Removed { path, .. } => path,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(gone, ["/a/hci1/d/s", "/a/hci1/d", "/a/hci1"]);
        assert_eq!(tree.all().len(), 2);
    }

    #[test]
    fn setting_what_is_not_there_tells_nobody() {
        let mut tree = tree(&["/a"]);
        tree.set("/b", "i", Props::from([("P", Value::Bool(true))]));
        tree.unset("/a", "i", &["Q"]);
        assert!(tree.take_changes().is_empty());
    }
}

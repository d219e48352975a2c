//! The description of an object that clients can ask for: its interfaces, and the names of its child nodes,
//! which is how clients find services, characteristics and descriptors.

use std::fmt::Write as _;

use crate::tree::Tree;
use crate::value::Value;
use crate::world::{ADAPTER, CHARACTERISTIC, DESCRIPTOR, DEVICE};

/// A method: its name, the signatures of its arguments and of its answer.
type Method = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const STANDARD: [(&str, &[Method]); 2] = [
    (
        "org.freedesktop.DBus.Introspectable",
        &[("Introspect", &[], &["s"])],
    ),
    (
        "org.freedesktop.DBus.Properties",
        &[
            ("Get", &["s", "s"], &["v"]),
            ("GetAll", &["s"], &["a{sv}"]),
            ("Set", &["s", "s", "v"], &[]),
        ],
    ),
];
const MANAGER: (&str, &[Method]) = (
    "org.freedesktop.DBus.ObjectManager",
    &[("GetManagedObjects", &[], &["a{oa{sa{sv}}}"])],
);

fn methods(interface: &str) -> &'static [Method] {
    match interface {
        ADAPTER => &[
            ("StartDiscovery", &[], &[]),
            ("SetDiscoveryFilter", &["a{sv}"], &[]),
            ("StopDiscovery", &[], &[]),
            ("RemoveDevice", &["o"], &[]),
        ],
        DEVICE => &[("Connect", &[], &[]), ("Disconnect", &[], &[])],
        CHARACTERISTIC => &[
            ("ReadValue", &["a{sv}"], &["ay"]),
            ("WriteValue", &["ay", "a{sv}"], &[]),
            ("StartNotify", &[], &[]),
            ("StopNotify", &[], &[]),
        ],
        DESCRIPTOR => &[
            ("ReadValue", &["a{sv}"], &["ay"]),
            ("WriteValue", &["ay", "a{sv}"], &[]),
        ],
        _ => &[],
    }
}

/// The XML of `path`; `None` where neither an object nor a way to one is.
pub(crate) fn xml(tree: &Tree, path: &str) -> Option<String> {
    let children = tree.children(path);
    let interfaces = tree.interfaces(path);
    if children.is_empty() && interfaces.is_none() && path != "/" {
        return None;
    }
    let mut text = String::from(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n\
         \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
    );
    for (name, methods) in STANDARD {
        interface(&mut text, name, methods, &[]);
    }
    if path == "/" {
        interface(&mut text, MANAGER.0, MANAGER.1, &[]);
    }
    for (name, props) in interfaces.into_iter().flatten() {
        let props: Vec<_> = props
            .iter()
            .map(|(name, value)| (*name, value.signature()))
            .collect();
        interface(&mut text, name, methods(name), &props);
    }
    for child in children {
        writeln!(text, "  <node name=\"{child}\"/>").ok()?;
    }
    text.push_str("</node>\n");
    Some(text)
}

fn interface(text: &mut String, name: &str, methods: &[Method], props: &[(&str, &str)]) {
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(format!("  <interface name=\"{name}\">"));
    for (method, arguments, answers) in methods {
        line(format!("    <method name=\"{method}\">"));
        for signature in *arguments {
            line(format!(
                "      <arg type=\"{signature}\" direction=\"in\"/>"
            ));
        }
        for signature in *answers {
            line(format!(
                "      <arg type=\"{signature}\" direction=\"out\"/>"
            ));
        }
        line("    </method>".into());
    }
    for (prop, signature) in props {
        line(format!(
            "    <property name=\"{prop}\" type=\"{signature}\" access=\"read\"/>"
        ));
    }
    line("  </interface>".into());
}

impl Value {
    const fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::I16(_) => "n",
            Self::U16(_) => "q",
            Self::Text(_) => "s",
            Self::Path(_) => "o",
            Self::Texts(_) => "as",
            Self::Paths(_) => "ao",
            Self::Bytes(_) => "ay",
            Self::ByCompany(_) => "a{qv}",
            Self::ByUuid(_) => "a{sv}",
        }
    }
}

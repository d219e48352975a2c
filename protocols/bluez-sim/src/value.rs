//! The few D-Bus types that the interfaces of `BlueZ` use.

use std::collections::{BTreeMap, HashMap};

use dbus::arg::{PropMap, RefArg, Variant};

use crate::names::Uuid;

/// The value of a property.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    I16(i16),
    U16(u16),
    Text(String),
    Path(String),
    Texts(Vec<String>),
    Paths(Vec<String>),
    Bytes(Vec<u8>),
    ByCompany(BTreeMap<u16, Vec<u8>>),
    ByUuid(BTreeMap<Uuid, Vec<u8>>),
}

/// The properties of one interface of one object.
pub(crate) type Props = BTreeMap<&'static str, Value>;

impl Value {
    pub(crate) fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    pub(crate) fn uuids(uuids: &[Uuid]) -> Self {
        Self::Texts(uuids.iter().map(ToString::to_string).collect())
    }

    pub(crate) fn variant(&self) -> Variant<Box<dyn RefArg + 'static>> {
        fn bytes(value: &[u8]) -> Variant<Box<dyn RefArg + 'static>> {
            Variant(Box::new(value.to_vec()))
        }
        let boxed: Box<dyn RefArg> = match self {
            Self::Bool(v) => Box::new(*v),
            Self::I16(v) => Box::new(*v),
            Self::U16(v) => Box::new(*v),
            Self::Text(v) => Box::new(v.clone()),
            Self::Path(v) => Box::new(path(v)),
            Self::Texts(v) => Box::new(v.clone()),
            Self::Paths(v) => Box::new(v.iter().map(|p| path(p)).collect::<Vec<_>>()),
            Self::Bytes(v) => Box::new(v.clone()),
            Self::ByCompany(v) => Box::new(
                v.iter()
                    .map(|(k, v)| (*k, bytes(v)))
                    .collect::<HashMap<_, _>>(),
            ),
            Self::ByUuid(v) => Box::new(
                v.iter()
                    .map(|(k, v)| (k.to_string(), bytes(v)))
                    .collect::<HashMap<_, _>>(),
            ),
        };
        Variant(boxed)
    }
}

/// An object path made here.
pub(crate) fn path(text: &str) -> dbus::Path<'static> {
    dbus::Path::new(text.to_owned())
        .expect("invariant: paths are made of fixed words and hex digits")
}

pub(crate) fn prop_map(props: &Props) -> PropMap {
    props
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.variant()))
        .collect()
}

//! The tree between text and program. Every node knows its place in the text.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

impl Binary {
    /// Sign and how tightly it binds; larger binds tighter.
    pub(crate) const ALL: [(&'static str, Self, u8); 13] = [
        ("||", Self::Or, 1),
        ("&&", Self::And, 2),
        ("==", Self::Eq, 3),
        ("!=", Self::Ne, 3),
        ("<", Self::Lt, 4),
        ("<=", Self::Le, 4),
        (">", Self::Gt, 4),
        (">=", Self::Ge, 4),
        ("+", Self::Add, 5),
        ("-", Self::Sub, 5),
        ("*", Self::Mul, 6),
        ("/", Self::Div, 6),
        ("%", Self::Rem, 6),
    ];

    pub(crate) fn sign(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(_, binary, _)| *binary == self);
        found.map_or("?", |(sign, ..)| sign)
    }

    /// `a < b < c` compares a truth with a number: almost surely a mistake, refused by the parser.
    pub(crate) const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge
        )
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Point(String),
    Not(Box<Node>),
    Neg(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    /// Condition, then, else.
    Choice(Box<Node>, Box<Node>, Box<Node>),
    Call {
        name: String,
        name_span: Range<usize>,
        arguments: Vec<Node>,
    },
}

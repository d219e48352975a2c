//! What expressions can call: one table for the checker, the evaluation and the reference.

use crate::check::Type;
use crate::program::Scalar;
use protocols_model::Reason;

/// A function of values. Functions of points (`good`, `age`, …) are not here: they look at the reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Abs,
    Min,
    Max,
    Clamp,
    Round,
    Floor,
    Ceil,
    Sqrt,
    Pow,
    Exp,
    Ln,
    Log10,
    Div,
    Int,
    Float,
    Bit,
    Interpolate,
    Size,
    Contains,
    StartsWith,
    EndsWith,
}

/// What a function wants and gives.
pub(crate) struct Signature {
    pub(crate) function: Function,
    pub(crate) name: &'static str,
    pub(crate) arguments: Arguments,
    /// Fewest and most arguments.
    pub(crate) count: (usize, usize),
    /// As people write it.
    pub(crate) shape: &'static str,
    pub(crate) help: &'static str,
}

/// What the arguments must be, and the type of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Numbers; an integer when all are.
    Numbers,
    /// Numbers, taken as floats; a float.
    Floats,
    /// Integers; an integer.
    Integers,
    /// A number to an integer.
    ToInt,
    /// An integer and a place; a truth.
    IntegersToBool,
    /// Texts; an integer.
    TextsToInt,
    /// Texts; a truth.
    TextsToBool,
}

impl Arguments {
    pub(crate) const fn accepts(self, kind: Type) -> bool {
        match self {
            Self::Numbers | Self::Floats | Self::ToInt => kind.is_number(),
            Self::Integers | Self::IntegersToBool => matches!(kind, Type::Int),
            Self::TextsToInt | Self::TextsToBool => matches!(kind, Type::Text),
        }
    }

    pub(crate) const fn wanted(self) -> &'static str {
        match self {
            Self::Numbers | Self::Floats | Self::ToInt => "a number",
            Self::Integers | Self::IntegersToBool => "an integer",
            Self::TextsToInt | Self::TextsToBool => "a text",
        }
    }
}

/// More than anybody compares at once, and a bound on the cost of a call.
const MANY: usize = 16;
/// Pairs of a characteristic curve, and the value itself.
const CURVE: usize = 65;

macro_rules! functions {
    ($($name:literal $function:ident $arguments:ident $least:literal..=$most:expr, $shape:literal, $help:literal;)+) => {
        pub(crate) const SIGNATURES: &[Signature] = &[$(Signature {
            function: Function::$function,
            name: $name,
            arguments: Arguments::$arguments,
            count: ($least, $most),
            shape: $shape,
            help: $help,
        },)+];
    };
}

functions! {
    "abs" Abs Numbers 1..=1, "abs(x)", "without its sign";
    "min" Min Numbers 2..=MANY, "min(a, b, …)", "the smallest";
    "max" Max Numbers 2..=MANY, "max(a, b, …)", "the largest";
    "clamp" Clamp Numbers 3..=3, "clamp(x, low, high)", "x, but not below low and not above high";
    "round" Round Floats 1..=2, "round(x), round(x, digits)", "to the nearest, halves away from zero";
    "floor" Floor Floats 1..=1, "floor(x)", "down to a whole number";
    "ceil" Ceil Floats 1..=1, "ceil(x)", "up to a whole number";
    "sqrt" Sqrt Floats 1..=1, "sqrt(x)", "square root";
    "pow" Pow Floats 2..=2, "pow(x, y)", "x to the power of y";
    "exp" Exp Floats 1..=1, "exp(x)", "e to the power of x";
    "ln" Ln Floats 1..=1, "ln(x)", "natural logarithm";
    "log10" Log10 Floats 1..=1, "log10(x)", "decimal logarithm";
    "div" Div Integers 2..=2, "div(a, b)", "integer division, towards zero";
    "int" Int ToInt 1..=1, "int(x)", "the number without its fraction, as an integer";
    "float" Float Floats 1..=1, "float(x)", "the number as a float";
    "bit" Bit IntegersToBool 2..=2, "bit(x, n)", "whether bit n of x is set; 0 is the lowest";
    "interpolate" Interpolate Floats 5..=CURVE, "interpolate(x, x1, y1, x2, y2, …)", "y on the straight lines between the points, whose x rise; the ends hold";
    "size" Size TextsToInt 1..=1, "size(text)", "characters of a text";
    "contains" Contains TextsToBool 2..=2, "contains(text, part)", "whether part stands in text";
    "starts_with" StartsWith TextsToBool 2..=2, "starts_with(text, part)", "whether text begins with part";
    "ends_with" EndsWith TextsToBool 2..=2, "ends_with(text, part)", "whether text ends with part";
}

/// Functions of points, with their shape and help; the checker knows them by name.
pub(crate) const OF_POINTS: [(&str, &str, &str); 4] = [
    ("good", "good(point)", "whether its last reading is good"),
    (
        "age",
        "age(point)",
        "seconds since its last reading; bad while it was never read",
    ),
    (
        "has_value",
        "has_value(point)",
        "whether its last reading has a value",
    ),
    ("or_else", "or_else(x, y)", "x, or y while x is bad"),
];

/// Every function as (shape, help), for the reference.
#[must_use]
pub fn reference() -> Vec<(&'static str, &'static str)> {
    let of_values = SIGNATURES.iter().map(|s| (s.shape, s.help));
    let of_points = OF_POINTS.iter().map(|(_, shape, help)| (*shape, *help));
    of_values.chain(of_points).collect()
}

pub(crate) fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let of_values = SIGNATURES.iter().map(|signature| signature.name);
    of_values.chain(OF_POINTS.iter().map(|(name, ..)| *name))
}

impl Function {
    /// The result for arguments of the right types; `Err` where arithmetic has none.
    pub(crate) fn call(self, arguments: &[Scalar]) -> Result<Scalar, Reason> {
        use Scalar::{Bool, Float, Int, Text};
        let result = match (self, arguments) {
            (Self::Abs, [Int(x)]) => Int(x.checked_abs().ok_or(Reason::OutOfRange)?),
            (Self::Abs, [Float(x)]) => Float(x.abs()),
            (Self::Min | Self::Max, [first, rest @ ..]) => rest
                .iter()
                .fold(first, |best, next| {
                    let less = match (next, best) {
                        (Int(a), Int(b)) => a < b,
                        (Float(a), Float(b)) => a < b,
                        _ => false,
                    };
                    if less == (self == Self::Min) && next != best {
                        next
                    } else {
                        best
                    }
                })
                .clone(),
            (Self::Clamp, [Int(x), Int(low), Int(high)]) => Int(*x.max(low).min(high)),
            (Self::Clamp, [Float(x), Float(low), Float(high)]) => Float(x.max(*low).min(*high)),
            (Self::Round, [Float(x)]) => Float(x.round()),
            (Self::Round, [Float(x), Float(digits)]) => {
                let factor = 10f64.powf(digits.trunc());
                Float((x * factor).round() / factor)
            }
            (Self::Floor, [Float(x)]) => Float(x.floor()),
            (Self::Ceil, [Float(x)]) => Float(x.ceil()),
            (Self::Sqrt, [Float(x)]) => Float(x.sqrt()),
            (Self::Pow, [Float(x), Float(y)]) => Float(x.powf(*y)),
            (Self::Exp, [Float(x)]) => Float(x.exp()),
            (Self::Ln, [Float(x)]) => Float(x.ln()),
            (Self::Log10, [Float(x)]) => Float(x.log10()),
            (Self::Div, [Int(a), Int(b)]) => Int(a.checked_div(*b).ok_or(Reason::OutOfRange)?),
            (Self::Int, [Int(x)]) => Int(*x),
            (Self::Int, [Float(x)]) => Int(whole(*x)?),
            (Self::Float, [Float(x)]) => Float(*x),
            (Self::Bit, [Int(x), Int(n)]) => {
                let place = u32::try_from(*n).ok().filter(|n| *n < u64::BITS);
                let place = place.ok_or(Reason::OutOfRange)?;
                Bool(x >> place & 1 == 1)
            }
            (Self::Interpolate, [Float(x), curve @ ..]) => Float(interpolate(*x, curve)?),
            (Self::Size, [Text(text)]) => {
                Int(i128::try_from(text.chars().count()).unwrap_or(i128::MAX))
            }
            (Self::Contains, [Text(text), Text(part)]) => Bool(text.contains(&**part)),
            (Self::StartsWith, [Text(text), Text(part)]) => Bool(text.starts_with(&**part)),
            (Self::EndsWith, [Text(text), Text(part)]) => Bool(text.ends_with(&**part)),
            // Types were checked when the program was made.
            _ => return Err(Reason::Undecodable),
        };
        result.finite()
    }
}

/// A float without its fraction as an integer, where it fits 64 bits with sign or without.
fn whole(x: f64) -> Result<i128, Reason> {
    const LOW: f64 = -9_223_372_036_854_775_808.0;
    const HIGH: f64 = 18_446_744_073_709_551_616.0;
    let x = x.trunc();
    if !(LOW..HIGH).contains(&x) {
        return Err(Reason::OutOfRange);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and within 65 bits, checked above"
    )]
    let whole = x as i128;
    Ok(whole)
}

fn interpolate(x: f64, curve: &[Scalar]) -> Result<f64, Reason> {
    let mut before: Option<(f64, f64)> = None;
    for pair in curve.chunks_exact(2) {
        let [Scalar::Float(px), Scalar::Float(py)] = pair else {
            return Err(Reason::Undecodable);
        };
        if x <= *px {
            return Ok(match before {
                Some((bx, by)) if *px > bx => by + (x - bx) / (px - bx) * (py - by),
                _ => *py,
            });
        }
        before = Some((*px, *py));
    }
    before.map(|(_, y)| y).ok_or(Reason::Undecodable)
}

//! The compiled form of an expression, and its evaluation.
//!
//! A flat list of steps over a small stack; jumps go forward only, so a program ends. Types were checked
//! when it was made.

use crate::check::Type;
use crate::function::Function;
use crate::tree::Binary;
use protocols_model::{PointKey, Quality, Reason, Value, ValueType};
use std::sync::Arc;
use std::time::Duration;

/// What an expression computes with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A truth.
    Bool(bool),
    /// An integer; wide enough for every integer point and what is computed from a few of them.
    Int(i128),
    /// A float, always finite.
    Float(f64),
    /// A text.
    Text(Arc<str>),
}

/// What an evaluation gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// From good inputs.
    Good(Scalar),
    /// At least one input was uncertain.
    Uncertain(Scalar, Reason),
    /// An input that mattered has no value, or arithmetic has no result.
    Bad(Reason),
}

/// The latest reading of a point, as an expression sees it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its value; `None` while it is bad or was never read.
    pub value: Option<&'a Value>,
    /// Its quality; bad while it was never read.
    pub quality: Quality,
    /// Time since it was taken; `None` while it was never read.
    pub age: Option<Duration>,
}

/// Where the latest readings are looked up.
pub trait Image {
    /// The latest reading of a point.
    fn input(&self, point: PointKey) -> Input<'_>;
}

/// Memory for evaluations, kept between them.
#[derive(Debug, Default)]
pub struct Scratch {
    stack: Vec<Result<Scalar, Reason>>,
    arguments: Vec<Scalar>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op {
    Push(Scalar),
    Load(PointKey),
    /// Top of the stack, an integer, becomes a float.
    ToFloat,
    Not,
    Neg,
    Binary(Binary),
    /// Jumps when the top is false; the skipped side could not change the answer.
    SkipIfFalse(usize),
    /// Jumps when the top is true.
    SkipIfTrue(usize),
    And,
    Or,
    /// Takes the condition: false jumps to `no`; bad pushes itself and jumps to `end`.
    Branch {
        no: usize,
        end: usize,
    },
    Jump(usize),
    /// A value stays and jumps; a bad one is taken away.
    SkipIfValue(usize),
    Call(Function, usize),
    Good(PointKey),
    HasValue(PointKey),
    Age(PointKey),
}

/// A compiled expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub(crate) steps: Arc<[Op]>,
    pub(crate) result: Type,
    pub(crate) inputs: Arc<[PointKey]>,
    pub(crate) cost: u32,
}

impl Program {
    /// The type of its result.
    #[must_use]
    pub const fn result(&self) -> Type {
        self.result
    }

    /// The points it looks at, each once, in ascending order.
    #[must_use]
    pub fn inputs(&self) -> &[PointKey] {
        &self.inputs
    }

    /// Most steps an evaluation takes; one step is some nanoseconds on a desktop, some tens on a small
    /// ARM core.
    #[must_use]
    pub const fn cost(&self) -> u32 {
        self.cost
    }

    /// The result over the readings that `image` has now.
    pub fn eval(&self, image: &impl Image, scratch: &mut Scratch) -> Outcome {
        scratch.stack.clear();
        let mut uncertain = None;
        let mut at = 0;
        while let Some(op) = self.steps.get(at) {
            at = step(op, at, image, scratch, &mut uncertain);
        }
        match (scratch.stack.pop(), uncertain) {
            (Some(Ok(value)), None) => Outcome::Good(value),
            (Some(Ok(value)), Some(reason)) => Outcome::Uncertain(value, reason),
            (Some(Err(reason)), _) => Outcome::Bad(reason),
            (None, _) => Outcome::Bad(Reason::Undecodable),
        }
    }
}

/// Does one step; the place of the next one.
fn step(
    op: &Op,
    at: usize,
    image: &impl Image,
    scratch: &mut Scratch,
    uncertain: &mut Option<Reason>,
) -> usize {
    let stack = &mut scratch.stack;
    match op {
        Op::Push(value) => stack.push(Ok(value.clone())),
        Op::Load(point) => stack.push(load(image.input(*point), uncertain)),
        Op::ToFloat => map(stack, |value| match value {
            Scalar::Int(x) => Ok(Scalar::Float(float(x))),
            other => Ok(other),
        }),
        Op::Not => map(stack, |value| match value {
            Scalar::Bool(truth) => Ok(Scalar::Bool(!truth)),
            _ => Err(Reason::Undecodable),
        }),
        Op::Neg => map(stack, |value| match value {
            Scalar::Int(x) => x.checked_neg().map(Scalar::Int).ok_or(Reason::OutOfRange),
            Scalar::Float(x) => Ok(Scalar::Float(-x)),
            _ => Err(Reason::Undecodable),
        }),
        Op::Binary(binary) => pair(stack, |left, right| compute(*binary, left?, right?)),
        Op::And => pair(stack, |left, right| join(left, right, false)),
        Op::Or => pair(stack, |left, right| join(left, right, true)),
        Op::SkipIfFalse(to) => {
            if matches!(stack.last(), Some(Ok(Scalar::Bool(false)))) {
                return *to;
            }
        }
        Op::SkipIfTrue(to) => {
            if matches!(stack.last(), Some(Ok(Scalar::Bool(true)))) {
                return *to;
            }
        }
        Op::Branch { no, end } => match stack.pop() {
            Some(Ok(Scalar::Bool(true))) => {}
            Some(Ok(_)) => return *no,
            bad => {
                stack.push(bad.unwrap_or(Err(Reason::Undecodable)));
                return *end;
            }
        },
        Op::Jump(to) => return *to,
        Op::SkipIfValue(to) => {
            if matches!(stack.last(), Some(Ok(_))) {
                return *to;
            }
            stack.pop();
        }
        Op::Call(function, count) => call(*function, *count, scratch),
        Op::Good(point) => {
            let good = image.input(*point).quality.is_good();
            stack.push(Ok(Scalar::Bool(good)));
        }
        Op::HasValue(point) => {
            let has = image.input(*point).value.is_some();
            stack.push(Ok(Scalar::Bool(has)));
        }
        Op::Age(point) => {
            let age = image.input(*point).age;
            stack.push(age.map_or(Err(Reason::NotAsked), |age| {
                Ok(Scalar::Float(age.as_secs_f64()))
            }));
        }
    }
    at + 1
}

fn load(input: Input<'_>, uncertain: &mut Option<Reason>) -> Result<Scalar, Reason> {
    match (input.value, input.quality) {
        (_, Quality::Bad(reason)) => Err(reason),
        (None, _) => Err(Reason::NotAsked),
        (Some(value), quality) => {
            if let Quality::Uncertain(reason) = quality {
                uncertain.get_or_insert(reason);
            }
            Scalar::of(value)
        }
    }
}

fn map(
    stack: &mut [Result<Scalar, Reason>],
    change: impl FnOnce(Scalar) -> Result<Scalar, Reason>,
) {
    if let Some(top) = stack.last_mut() {
        *top = std::mem::replace(top, Err(Reason::Undecodable)).and_then(change);
    }
}

type Operand = Result<Scalar, Reason>;

fn pair(stack: &mut Vec<Operand>, combine: impl FnOnce(Operand, Operand) -> Operand) {
    let right = stack.pop().unwrap_or(Err(Reason::Undecodable));
    let left = stack.pop().unwrap_or(Err(Reason::Undecodable));
    stack.push(combine(left, right));
}

/// `decisive` decides alone: false for and, true for or. Otherwise a bad side makes the answer bad.
fn join(left: Operand, right: Operand, decisive: bool) -> Operand {
    let decides = |side: &Operand| *side == Ok(Scalar::Bool(decisive));
    if decides(&left) || decides(&right) {
        return Ok(Scalar::Bool(decisive));
    }
    left.and(right)
}

fn call(function: Function, count: usize, scratch: &mut Scratch) {
    let Scratch { stack, arguments } = scratch;
    arguments.clear();
    let mut bad = None;
    for argument in stack.drain(stack.len().saturating_sub(count)..) {
        match argument {
            Ok(value) => arguments.push(value),
            Err(reason) => bad = bad.or(Some(reason)),
        }
    }
    let result = bad.map_or_else(|| function.call(arguments), Err);
    stack.push(result);
}

fn compute(binary: Binary, left: Scalar, right: Scalar) -> Operand {
    use Scalar::{Bool, Float, Int, Text};
    let none = Err(Reason::OutOfRange);
    let result = match (binary, left, right) {
        (Binary::Eq, left, right) => Bool(left == right),
        (Binary::Ne, left, right) => Bool(left != right),
        (Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge, left, right) => {
            let order = match (&left, &right) {
                (Int(a), Int(b)) => Some(a.cmp(b)),
                (Float(a), Float(b)) => a.partial_cmp(b),
                (Text(a), Text(b)) => Some(a.cmp(b)),
                _ => None,
            };
            let Some(order) = order else { return none };
            Bool(match binary {
                Binary::Lt => order.is_lt(),
                Binary::Le => order.is_le(),
                Binary::Gt => order.is_gt(),
                _ => order.is_ge(),
            })
        }
        (Binary::Add, Int(a), Int(b)) => {
            return a.checked_add(b).map(Int).ok_or(Reason::OutOfRange);
        }
        (Binary::Sub, Int(a), Int(b)) => {
            return a.checked_sub(b).map(Int).ok_or(Reason::OutOfRange);
        }
        (Binary::Mul, Int(a), Int(b)) => {
            return a.checked_mul(b).map(Int).ok_or(Reason::OutOfRange);
        }
        (Binary::Rem, Int(a), Int(b)) => {
            return a.checked_rem(b).map(Int).ok_or(Reason::OutOfRange);
        }
        (Binary::Add, Float(a), Float(b)) => Float(a + b),
        (Binary::Sub, Float(a), Float(b)) => Float(a - b),
        (Binary::Mul, Float(a), Float(b)) => Float(a * b),
        (Binary::Div, Float(a), Float(b)) => Float(a / b),
        (Binary::Rem, Float(a), Float(b)) => Float(a % b),
        _ => return none,
    };
    result.finite()
}

/// Exact up to 2^53; beyond, the nearest float.
const fn float(x: i128) -> f64 {
    x as f64
}

impl Scalar {
    /// A point's value.
    ///
    /// # Errors
    /// `Undecodable` for bytes and for floats that are no number.
    pub fn of(value: &Value) -> Result<Self, Reason> {
        match value {
            Value::Bool(truth) => Ok(Self::Bool(*truth)),
            Value::I64(x) => Ok(Self::Int((*x).into())),
            Value::U64(x) => Ok(Self::Int((*x).into())),
            Value::F64(x) => Self::Float(*x).finite(),
            Value::Text(text) => Ok(Self::Text(Arc::from(&**text))),
            Value::Bytes(_) => Err(Reason::Undecodable),
        }
    }

    /// As a value of a point of this type.
    ///
    /// # Errors
    /// `OutOfRange` where it does not fit, `Undecodable` where the types do not go together.
    pub fn to_value(&self, wanted: ValueType) -> Result<Value, Reason> {
        match (self, wanted) {
            (Self::Bool(truth), ValueType::Bool) => Ok(Value::Bool(*truth)),
            (Self::Int(x), ValueType::I64) => {
                let fits = i64::try_from(*x).map_err(|_| Reason::OutOfRange)?;
                Ok(Value::I64(fits))
            }
            (Self::Int(x), ValueType::U64) => {
                let fits = u64::try_from(*x).map_err(|_| Reason::OutOfRange)?;
                Ok(Value::U64(fits))
            }
            (Self::Int(x), ValueType::F64) => Ok(Value::F64(float(*x))),
            (Self::Float(x), ValueType::F64) => Ok(Value::F64(*x)),
            (Self::Text(text), ValueType::Text) => Ok(Value::Text((&**text).into())),
            _ => Err(Reason::Undecodable),
        }
    }

    /// Itself, unless it is a float that is no number.
    pub(crate) fn finite(self) -> Result<Self, Reason> {
        match self {
            Self::Float(x) if !x.is_finite() => Err(Reason::OutOfRange),
            other => Ok(other),
        }
    }
}

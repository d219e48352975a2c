//! Types and names: what passes here cannot fail by type when it runs. Then the tree becomes steps.

use crate::error::ExprError;
use crate::function::{self, Arguments, Function, Signature};
use crate::parse::parse;
use crate::program::{Op, Program, Scalar};
use crate::tree::{Binary, Kind, Node};
use protocols_model::{PointKey, ValueType};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What a value of an expression can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// An integer.
    Int,
    /// A float.
    Float,
    /// A text.
    Text,
}

impl Type {
    /// Whether one can compute with it.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }

    /// The type that readings of a point have here; none for bytes.
    #[must_use]
    pub const fn of(value: ValueType) -> Option<Self> {
        match value {
            ValueType::Bool => Some(Self::Bool),
            ValueType::I64 | ValueType::U64 => Some(Self::Int),
            ValueType::F64 => Some(Self::Float),
            ValueType::Text => Some(Self::Text),
            ValueType::Bytes => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Int => "an integer",
            Self::Float => "a number",
            Self::Text => "a text",
        })
    }
}

/// The points an expression may name.
pub trait Names {
    /// The point of this name (`device.point`) and the type of its readings.
    fn find(&self, name: &str) -> Option<(PointKey, ValueType)>;
    /// All names, for a suggestion.
    fn all(&self) -> Vec<String>;
}

/// Compiles `source`.
///
/// # Errors
/// The first mistake, with its place.
pub fn compile(source: &str, names: &dyn Names) -> Result<Program, ExprError> {
    let tree = parse(source)?;
    let checker = Checker { names };
    let result = checker.check(&tree)?;
    let mut emitter = Emitter {
        names,
        steps: Vec::new(),
        inputs: BTreeSet::new(),
    };
    emitter.emit(&tree);
    let cost = emitter.steps.iter().map(cost).sum();
    Ok(Program {
        steps: emitter.steps.into(),
        result,
        inputs: emitter.inputs.into_iter().collect(),
        cost,
    })
}

fn cost(op: &Op) -> u32 {
    match op {
        Op::Call(_, count) => 1 + u32::try_from(*count).unwrap_or(u32::MAX),
        _ => 1,
    }
}

struct Checker<'a> {
    names: &'a dyn Names,
}

impl Checker<'_> {
    fn check(&self, node: &Node) -> Result<Type, ExprError> {
        match &node.kind {
            Kind::Bool(_) => Ok(Type::Bool),
            Kind::Int(_) => Ok(Type::Int),
            Kind::Float(_) => Ok(Type::Float),
            Kind::Text(_) => Ok(Type::Text),
            Kind::Point(name) => self.point(name, node),
            Kind::Not(inner) => {
                self.want(inner, Type::Bool, "! turns true into false")?;
                Ok(Type::Bool)
            }
            Kind::Neg(inner) => self.number(inner),
            Kind::Binary(binary, left, right) => self.binary(*binary, left, right, node),
            Kind::Choice(condition, yes, no) => {
                self.want(condition, Type::Bool, "what stands before ? decides")?;
                let types = (self.check(yes)?, self.check(no)?);
                match types {
                    (a, b) if a == b => Ok(a),
                    (a, b) if a.is_number() && b.is_number() => Ok(Type::Float),
                    (a, b) => Err(ExprError::new(
                        no.span.clone(),
                        format!("one value of the choice is {a}, the other {b}"),
                        format!("{a} here too"),
                    )),
                }
            }
            Kind::Call {
                name,
                name_span,
                arguments,
            } => self.call(name, name_span.clone(), arguments, node),
        }
    }

    fn point(&self, name: &str, node: &Node) -> Result<Type, ExprError> {
        let Some((_, value_type)) = self.names.find(name) else {
            return Err(self.unknown_point(name, node));
        };
        Type::of(value_type).ok_or_else(|| {
            let message = format!("{name} holds bytes, which cannot be computed with");
            ExprError::new(
                node.span.clone(),
                message,
                "a number, a text, true or false",
            )
        })
    }

    fn unknown_point(&self, name: &str, node: &Node) -> ExprError {
        let mut message = format!("there is no point {name}");
        let of = |part: &str| self.names.find(part).is_some();
        let minus = name.match_indices('-').any(|(at, _)| {
            let sides = (name.get(..at), name.get(at + 1..));
            sides.0.is_some_and(of) || sides.1.is_some_and(of)
        });
        if minus {
            message.push_str(" (a minus needs spaces around it: ids may contain one)");
        } else if function::find(name).is_some() {
            message.push_str(" (a function is called with parentheses)");
        }
        let mut error = ExprError::new(
            node.span.clone(),
            message,
            "device.point of a configured point",
        );
        error.suggestion = nearest(name, self.names.all().iter());
        error
    }

    fn want(&self, node: &Node, wanted: Type, why: &str) -> Result<(), ExprError> {
        let found = self.check(node)?;
        if found == wanted {
            return Ok(());
        }
        let message = format!("{found} where {wanted} is needed: {why}");
        Err(ExprError::new(
            node.span.clone(),
            message,
            wanted.to_string(),
        ))
    }

    fn number(&self, node: &Node) -> Result<Type, ExprError> {
        let found = self.check(node)?;
        if found.is_number() {
            return Ok(found);
        }
        let message = format!("{found} where a number is needed");
        Err(ExprError::new(node.span.clone(), message, "a number"))
    }

    fn binary(
        &self,
        binary: Binary,
        left: &Node,
        right: &Node,
        node: &Node,
    ) -> Result<Type, ExprError> {
        match binary {
            Binary::And | Binary::Or => {
                let why = format!("{} joins conditions", binary.sign());
                self.want(left, Type::Bool, &why)?;
                self.want(right, Type::Bool, &why)?;
                Ok(Type::Bool)
            }
            _ if binary.is_comparison() => {
                let (a, b) = (self.check(left)?, self.check(right)?);
                let equal_only = matches!(binary, Binary::Eq | Binary::Ne);
                let fits =
                    (a.is_number() && b.is_number()) || (a == b && (equal_only || a == Type::Text));
                if fits {
                    return Ok(Type::Bool);
                }
                let sign = binary.sign();
                let message = format!("{sign} between {a} and {b}");
                let allowed = if a == Type::Bool && b == Type::Bool {
                    "== or != between truths".to_owned()
                } else {
                    "two numbers or two texts".to_owned()
                };
                Err(ExprError::new(node.span.clone(), message, allowed))
            }
            Binary::Div => {
                self.number(left)?;
                self.number(right)?;
                Ok(Type::Float)
            }
            _ => match (self.number(left)?, self.number(right)?) {
                (Type::Int, Type::Int) => Ok(Type::Int),
                _ => Ok(Type::Float),
            },
        }
    }

    fn call(
        &self,
        name: &str,
        name_span: std::ops::Range<usize>,
        arguments: &[Node],
        node: &Node,
    ) -> Result<Type, ExprError> {
        if let Some((_, shape, _)) = function::OF_POINTS
            .iter()
            .find(|(known, ..)| *known == name)
        {
            return self.call_of_point(name, shape, arguments, node);
        }
        let Some(signature) = function::find(name) else {
            let message = format!("there is no function {name}");
            let mut error = ExprError::new(name_span, message, "a function of the reference");
            error.suggestion = nearest(name, function::names());
            return Err(error);
        };
        let (least, most) = signature.count;
        if arguments.len() < least || arguments.len() > most {
            let message = format!("{name} with {} arguments", arguments.len());
            return Err(ExprError::new(node.span.clone(), message, signature.shape));
        }
        let mut all_int = true;
        for argument in arguments {
            let found = self.check(argument)?;
            if !signature.arguments.accepts(found) {
                let wanted = signature.arguments.wanted();
                let message = format!("{found} where {name} needs {wanted}");
                return Err(ExprError::new(argument.span.clone(), message, wanted));
            }
            all_int &= found == Type::Int;
        }
        if signature.function == Function::Interpolate {
            check_curve(arguments, node, signature)?;
        }
        Ok(match signature.arguments {
            Arguments::Numbers if all_int => Type::Int,
            Arguments::Numbers | Arguments::Floats => Type::Float,
            Arguments::Integers | Arguments::ToInt | Arguments::TextsToInt => Type::Int,
            Arguments::IntegersToBool | Arguments::TextsToBool => Type::Bool,
        })
    }

    fn call_of_point(
        &self,
        name: &str,
        shape: &str,
        arguments: &[Node],
        node: &Node,
    ) -> Result<Type, ExprError> {
        match (name, arguments) {
            ("or_else", [x, y]) => match (self.check(x)?, self.check(y)?) {
                (a, b) if a == b => Ok(a),
                (a, b) if a.is_number() && b.is_number() => Ok(Type::Float),
                (a, b) => {
                    let message = format!("or_else between {a} and {b}");
                    Err(ExprError::new(y.span.clone(), message, a.to_string()))
                }
            },
            ("or_else", _) => {
                let message = format!("or_else with {} arguments", arguments.len());
                Err(ExprError::new(node.span.clone(), message, shape))
            }
            (_, [argument]) => match &argument.kind {
                Kind::Point(point) if self.names.find(point).is_some() => Ok(match name {
                    "age" => Type::Float,
                    _ => Type::Bool,
                }),
                Kind::Point(point) => Err(self.unknown_point(point, argument)),
                _ => {
                    let message = format!("{name} looks at the reading of a point");
                    Err(ExprError::new(argument.span.clone(), message, shape))
                }
            },
            _ => {
                let message = format!("{name} with {} arguments", arguments.len());
                Err(ExprError::new(node.span.clone(), message, shape))
            }
        }
    }
}

/// The corners of a curve are constants whose x rise: checked once instead of at each evaluation.
fn check_curve(arguments: &[Node], node: &Node, signature: &Signature) -> Result<(), ExprError> {
    let corners = arguments.get(1..).unwrap_or_default();
    if corners.len() % 2 == 1 {
        let message = "a corner of the curve has no y";
        return Err(ExprError::new(node.span.clone(), message, signature.shape));
    }
    let mut last = f64::NEG_INFINITY;
    for pair in corners.chunks_exact(2) {
        for corner in pair {
            if constant(corner).is_none() {
                let message = "the corners of a curve are constants";
                return Err(ExprError::new(corner.span.clone(), message, "a number"));
            }
        }
        let Some((x, corner)) = pair.first().and_then(|c| Some((constant(c)?, c))) else {
            continue;
        };
        if x <= last {
            let message = "the x of a curve must rise";
            let allowed = format!("more than {last}");
            return Err(ExprError::new(corner.span.clone(), message, allowed));
        }
        last = x;
    }
    Ok(())
}

fn constant(node: &Node) -> Option<f64> {
    match &node.kind {
        Kind::Int(x) => Some(*x as f64),
        Kind::Float(x) => Some(*x),
        Kind::Neg(inner) => constant(inner).map(|x| -x),
        _ => None,
    }
}

fn nearest(name: &str, among: impl Iterator<Item = impl AsRef<str>>) -> Option<String> {
    let scored = among.map(|known| (strsim::jaro_winkler(name, known.as_ref()), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.8)
        .map(|(_, known)| known.as_ref().to_owned())
}

/// Writes steps for a checked tree.
struct Emitter<'a> {
    names: &'a dyn Names,
    steps: Vec<Op>,
    inputs: BTreeSet<PointKey>,
}

impl Emitter<'_> {
    fn type_of(&self, node: &Node) -> Type {
        let checker = Checker { names: self.names };
        checker.check(node).unwrap_or(Type::Bool)
    }

    fn slot(&mut self, name: &str) -> PointKey {
        let found = self.names.find(name);
        let (key, _) = found.expect("invariant: the checker found every name");
        self.inputs.insert(key);
        key
    }

    /// Writes `node`, as a float where the whole asks for one.
    fn emit_as(&mut self, node: &Node, wanted: Type) {
        self.emit(node);
        if wanted == Type::Float && self.type_of(node) == Type::Int {
            self.steps.push(Op::ToFloat);
        }
    }

    fn emit(&mut self, node: &Node) {
        match &node.kind {
            Kind::Bool(truth) => self.steps.push(Op::Push(Scalar::Bool(*truth))),
            Kind::Int(x) => self.steps.push(Op::Push(Scalar::Int(*x))),
            Kind::Float(x) => self.steps.push(Op::Push(Scalar::Float(*x))),
            Kind::Text(text) => {
                let text: Arc<str> = Arc::from(text.as_str());
                self.steps.push(Op::Push(Scalar::Text(text)));
            }
            Kind::Point(name) => {
                let slot = self.slot(name);
                self.steps.push(Op::Load(slot));
            }
            Kind::Not(inner) => {
                self.emit(inner);
                self.steps.push(Op::Not);
            }
            Kind::Neg(inner) => {
                self.emit(inner);
                self.steps.push(Op::Neg);
            }
            Kind::Binary(binary, left, right) => self.emit_binary(*binary, left, right),
            Kind::Choice(condition, yes, no) => {
                let wanted = self.type_of(node);
                self.emit(condition);
                let branch = self.hole();
                self.emit_as(yes, wanted);
                let jump = self.hole();
                let no_at = self.steps.len();
                self.emit_as(no, wanted);
                let end = self.steps.len();
                self.fill(branch, Op::Branch { no: no_at, end });
                self.fill(jump, Op::Jump(end));
            }
            Kind::Call {
                name, arguments, ..
            } => self.emit_call(name, arguments, node),
        }
    }

    fn emit_binary(&mut self, binary: Binary, left: &Node, right: &Node) {
        if matches!(binary, Binary::And | Binary::Or) {
            self.emit(left);
            let hole = self.hole();
            self.emit(right);
            let is_and = binary == Binary::And;
            self.steps.push(if is_and { Op::And } else { Op::Or });
            let end = self.steps.len();
            let skip = if is_and {
                Op::SkipIfFalse(end)
            } else {
                Op::SkipIfTrue(end)
            };
            self.fill(hole, skip);
            return;
        }
        let types = (self.type_of(left), self.type_of(right));
        let float = binary == Binary::Div || types.0 == Type::Float || types.1 == Type::Float;
        let wanted = if float { Type::Float } else { types.0 };
        self.emit_as(left, wanted);
        self.emit_as(right, wanted);
        self.steps.push(Op::Binary(binary));
    }

    fn emit_call(&mut self, name: &str, arguments: &[Node], node: &Node) {
        if name == "or_else" {
            let wanted = self.type_of(node);
            let mut sides = arguments.iter();
            if let (Some(x), Some(y)) = (sides.next(), sides.next()) {
                self.emit_as(x, wanted);
                let hole = self.hole();
                self.emit_as(y, wanted);
                let end = self.steps.len();
                self.fill(hole, Op::SkipIfValue(end));
            }
            return;
        }
        if let [
            Node {
                kind: Kind::Point(point),
                ..
            },
        ] = arguments
        {
            let of_point = match name {
                "good" => Some(Op::Good as fn(PointKey) -> Op),
                "has_value" => Some(Op::HasValue as fn(PointKey) -> Op),
                "age" => Some(Op::Age as fn(PointKey) -> Op),
                _ => None,
            };
            if let Some(op) = of_point {
                let slot = self.slot(point);
                self.steps.push(op(slot));
                return;
            }
        }
        let signature = function::find(name).expect("invariant: the checker found the function");
        let floats = match signature.arguments {
            Arguments::Floats => true,
            Arguments::Numbers => self.type_of(node) == Type::Float,
            _ => false,
        };
        let wanted = if floats { Type::Float } else { Type::Int };
        for argument in arguments {
            self.emit_as(argument, wanted);
        }
        let call = Op::Call(signature.function, arguments.len());
        self.steps.push(call);
    }

    /// A step that is written later, when the place it jumps to is known.
    fn hole(&mut self) -> usize {
        self.steps.push(Op::Jump(0));
        self.steps.len() - 1
    }

    fn fill(&mut self, hole: usize, op: Op) {
        if let Some(step) = self.steps.get_mut(hole) {
            *step = op;
        }
    }
}

#[cfg(test)]
mod tests;

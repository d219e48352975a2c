//! Tokens to a tree, by precedence climbing; the depth is bounded, so the stack is.

use crate::error::ExprError;
use crate::token::{Spanned, Token, tokens};
use crate::tree::{Binary, Kind, Node};
use crate::{MAX_DEPTH, MAX_SOURCE_BYTES};
use std::ops::Range;

const OPERAND: &str = "a point as device.point, a number, a text in quotes, true, false, or (";

pub(crate) fn parse(source: &str) -> Result<Node, ExprError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(ExprError::new(
            0..source.len(),
            format!("the expression has {} bytes", source.len()),
            format!("at most {MAX_SOURCE_BYTES} bytes; split it with a derived point"),
        ));
    }
    let mut parser = Parser {
        tokens: tokens(source)?,
        next: 0,
    };
    let node = parser.choice(0)?;
    let rest = parser.peek();
    if rest.token != Token::End {
        let found = describe(&rest.token);
        return Err(ExprError::new(
            rest.span.clone(),
            format!("{found} does not belong here"),
            "an operator, or the end",
        ));
    }
    Ok(node)
}

struct Parser {
    tokens: Vec<Spanned>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Spanned {
        let last = self.tokens.last();
        let token = self.tokens.get(self.next).or(last);
        token.expect("invariant: the tokens end with End")
    }

    fn advance(&mut self) -> Spanned {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn accept(&mut self, sign: &'static str) -> bool {
        let found = self.peek().token == Token::Sign(sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str, why: &str) -> Result<Range<usize>, ExprError> {
        let found = self.peek().clone();
        if self.accept(sign) {
            return Ok(found.span);
        }
        let message = format!("{} where {why}", describe(&found.token));
        Err(ExprError::new(found.span, message, sign))
    }

    fn deeper(&self, depth: usize) -> Result<usize, ExprError> {
        if depth < MAX_DEPTH {
            return Ok(depth + 1);
        }
        Err(ExprError::new(
            self.peek().span.clone(),
            "nested too deeply",
            format!("at most {MAX_DEPTH} levels; split it with a derived point"),
        ))
    }

    fn choice(&mut self, depth: usize) -> Result<Node, ExprError> {
        let depth = self.deeper(depth)?;
        let condition = self.binary(1, depth)?;
        if !self.accept("?") {
            return Ok(condition);
        }
        let yes = self.choice(depth)?;
        self.expect(":", "a choice goes on with its second value")?;
        let no = self.choice(depth)?;
        let span = condition.span.start..no.span.end;
        let kind = Kind::Choice(Box::new(condition), Box::new(yes), Box::new(no));
        Ok(Node { kind, span })
    }

    fn binary(&mut self, weakest: u8, depth: usize) -> Result<Node, ExprError> {
        let depth = self.deeper(depth)?;
        let mut left = self.unary(depth)?;
        // Only a comparison made by this loop counts: one in parentheses is a truth of its own.
        let mut compared = false;
        loop {
            let Token::Sign(sign) = self.peek().token else {
                return Ok(left);
            };
            let found = Binary::ALL.into_iter().find(|(text, ..)| *text == sign);
            let Some((_, operator, strength)) = found.filter(|(_, _, s)| *s >= weakest) else {
                return Ok(left);
            };
            let at = self.advance().span;
            if compared && operator.is_comparison() {
                return Err(ExprError::new(
                    at,
                    "a comparison of a comparison",
                    "two comparisons joined by &&: 10 < x && x < 20",
                ));
            }
            compared = operator.is_comparison();
            let right = self.binary(strength + 1, depth)?;
            let span = left.span.start..right.span.end;
            let kind = Kind::Binary(operator, Box::new(left), Box::new(right));
            left = Node { kind, span };
        }
    }

    fn unary(&mut self, depth: usize) -> Result<Node, ExprError> {
        let depth = self.deeper(depth)?;
        let start = self.peek().span.start;
        for (sign, make) in [
            ("!", Kind::Not as fn(Box<Node>) -> Kind),
            ("-", Kind::Neg as fn(Box<Node>) -> Kind),
        ] {
            if self.accept(sign) {
                let inner = self.unary(depth)?;
                let span = start..inner.span.end;
                let kind = make(Box::new(inner));
                return Ok(Node { kind, span });
            }
        }
        self.operand(depth)
    }

    fn operand(&mut self, depth: usize) -> Result<Node, ExprError> {
        let Spanned { token, span } = self.peek().clone();
        let kind = match token {
            Token::Int(value) => Kind::Int(value),
            Token::Float(value) => Kind::Float(value),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) => {
                self.next += 1;
                return self.name(name, span, depth);
            }
            Token::Sign("(") => {
                self.next += 1;
                let inner = self.choice(depth)?;
                let end = self.expect(")", "a parenthesis must close")?.end;
                return Ok(Node {
                    kind: inner.kind,
                    span: span.start..end,
                });
            }
            other => {
                let message = format!("{} where a value is needed", describe(&other));
                return Err(ExprError::new(span, message, OPERAND));
            }
        };
        self.next += 1;
        Ok(Node { kind, span })
    }

    fn name(&mut self, name: String, span: Range<usize>, depth: usize) -> Result<Node, ExprError> {
        if self.accept("(") {
            let mut arguments = Vec::new();
            let end = loop {
                if arguments.is_empty() && self.peek().token == Token::Sign(")") {
                    break self.advance().span.end;
                }
                arguments.push(self.choice(depth)?);
                if self.accept(",") {
                    continue;
                }
                break self.expect(")", "the arguments must end")?.end;
            };
            let kind = Kind::Call {
                name,
                name_span: span.clone(),
                arguments,
            };
            return Ok(Node {
                kind,
                span: span.start..end,
            });
        }
        let kind = match name.as_str() {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "and" | "or" | "not" => {
                return Err(ExprError::new(
                    span,
                    format!("{name} is not a word of the language"),
                    "&& for and, || for or, ! for not",
                ));
            }
            _ => Kind::Point(name),
        };
        Ok(Node { kind, span })
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Name(name) => name.clone(),
        Token::Int(value) => value.to_string(),
        Token::Float(value) => value.to_string(),
        Token::Text(text) => format!("{text:?}"),
        Token::Sign(sign) => (*sign).to_owned(),
        Token::End => "the end".to_owned(),
    }
}

//! Expressions in the configuration: compiled when they are read, mistakes shown at their character.

use crate::fog::names::Catalogue;
use crate::notes::Notes;
use crate::problem::Problem;
use crate::source::{Located, Place};
use gateway_expr::{Program, Type, compile};

/// The compiled expression; of type `wanted`, where one is.
pub(super) fn read(
    text: &Located<String>,
    wanted: Option<Type>,
    catalogue: &Catalogue,
    notes: &Notes<'_>,
) -> Option<Program> {
    match compile(&text.value, catalogue) {
        Ok(program) => match wanted {
            Some(wanted) if program.result() != wanted => {
                let message = format!("the expression is {}, not {wanted}", program.result());
                notes.push(Problem::error(&text.place, message, wanted.to_string()));
                None
            }
            _ => Some(program),
        },
        Err(error) => {
            let place = inside(&text.place, &text.value, error.span.start..error.span.end);
            notes.push(Problem {
                suggestion: error.suggestion.clone(),
                ..Problem::error(&place, error.message.clone(), error.allowed.clone())
            });
            None
        }
    }
}

/// The part `span` of a text that stands at `place`. Where escapes make the text differ from what the
/// file shows, the place of the whole.
fn inside(place: &Place, text: &str, span: std::ops::Range<usize>) -> Place {
    let written = place.source.text().get(place.span.clone());
    let begin = written.and_then(|written| written.find(text));
    let Some(begin) = begin.map(|begin| place.span.start + begin) else {
        return place.clone();
    };
    Place {
        // An expression that ends too early is marked at its last quote.
        span: begin + span.start..begin + span.end,
        ..place.clone()
    }
}

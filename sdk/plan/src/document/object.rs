//! One object of a document, read field by field with type checks. A null field counts as absent.

use std::ops::RangeInclusive;

use chrono::TimeDelta;
use orchid_common::suggest::closest;
use serde_json::{Map, Value};

use super::context::ReadContext;
use crate::diagnostic::{quoted, shortened, token};
use crate::expr::InScope;
use crate::{Diagnostic, DiagnosticCode, Expr, time};

pub(crate) struct ObjectReader<'d> {
    members: &'d Map<String, Value>,
    pub(crate) pointer: String,
}

/// Returns the JSON type of a value for messages.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Creates the diagnostic of a value of the wrong type.
pub(crate) fn wrong_type(pointer: &str, wanted: &str, value: &Value) -> Diagnostic {
    Diagnostic::new(DiagnosticCode::WrongType, pointer, format!("must be {wanted}, not {}", type_of(value)))
}

impl<'d> ObjectReader<'d> {
    /// Opens an object and reports its unknown fields.
    pub(crate) fn open(
        value: &'d Value,
        pointer: &str,
        known: &[&str],
        context: &mut ReadContext<'_>,
    ) -> Option<Self> {
        let Value::Object(members) = value else {
            context.report(wrong_type(pointer, "an object", value));
            return None;
        };
        let object = Self { members, pointer: pointer.to_owned() };
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            // A suggestion for each of thousands of unknown fields would cost seconds.
            if context.is_full() {
                break;
            }
            let words = format!("unknown field {}", shortened(name));
            let mut diagnostic = Diagnostic::new(DiagnosticCode::UnknownField, object.at(name), words);
            diagnostic.suggestion = closest(name, known.iter().copied()).map(str::to_owned);
            context.report(diagnostic);
        }
        Some(object)
    }

    /// Returns the JSON pointer of a field.
    pub(crate) fn at(&self, field: &str) -> String {
        format!("{}/{}", self.pointer, token(field))
    }

    pub(crate) fn get(&self, field: &str) -> Option<&'d Value> {
        self.members.get(field).filter(|value| !value.is_null())
    }

    /// Returns whether a field is written as null, for the few in which null differs from absence.
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.members.get(field).is_some_and(Value::is_null)
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Returns a required field. If it is absent, the diagnostic points to the object, because a
    /// pointer to the field would lead nowhere.
    pub(crate) fn require(&self, field: &str, context: &mut ReadContext<'_>) -> Option<&'d Value> {
        let value = self.get(field);
        if value.is_none() {
            context.report(Diagnostic::new(
                DiagnosticCode::Required,
                self.pointer.clone(),
                format!("{field} is required"),
            ));
        }
        value
    }

    fn typed<T>(
        &self,
        field: &str,
        wanted: &str,
        context: &mut ReadContext<'_>,
        take: impl FnOnce(&'d Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(field)?;
        let taken = take(value);
        if taken.is_none() {
            context.report(wrong_type(&self.at(field), wanted, value));
        }
        taken
    }

    pub(crate) fn text(&self, field: &str, context: &mut ReadContext<'_>) -> Option<&'d str> {
        self.typed(field, "text", context, Value::as_str)
    }

    /// Reads text of at most this many bytes.
    pub(crate) fn short_text(
        &self,
        field: &str,
        most: usize,
        context: &mut ReadContext<'_>,
    ) -> Option<String> {
        let text = self.text(field, context)?;
        if text.len() > most {
            let words = format!("has {} bytes, at most {most} are allowed", text.len());
            context.report(Diagnostic::new(DiagnosticCode::OutOfRange, self.at(field), words));
            return None;
        }
        Some(text.to_owned())
    }

    pub(crate) fn boolean(&self, field: &str, context: &mut ReadContext<'_>) -> Option<bool> {
        self.typed(field, "a boolean", context, Value::as_bool)
    }

    pub(crate) fn list(&self, field: &str, context: &mut ReadContext<'_>) -> Option<&'d Vec<Value>> {
        self.typed(field, "a list", context, Value::as_array)
    }

    pub(crate) fn map(&self, field: &str, context: &mut ReadContext<'_>) -> Option<&'d Map<String, Value>> {
        self.typed(field, "an object", context, Value::as_object)
    }

    /// Reads an integer within bounds.
    pub(crate) fn integer(
        &self,
        field: &str,
        bounds: RangeInclusive<u64>,
        context: &mut ReadContext<'_>,
    ) -> Option<u64> {
        let value = self.get(field)?;
        let Value::Number(number) = value else {
            context.report(wrong_type(&self.at(field), "an integer", value));
            return None;
        };
        match integer(number) {
            Some(taken) if bounds.contains(&taken) => Some(taken),
            _ => {
                let words = match (integer(number), number.as_f64()) {
                    (None, Some(double)) if double.fract() != 0.0 => format!("{number} must be an integer"),
                    _ if *bounds.end() == u64::MAX => format!("{number} must be at least {}", bounds.start()),
                    _ => format!("{number} must be between {} and {}", bounds.start(), bounds.end()),
                };
                context.report(Diagnostic::new(DiagnosticCode::OutOfRange, self.at(field), words));
                None
            }
        }
    }

    /// Reads an integer that the database stores in 32 bits.
    pub(crate) fn count(
        &self,
        field: &str,
        bounds: RangeInclusive<u64>,
        context: &mut ReadContext<'_>,
    ) -> Option<i32> {
        self.integer(field, bounds, context).and_then(|value| i32::try_from(value).ok())
    }

    /// Reads one of several names.
    pub(crate) fn choice<T: Copy>(
        &self,
        field: &str,
        choices: &[(&str, T)],
        context: &mut ReadContext<'_>,
    ) -> Option<T> {
        let text = self.text(field, context)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let words = format!("{text} is not allowed: use {}", names.join(", "), text = quoted(text));
            let mut diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, self.at(field), words);
            diagnostic.suggestion = closest(text, names).map(str::to_owned);
            context.report(diagnostic);
        }
        found
    }

    /// Reads a positive duration such as `1h30m`.
    pub(crate) fn duration(&self, field: &str, context: &mut ReadContext<'_>) -> Option<TimeDelta> {
        let value = self.get(field)?;
        let Value::String(text) = value else {
            let diagnostic = wrong_type(&self.at(field), "a duration as text", value);
            context.report(diagnostic.suggest(format!("\"{}s\"", value.as_u64().unwrap_or(10))));
            return None;
        };
        let span = time::parse_span(text);
        if span.is_none() {
            let words = format!(
                "{text} is not a duration: write one such as 90s, 10m, 1h30m, 1d or 2w, greater than 0",
                text = quoted(text)
            );
            context.report(Diagnostic::new(DiagnosticCode::InvalidValue, self.at(field), words));
        }
        span
    }

    /// Reads the name of a parameter.
    pub(crate) fn param(&self, field: &str, context: &mut ReadContext<'_>) -> Option<String> {
        let name = self.text(field, context)?;
        if name.is_empty() {
            context.report(Diagnostic::new(
                DiagnosticCode::InvalidValue,
                self.at(field),
                "the name of a parameter must not be empty",
            ));
        }
        Some(name.to_owned())
    }

    pub(crate) fn expr(&self, field: &str, scope: &InScope, context: &mut ReadContext<'_>) -> Option<Expr> {
        let value = self.get(field)?;
        expr(value, &self.at(field), scope, context)
    }
}

/// Reads an expression, which is text. Literal booleans and numbers are suggested in the notation
/// of expressions.
pub(crate) fn expr(
    value: &Value,
    pointer: &str,
    scope: &InScope,
    context: &mut ReadContext<'_>,
) -> Option<Expr> {
    match value {
        Value::String(text) if text.trim_start().starts_with("{{") => {
            let inner = text.trim().trim_start_matches("{{").trim_end_matches("}}").trim();
            let diagnostic = Diagnostic::new(
                DiagnosticCode::Syntax,
                pointer,
                "this field is an expression already: write it without {{ and }}",
            );
            context.report(diagnostic.at(0).suggest(inner));
            None
        }
        Value::String(text) => context.expr(text, pointer, scope),
        Value::Bool(_) | Value::Number(_) => {
            context.report(
                wrong_type(pointer, "an expression as text", value).suggest(format!("\"`{value}`\"")),
            );
            None
        }
        _ => {
            context.report(wrong_type(pointer, "an expression as text", value));
            None
        }
    }
}

/// Returns whether a text is a key: `[a-z0-9][a-z0-9._-]{0,127}`.
pub(crate) fn is_key(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.as_bytes().iter();
    text.len() <= 128
        && bytes.next().is_some_and(plain)
        && bytes.all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// Reads a key.
pub(crate) fn key(text: &str, pointer: String, context: &mut ReadContext<'_>) -> Option<String> {
    if is_key(text) {
        return Some(text.to_owned());
    }
    let words = format!(
        "{text} is not a key: use 1 to 128 lower-case letters, digits, '.', '_' and '-', starting with a \
         letter or digit",
        text = quoted(text)
    );
    context.report(Diagnostic::new(DiagnosticCode::InvalidValue, pointer, words));
    None
}

fn integer(number: &serde_json::Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let double =
            number.as_f64().filter(|double| double.fract() == 0.0 && (0.0..9e15).contains(double))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "integral, positive, below 2^53"
        )]
        let whole = double as u64;
        Some(whole)
    })
}

//! Reads the rules that classify responses: `abort_on`, `ignore_on`, `accept_on`, `abort_when`,
//! `ignore_when` and `retry_when`.

use serde_json::Value;

use super::context::ReadContext;
use super::object::{ObjectReader, wrong_type};
use crate::diagnostic::quoted;
use crate::expr::InScope;
use crate::{Diagnostic, DiagnosticCode, OutcomeMatcher, OutcomeRules, StatusClass};

pub(super) fn read(step: &ObjectReader<'_>, scope: &InScope, context: &mut ReadContext<'_>) -> OutcomeRules {
    OutcomeRules {
        abort_on: matchers(step, "abort_on", context),
        abort_when: step.expr("abort_when", scope, context),
        ignore_on: matchers(step, "ignore_on", context),
        ignore_when: step.expr("ignore_when", scope, context),
        accept_on: matchers(step, "accept_on", context),
        retry_when: step.expr("retry_when", scope, context),
    }
}

/// Reads a list of statuses, classes and error codes.
pub(super) fn matchers(
    object: &ObjectReader<'_>,
    field: &str,
    context: &mut ReadContext<'_>,
) -> Vec<OutcomeMatcher> {
    let Some(values) = object.list(field, context) else { return Vec::new() };
    let mut matchers = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let pointer = format!("{}/{index}", object.at(field));
        match matcher(value, &pointer) {
            Ok(matcher) if matchers.contains(&matcher) => {
                context.report(Diagnostic::new(
                    DiagnosticCode::Duplicate,
                    pointer,
                    format!("{value} is listed twice"),
                ));
            }
            Ok(matcher) => matchers.push(matcher),
            Err(diagnostic) => context.report(diagnostic),
        }
    }
    matchers
}

fn matcher(value: &Value, pointer: &str) -> Result<OutcomeMatcher, Diagnostic> {
    match value {
        Value::Number(number) => {
            let status =
                number.as_f64().filter(|status| status.fract() == 0.0 && (100.0..600.0).contains(status));
            let status = status.ok_or_else(|| {
                Diagnostic::new(
                    DiagnosticCode::OutOfRange,
                    pointer,
                    format!("{number} is not a status: those are 100 to 599"),
                )
            })?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "integral, 100 to 599"
            )]
            let status = status as u16;
            Ok(OutcomeMatcher::Status(status))
        }
        Value::String(text) => {
            let lower = text.to_ascii_lowercase();
            if let [digit @ b'1'..=b'5', b'x', b'x'] = lower.as_bytes() {
                if text != &lower {
                    let diagnostic = Diagnostic::new(
                        DiagnosticCode::InvalidValue,
                        pointer,
                        format!(
                            "{text} is not a status class: those are written in lower case",
                            text = quoted(text)
                        ),
                    );
                    return Err(diagnostic.suggest(format!("\"{lower}\"")));
                }
                return Ok(OutcomeMatcher::Class(StatusClass(digit - b'0')));
            }
            if let Ok(status) = text.parse::<u16>() {
                let diagnostic = Diagnostic::new(
                    DiagnosticCode::WrongType,
                    pointer,
                    "a status must be a number, not text",
                );
                return Err(diagnostic.suggest(status.to_string()));
            }
            let is_code = text.starts_with(|first: char| first.is_ascii_uppercase())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
            if !is_code {
                let words = format!(
                    "{text} is neither a status class such as \"5xx\" nor an error code such as \"TIMEOUT\"",
                    text = quoted(text)
                );
                return Err(Diagnostic::new(DiagnosticCode::InvalidValue, pointer, words));
            }
            Ok(OutcomeMatcher::Code(text.clone()))
        }
        other => Err(wrong_type(pointer, "a status, a class or an error code", other)),
    }
}

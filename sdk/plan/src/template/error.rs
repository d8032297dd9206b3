//! A request that could not be rendered.

use crate::value::JsonType;
use crate::{EvalError, Value};

/// Why a request could not be rendered. All of these are faults of the plan or the config, class `config`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// The code of the error message.
    pub code: RenderErrorCode,
    /// The field in the plan document: `/definition/step/headers/x-account`.
    pub pointer: String,
    /// What is wrong; never the value itself, which can be a secret.
    pub message: String,
}

/// The codes of rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderErrorCode {
    /// Null where text was needed.
    TemplateNull,
    /// A list or an object where text was needed.
    TemplateType,
    /// An expression failed.
    Expression,
    /// The url is not absolute, or neither `http` nor `https`.
    InvalidUrl,
    /// A header's value holds CR, LF, NUL or something else that no header can carry.
    InvalidHeader,
}

impl RenderErrorCode {
    /// The code as it is written in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TemplateNull => "TEMPLATE_NULL",
            Self::TemplateType => "TEMPLATE_TYPE",
            Self::Expression => "EXPRESSION",
            Self::InvalidUrl => "INVALID_URL",
            Self::InvalidHeader => "INVALID_HEADER",
        }
    }
}

impl RenderError {
    pub(crate) fn expression(pointer: &str, error: &EvalError) -> Self {
        Self { code: RenderErrorCode::Expression, pointer: pointer.to_owned(), message: error.to_string() }
    }

    /// A value that has no text where text is needed. `instead` is the expression that has one.
    pub(super) fn no_text(value: &Value, pointer: &str, expression: &str, instead: &str) -> Self {
        let (code, message) = match value.json_type() {
            JsonType::Null => (
                RenderErrorCode::TemplateNull,
                format!("{{{{ {expression} }}}} is null; write {{{{ {instead} }}}} where nothing is meant"),
            ),
            kind => (
                RenderErrorCode::TemplateType,
                format!("{{{{ {expression} }}}} is of type {kind}, which has no text"),
            ),
        };
        Self { code, pointer: pointer.to_owned(), message }
    }

    pub(crate) fn new(code: RenderErrorCode, pointer: &str, message: impl Into<String>) -> Self {
        Self { code, pointer: pointer.to_owned(), message: message.into() }
    }
}

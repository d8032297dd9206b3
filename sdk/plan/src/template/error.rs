//! The error of a request that could not be rendered.

use crate::{EvalError, JsonType, Value};

/// The reason why a request could not be rendered. It always lies in the plan or the config, so the
/// error class is `config`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// Error code.
    pub code: RenderErrorCode,
    /// JSON pointer of the field in the plan document, such as
    /// `/definition/step/headers/x-account`.
    pub pointer: String,
    /// Description without the value itself, which can be secret.
    pub message: String,
}

/// The error codes of rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderErrorCode {
    /// A value is null where text is needed.
    TemplateNull,
    /// A value is a list or an object where text is needed.
    TemplateType,
    /// An expression failed.
    Expression,
    /// A segment of the url's path is `.`, `..` or, by an expression, empty.
    TemplateSegment,
    /// The url is not absolute, or its scheme is neither `http` nor `https`.
    InvalidUrl,
    /// A header's value contains a control character, such as CR, LF or NUL.
    InvalidHeader,
}

impl RenderErrorCode {
    /// Returns the code as messages contain it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TemplateNull => "TEMPLATE_NULL",
            Self::TemplateType => "TEMPLATE_TYPE",
            Self::Expression => "EXPRESSION",
            Self::TemplateSegment => "TEMPLATE_SEGMENT",
            Self::InvalidUrl => "INVALID_URL",
            Self::InvalidHeader => "INVALID_HEADER",
        }
    }
}

impl RenderError {
    /// Reports an expression that failed.
    pub(crate) fn expression(pointer: &str, error: &EvalError) -> Self {
        Self { code: RenderErrorCode::Expression, pointer: pointer.to_owned(), message: error.to_string() }
    }

    /// Reports a value without text where text is needed. `corrected` is the expression to write
    /// instead if the value is null.
    pub(super) fn no_text(value: &Value, pointer: &str, expression: &str, corrected: &str) -> Self {
        let (code, message) = match value.json_type() {
            JsonType::Null => (
                RenderErrorCode::TemplateNull,
                format!("{{{{ {expression} }}}} is null; write {{{{ {corrected} }}}} where nothing is meant"),
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

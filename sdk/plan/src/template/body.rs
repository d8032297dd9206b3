//! The body of a request: JSON, a form where the content type says so, or text.

use bytes::Bytes;
use url::form_urlencoded;

use super::{JsonTemplate, params};
use crate::value::JsonType;
use crate::{EvalEnv, RenderError, RenderErrorCode, Scope, Value};

/// The content type that makes a form of an object.
const FORM: &str = "application/x-www-form-urlencoded";

/// A step's `body`.
#[derive(Clone, Debug)]
pub(crate) struct BodyTemplate {
    pub(crate) content: JsonTemplate,
    pub(crate) pointer: String,
}

/// A rendered body, and the content type that it has where the plan names none.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) content_type: &'static str,
}

impl BodyTemplate {
    /// Renders the body for a request with this content type. A template that is null is no body.
    pub(super) fn render(
        &self,
        content_type: Option<&str>,
        scope: &Scope,
        env: &EvalEnv,
    ) -> Result<Option<Body>, RenderError> {
        let value = self.content.render(scope, env)?;
        Ok(match value.json_type() {
            JsonType::Null => None,
            JsonType::Object if content_type.is_some_and(is_form) => Some(self.form(&value)?),
            JsonType::List if content_type.is_some_and(is_form) => {
                let message = "a form is an object, not a list";
                return Err(RenderError::new(RenderErrorCode::TemplateType, &self.pointer, message));
            }
            JsonType::Object | JsonType::List => {
                Some(Body { bytes: value.to_json().into(), content_type: "application/json" })
            }
            JsonType::Text | JsonType::Number | JsonType::Bool => {
                let text = value.to_text().unwrap_or_default();
                Some(Body { bytes: text.into_bytes().into(), content_type: "text/plain; charset=utf-8" })
            }
        })
    }

    fn form(&self, value: &Value) -> Result<Body, RenderError> {
        let mut pairs = Vec::new();
        for (name, member) in value.members().into_iter().flatten() {
            params::pairs(
                name,
                &member,
                &format!("{}/{}", self.pointer, crate::diagnostic::token(name)),
                &mut pairs,
            )?;
        }
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Ok(Body { bytes: form.into_bytes().into(), content_type: FORM })
    }
}

fn is_form(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
}

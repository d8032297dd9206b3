//! The body of a request: JSON, a form (by its content type), or text.

use bytes::Bytes;
use url::form_urlencoded;

use super::error::{RenderError, RenderErrorCode};
use super::json::JsonTemplate;
use super::params;
use crate::{EvalEnv, JsonType, Scope, Value};

/// Content type that renders an object as a form.
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The `body` field of a step.
#[derive(Clone, Debug)]
pub(crate) struct BodyTemplate {
    pub(crate) content: JsonTemplate,
    pub(crate) pointer: String,
}

/// A rendered body, with the content type to send if the plan sets none.
pub(super) struct RenderedBody {
    pub(super) bytes: Bytes,
    pub(super) content_type: &'static str,
}

impl BodyTemplate {
    /// Renders the body for a request with this content type. Returns `None` if the template is
    /// null.
    pub(super) fn render(
        &self,
        content_type: Option<&str>,
        scope: &Scope,
        env: &EvalEnv,
    ) -> Result<Option<RenderedBody>, RenderError> {
        let value = self.content.render(scope, env)?;
        Ok(match value.json_type() {
            JsonType::Null => None,
            JsonType::Object if content_type.is_some_and(is_form) => Some(self.form(&value)?),
            // A form is a set of pairs, so a list has no form encoding.
            JsonType::List if content_type.is_some_and(is_form) => {
                let message = "a form is an object, not a list";
                return Err(RenderError::new(RenderErrorCode::TemplateType, &self.pointer, message));
            }
            JsonType::Object | JsonType::List => {
                Some(RenderedBody { bytes: value.to_json().into(), content_type: "application/json" })
            }
            JsonType::Text | JsonType::Number | JsonType::Bool => {
                let text = value.to_text().unwrap_or_default();
                Some(RenderedBody {
                    bytes: text.into_bytes().into(),
                    content_type: "text/plain; charset=utf-8",
                })
            }
        })
    }

    fn form(&self, value: &Value) -> Result<RenderedBody, RenderError> {
        let mut pairs = Vec::new();
        for (name, member) in value.members().into_iter().flatten() {
            params::append_pairs(
                name,
                &member,
                &format!("{}/{}", self.pointer, crate::diagnostic::token(name)),
                &mut pairs,
            )?;
        }
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Ok(RenderedBody { bytes: form.into_bytes().into(), content_type: FORM_TYPE })
    }
}

fn is_form(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM_TYPE))
}

//! JSON values with templates in their texts.

use super::error::RenderError;
use super::text::{Template, ValueEncoding};
use crate::{EvalEnv, Scope, Value};

/// A JSON value of a plan document whose texts are templates.
#[derive(Clone, Debug)]
pub(crate) enum JsonTemplate {
    /// Null, a boolean, a number, or text without expressions.
    Literal(Value),
    Template(Template),
    List(Vec<JsonTemplate>),
    /// Only values are templates, names are not.
    Object(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// Renders every template. A value that is a single expression keeps its type.
    pub(crate) fn render(&self, scope: &Scope, env: &EvalEnv) -> Result<Value, RenderError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Template(template) => match template.value(scope, env) {
                Some(value) => value,
                None => template.text(scope, env, ValueEncoding::None).map(Value::from),
            },
            Self::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| item.render(scope, env)).collect();
                Ok(Value::list(items?))
            }
            Self::Object(members) => {
                let mut rendered = Vec::with_capacity(members.len());
                for (name, member) in members {
                    let value = member.render(scope, env)?;
                    // A template that renders to null drops its member. A literal null is sent.
                    if !value.is_null() || matches!(member, Self::Literal(_)) {
                        rendered.push((name.as_str(), value));
                    }
                }
                Ok(Value::object(rendered))
            }
        }
    }

    /// Appends all templates in this value.
    pub(crate) fn templates<'t>(&'t self, out: &mut Vec<&'t Template>) {
        match self {
            Self::Literal(_) => {}
            Self::Template(template) => out.push(template),
            Self::List(items) => items.iter().for_each(|item| item.templates(out)),
            Self::Object(members) => members.iter().for_each(|(_, member)| member.templates(out)),
        }
    }
}

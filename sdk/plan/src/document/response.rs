//! `response`.

use super::context::Context;
use super::object::Object;
use super::unsupported;
use crate::{ResponseFormat, ResponseRules};

const FIELDS: &[&str] = &["format", "max_bytes", "charset", "decompress", "stream", "csv", "xml"];

/// All formats of the language; those that are not served are refused by the table.
const FORMATS: &[(&str, Option<ResponseFormat>)] = &[
    ("auto", Some(ResponseFormat::Auto)),
    ("json", Some(ResponseFormat::Json)),
    ("jsonl", None),
    ("xml", None),
    ("csv", None),
    ("text", None),
    ("binary", None),
];

pub(super) fn read(step: &Object<'_>, context: &mut Context<'_>) -> ResponseRules {
    let most = context.server.body_bytes;
    let default =
        ResponseRules { max_bytes: ResponseRules::default().max_bytes.min(most), ..ResponseRules::default() };
    let Some(value) = step.get("response") else { return default };
    let Some(object) = Object::open(value, &step.at("response"), FIELDS, context) else { return default };
    unsupported::refuse(&object, unsupported::RESPONSE, context);
    ResponseRules {
        format: object.choice("format", FORMATS, context).flatten().unwrap_or(default.format),
        max_bytes: object.integer("max_bytes", 1..=most, context).unwrap_or(default.max_bytes),
        ..default
    }
}

//! The whole plan document: its header and its definition.

use serde_json::Value;

use crate::compiled::Plan;
use crate::document::context::ReadContext;
use crate::document::definition;
use crate::document::object::ObjectReader;
use crate::header::PlanHeader;

/// Returns the names of all fields of a plan document.
pub(crate) fn fields() -> Vec<&'static str> {
    PlanHeader::FIELDS.into_iter().chain(["definition"]).collect()
}

pub(super) fn read(document: &Value, context: &mut ReadContext<'_>) -> Option<Plan> {
    let object = ObjectReader::open(document, "", &fields(), context)?;
    let header = PlanHeader::read(&object, context);
    let definition = object.require("definition", context);
    let definition = definition.and_then(|value| definition::read(value, "/definition", context));
    Some(Plan { header: header?, definition: definition? })
}

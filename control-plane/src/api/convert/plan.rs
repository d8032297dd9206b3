//! Converts plans and their revisions. The header is converted beside its message, in
//! `orchid_proto`.

use chrono::{DateTime, Utc};
use orchid_plan::{PlanHeader, ServerLimits, Warning};
use orchid_proto::v1;
use serde_json::Value as Json;
use tonic::Status;
use uuid::Uuid;

use crate::{
    api::{convert, error, request},
    commands::{
        CommandError, Diagnostic,
        etag::etag,
        plans::{CreatePlan, PlanChanges, PlanDocument, UpdatePlan},
    },
    store::plans::{Plan, Revision},
};

/// Decodes a plan as it would be created. JSON pointers in errors start at the plan.
pub(crate) fn create(plan: v1::Plan, limits: ServerLimits, now: DateTime<Utc>) -> Result<CreatePlan, Status> {
    let key = plan.key.clone();
    let document = document(plan, &limits)?;
    Ok(CreatePlan { id: Uuid::now_v7(), key, document, limits, now })
}

/// Decodes a whole plan.
fn document(plan: v1::Plan, limits: &ServerLimits) -> Result<PlanDocument, Status> {
    Ok(PlanDocument::new(&header(&plan)?, definition(plan, limits)?))
}

/// Decodes an update.
pub(crate) fn update(
    request: v1::UpdatePlanRequest,
    limits: ServerLimits,
    now: DateTime<Utc>,
) -> Result<UpdatePlan, Status> {
    let v1::UpdatePlanRequest { plan, update_mask } = request;
    let mut plan = request::required(plan, "/plan")?;
    let etag = request::non_empty(std::mem::take(&mut plan.etag));
    let header = header(&plan)?;
    let definition = definition(plan, &limits)?;
    let can_change: Vec<&str> = PlanHeader::changeable_fields().chain(["definition"]).collect();
    let sent = header.to_members();
    let is_sent = |field: &str| {
        if field == "definition" { definition.is_some() } else { sent.contains_key(field) }
    };
    let set: Vec<(&str, bool)> = can_change.iter().map(|&field| (field, is_sent(field))).collect();
    let mask = convert::mask(update_mask, &can_change, &set)?;
    Ok(UpdatePlan {
        key: header.key.clone(),
        etag,
        integration: request::non_empty(header.integration.clone()),
        changes: PlanChanges {
            header,
            fields: PlanHeader::changeable_fields().filter(|field| mask.has(field)).collect(),
            definition: definition.filter(|_| mask.has("definition")),
        },
        limits,
        now,
    })
}

fn header(plan: &v1::Plan) -> Result<PlanHeader, Status> {
    plan.header().map_err(|unknown| {
        let pointer = format!("/{}", unknown.field);
        error::invalid("INVALID_PLAN", Diagnostic::new("INVALID_VALUE", pointer, unknown.to_string()))
    })
}

fn definition(plan: v1::Plan, limits: &ServerLimits) -> Result<Option<Json>, Status> {
    let read = |definition| convert::json::from_wire(&definition, "/definition", limits.definition_bytes);
    plan.definition.map(read).transpose()
}

/// Encodes a plan.
pub(crate) fn to_wire(row: Plan) -> Result<v1::Plan, Status> {
    let header = row.header().map_err(|error| error::status(CommandError::Store(error)))?;
    Ok(v1::Plan {
        definition: Some(convert::json::to_wire(&row.definition)?),
        revision: row.revision,
        create_time: Some(convert::timestamp(row.created_at)),
        update_time: Some(convert::timestamp(row.updated_at)),
        etag: etag(row.id, row.version),
        ..header.into()
    })
}

/// Encodes a plan that was saved by this request, with the warnings about its definition.
pub(crate) fn saved_to_wire(row: Plan, warnings: Vec<Warning>) -> Result<v1::Plan, Status> {
    let warnings = warnings.into_iter().map(convert::warning).collect();
    Ok(v1::Plan { warnings, ..to_wire(row)? })
}

/// Encodes a revision.
pub(crate) fn revision_to_wire(row: Revision, plan: &str) -> Result<v1::PlanRevision, Status> {
    let Revision { revision, definition, definition_hash, created_at } = row;
    Ok(v1::PlanRevision {
        plan: plan.to_owned(),
        revision,
        definition: Some(convert::json::to_wire(&definition)?),
        definition_hash: hex::encode(definition_hash),
        create_time: Some(convert::timestamp(created_at)),
    })
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;

    fn changes(plan: v1::Plan, paths: &[&str]) -> PlanChanges {
        let mask = FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() };
        let request = v1::UpdatePlanRequest { plan: Some(plan), update_mask: Some(mask) };
        update(request, ServerLimits::default(), DateTime::UNIX_EPOCH).unwrap().changes
    }

    #[test]
    fn update_without_a_mask_changes_what_was_sent() {
        let plan = v1::Plan { key: "p".into(), enabled: Some(true), name: "n".into(), ..v1::Plan::default() };
        let changes = changes(plan, &[]);
        assert_eq!((changes.header.enabled, changes.header.name.as_str()), (Some(true), "n"));
        assert_eq!(changes.fields, ["name", "enabled"]);
    }

    #[test]
    fn masked_field_that_was_not_sent_goes_back_to_its_default() {
        let plan = v1::Plan { key: "p".into(), ..v1::Plan::default() };
        let changes = changes(plan, &["enabled", "repeat_count", "configs", "cron", "catch_up"]);
        assert_eq!(changes.fields, ["configs", "enabled", "cron", "catch_up", "repeat_count"]);
        assert_eq!(changes.header, PlanHeader { key: "p".into(), ..PlanHeader::default() });
    }

    #[test]
    fn definition_changes_only_if_it_was_sent_and_masked() {
        let plan = v1::Plan { definition: Some(prost_types::Struct::default()), ..v1::Plan::default() };
        assert!(changes(plan.clone(), &[]).definition.is_some());
        assert!(changes(plan, &["name"]).definition.is_none());
        assert!(changes(v1::Plan::default(), &["definition"]).definition.is_none());
    }

    #[test]
    fn unknown_enum_number_is_refused() {
        for plan in
            [v1::Plan { overlap: 9, ..v1::Plan::default() }, v1::Plan { catch_up: 9, ..v1::Plan::default() }]
        {
            assert_eq!(
                document(plan, &ServerLimits::default()).unwrap_err().code(),
                tonic::Code::InvalidArgument
            );
        }
    }
}

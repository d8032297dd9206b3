//! Plans and their revisions.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;
use orchid_proto::v1;
use tonic::Status;
use uuid::Uuid;

use crate::{
    api::{convert, error, request},
    commands::{
        Diagnostic,
        etag::etag,
        plans::{CreatePlan, PlanChanges, PlanDocument, UpdatePlan},
    },
    store::plans::{Plan, Revision},
};

const CAN_CHANGE: [&str; 13] = [
    "configs",
    "name",
    "description",
    "enabled",
    "wait_seconds",
    "cron",
    "timezone",
    "spread_seconds",
    "overlap",
    "catch_up",
    "repeat_count",
    "priority",
    "definition",
];

/// Decodes a plan as it would be created. Pointers of diagnostics in it begin at the plan.
pub(crate) fn create(plan: v1::Plan, limits: ServerLimits, now: DateTime<Utc>) -> Result<CreatePlan, Status> {
    let key = plan.key.clone();
    Ok(CreatePlan { id: Uuid::now_v7(), key, document: document(plan)?, limits, now })
}

/// Decodes a whole plan.
pub(crate) fn document(plan: v1::Plan) -> Result<PlanDocument, Status> {
    let Decoded { key, integration, changes, set: _, etag: _ } = decode(plan)?;
    Ok(PlanDocument::new(&key, &integration, &changes))
}

/// Decodes an update.
pub(crate) fn update(
    request: v1::UpdatePlanRequest,
    limits: ServerLimits,
    now: DateTime<Utc>,
) -> Result<UpdatePlan, Status> {
    let v1::UpdatePlanRequest { plan, update_mask } = request;
    let Decoded { key, integration, changes, set, etag } = decode(request::required(plan, "/plan")?)?;
    let mask = convert::mask(update_mask, &CAN_CHANGE, &set)?;
    let has = |field| mask.has(field);
    let changes = PlanChanges {
        configs: if has("configs") { Some(changes.configs.unwrap_or_default()) } else { None },
        name: if has("name") { Some(changes.name.unwrap_or_default()) } else { None },
        description: if has("description") { Some(changes.description.unwrap_or_default()) } else { None },
        // A field that the mask names and the plan lacks goes back to its default.
        enabled: if has("enabled") { Some(changes.enabled.unwrap_or(false)) } else { None },
        wait_seconds: if has("wait_seconds") { Some(changes.wait_seconds.flatten()) } else { None },
        cron: if has("cron") { Some(changes.cron.flatten()) } else { None },
        timezone: if has("timezone") { Some(changes.timezone.flatten()) } else { None },
        spread_seconds: if has("spread_seconds") { Some(changes.spread_seconds.flatten()) } else { None },
        overlap: if has("overlap") { Some(changes.overlap.unwrap_or("skip")) } else { None },
        catch_up: if has("catch_up") { Some(changes.catch_up.unwrap_or("run_once")) } else { None },
        repeat_count: if has("repeat_count") { Some(changes.repeat_count.flatten()) } else { None },
        priority: if has("priority") { Some(changes.priority.flatten()) } else { None },
        definition: if has("definition") { changes.definition } else { None },
    };
    Ok(UpdatePlan {
        key,
        etag: request::non_empty(etag),
        integration: request::non_empty(integration),
        changes,
        limits,
        now,
    })
}

struct Decoded {
    key: String,
    integration: String,
    changes: PlanChanges,
    /// The fields that can change, and whether each was sent.
    set: [(&'static str, bool); 13],
    etag: String,
}

fn decode(plan: v1::Plan) -> Result<Decoded, Status> {
    let v1::Plan {
        key,
        integration,
        configs,
        name,
        description,
        enabled,
        wait_seconds,
        overlap,
        repeat_count,
        priority,
        definition,
        revision: _,
        create_time: _,
        update_time: _,
        etag,
        cron,
        timezone,
        spread_seconds,
        catch_up,
    } = plan;
    let changes = PlanChanges {
        configs: (!configs.is_empty()).then_some(configs),
        name: request::non_empty(name),
        description: request::non_empty(description),
        enabled,
        wait_seconds: wait_seconds.map(Some),
        cron: request::non_empty(cron).map(Some),
        timezone: request::non_empty(timezone).map(Some),
        spread_seconds: spread_seconds.map(Some),
        overlap: overlap_of(overlap)?,
        catch_up: catch_up_of(catch_up)?,
        repeat_count: repeat_count.map(Some),
        priority: priority.map(Some),
        definition: definition
            .map(|definition| convert::json::from_wire(&definition, "/definition"))
            .transpose()?,
    };
    let set = [
        ("configs", changes.configs.is_some()),
        ("name", changes.name.is_some()),
        ("description", changes.description.is_some()),
        ("enabled", changes.enabled.is_some()),
        ("wait_seconds", changes.wait_seconds.is_some()),
        ("cron", changes.cron.is_some()),
        ("timezone", changes.timezone.is_some()),
        ("spread_seconds", changes.spread_seconds.is_some()),
        ("overlap", changes.overlap.is_some()),
        ("catch_up", changes.catch_up.is_some()),
        ("repeat_count", changes.repeat_count.is_some()),
        ("priority", changes.priority.is_some()),
        ("definition", changes.definition.is_some()),
    ];
    Ok(Decoded { key, integration, changes, set, etag })
}

fn overlap_of(number: i32) -> Result<Option<&'static str>, Status> {
    match v1::Overlap::try_from(number) {
        Ok(v1::Overlap::Unspecified) => Ok(None),
        Ok(v1::Overlap::Skip) => Ok(Some("skip")),
        Ok(v1::Overlap::Queue) => Ok(Some("queue")),
        Err(_) => {
            let diagnostic = Diagnostic::new("INVALID_VALUE", "/overlap", format!("{number} is no Overlap"));
            Err(error::invalid("INVALID_PLAN", diagnostic))
        }
    }
}

fn catch_up_of(number: i32) -> Result<Option<&'static str>, Status> {
    match v1::CatchUp::try_from(number) {
        Ok(v1::CatchUp::Unspecified) => Ok(None),
        Ok(v1::CatchUp::RunOnce) => Ok(Some("run_once")),
        Ok(v1::CatchUp::Skip) => Ok(Some("skip")),
        Ok(v1::CatchUp::RunEach) => Ok(Some("run_each")),
        Err(_) => {
            let diagnostic = Diagnostic::new("INVALID_VALUE", "/catch_up", format!("{number} is no CatchUp"));
            Err(error::invalid("INVALID_PLAN", diagnostic))
        }
    }
}

/// Encodes a plan.
pub(crate) fn to_wire(row: Plan) -> Result<v1::Plan, Status> {
    let Plan {
        id,
        integration_id: _,
        integration_key,
        key,
        name,
        description,
        enabled,
        configs,
        wait_seconds,
        cron,
        timezone,
        spread_seconds,
        overlap,
        catch_up,
        repeat_count,
        priority,
        revision,
        definition,
        version,
        created_at,
        updated_at,
    } = row;
    let configs = configs.map(serde_json::from_value).transpose();
    Ok(v1::Plan {
        key,
        integration: integration_key,
        configs: configs.map_err(|error| convert::corrupt("plans.configs", error))?.unwrap_or_default(),
        name,
        description,
        enabled: Some(enabled),
        wait_seconds: cron.is_none().then_some(wait_seconds),
        overlap: match overlap.as_str() {
            "queue" => v1::Overlap::Queue.into(),
            "skip" => v1::Overlap::Skip.into(),
            other => return Err(convert::corrupt("plans.overlap", other)),
        },
        repeat_count,
        priority: Some(i32::from(priority)),
        definition: Some(convert::json::to_wire(&definition)?),
        revision,
        create_time: Some(convert::timestamp(created_at)),
        update_time: Some(convert::timestamp(updated_at)),
        etag: etag(id, version),
        cron: cron.unwrap_or_default(),
        timezone: timezone.unwrap_or_default(),
        spread_seconds,
        catch_up: match catch_up.as_str() {
            "run_once" => v1::CatchUp::RunOnce.into(),
            "skip" => v1::CatchUp::Skip.into(),
            "run_each" => v1::CatchUp::RunEach.into(),
            other => return Err(convert::corrupt("plans.catch_up", other)),
        },
    })
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
    fn without_a_mask_only_what_was_sent_changes() {
        let plan = v1::Plan { key: "p".into(), enabled: Some(true), name: "n".into(), ..v1::Plan::default() };
        let changes = changes(plan, &[]);
        assert_eq!((changes.enabled, changes.name.as_deref()), (Some(true), Some("n")));
        assert!(changes.description.is_none() && changes.wait_seconds.is_none() && changes.configs.is_none());
    }

    #[test]
    fn a_field_of_the_mask_that_was_not_sent_goes_back_to_its_default() {
        let changes = changes(
            v1::Plan { key: "p".into(), ..v1::Plan::default() },
            &["enabled", "repeat_count", "configs"],
        );
        assert_eq!(changes.enabled, Some(false));
        assert_eq!(changes.repeat_count, Some(None));
        assert_eq!(changes.configs, Some(vec![]));
        assert!(changes.name.is_none());
    }

    #[test]
    fn a_number_that_names_nothing_is_refused() {
        for plan in
            [v1::Plan { overlap: 9, ..v1::Plan::default() }, v1::Plan { catch_up: 9, ..v1::Plan::default() }]
        {
            assert_eq!(document(plan).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }

    #[test]
    fn a_cron_text_that_is_named_and_not_sent_is_none() {
        let changes = changes(v1::Plan { key: "p".into(), ..v1::Plan::default() }, &["cron", "catch_up"]);
        assert_eq!((changes.cron, changes.catch_up, changes.timezone), (Some(None), Some("run_once"), None));
    }
}

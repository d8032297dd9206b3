//! Converts schedules.

use orchid_proto::v1;

use crate::api::convert;
use crate::store::schedules::Schedule;

/// Encodes a schedule.
pub(crate) fn to_wire(row: Schedule) -> v1::Schedule {
    let Schedule {
        id: _,
        plan_id: _,
        config_id: _,
        plan_key,
        integration_key,
        config_key,
        paused,
        next_due_at,
        current_execution_id,
        last_execution_id,
        run_count,
        plan_enabled: _,
        config_enabled: _,
        decided_until: _,
        owed_until: _,
        wait_seconds: _,
        cron: _,
        timezone: _,
        spread_seconds: _,
        overlap: _,
        catch_up: _,
        repeat_count: _,
    } = row;
    v1::Schedule {
        plan: plan_key,
        integration: integration_key,
        config: config_key,
        paused,
        next_due_time: next_due_at.map(convert::timestamp),
        current_execution_id: current_execution_id.map(|id| id.to_string()).unwrap_or_default(),
        execution_count: run_count,
        last_execution_id: last_execution_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

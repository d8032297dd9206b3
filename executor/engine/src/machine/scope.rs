//! The names that a step's expressions see.

use orchid_plan::{EvalEnv, Scope, ScopeName, Value};

use super::paginate::{self, page_scope};
use super::run::Run;
use super::step_run::StepRun;
use crate::input::Now;

/// The scope of rendering: `response` and `prev` are the loop's latest pass.
pub(super) fn rendering(run: &Run, step: &StepRun) -> Scope {
    let mut scope = Scope::new();
    scope.set(ScopeName::Response, step.latest.clone());
    scope.set(ScopeName::Prev, step.latest.clone());
    scope.set(ScopeName::Context, run.context.object().clone());
    scope.set(ScopeName::Config, run.config.clone());
    scope.set(ScopeName::Steps, run.finished.object.clone().unwrap_or_else(|| Value::object::<&str>([])));
    scope.set(ScopeName::Items, Value::list([]));
    scope.set(ScopeName::Page, page_scope(step.step().paginate.as_ref(), &step.pointer, step.page));
    if step.needs.meta {
        scope.set(ScopeName::Meta, meta(run, step));
    }
    scope
}

/// The time and the randomness of one try: the same try of the same run draws the same.
pub(super) fn env(run: &Run, step: &StepRun, now: Now) -> EvalEnv {
    EvalEnv::new(now.wall, draw(run, step, b"env"))
}

/// A number that depends on the run's seed, the pass and the try alone.
pub(super) fn draw(run: &Run, step: &StepRun, purpose: &[u8]) -> u64 {
    paginate::fingerprint(&[
        &run.seed.to_be_bytes(),
        purpose,
        step.path().as_bytes(),
        &step.retry.to_be_bytes(),
    ])
}

fn meta(run: &Run, step: &StepRun) -> Value {
    let identity = run.origin.identity();
    Value::object([
        ("tenant_id", Value::from(identity.tenant_id.to_string())),
        ("plan_key", Value::from(identity.plan_key.as_str())),
        ("config_id", Value::from(identity.config_id.to_string())),
        ("config_key", Value::from(identity.config_key.as_str())),
        ("execution_id", Value::from(identity.execution_id.to_string())),
        ("attempt", Value::from(i64::from(identity.attempt))),
        ("step_path", Value::from(step.path())),
        ("loop_count", Value::from(step.page)),
        ("retry_count", Value::from(step.retry)),
        ("nesting_level", Value::from(0_u64)),
        ("scheduled_at", Value::from(timestamp(identity.scheduled_at))),
        ("started_at", Value::from(timestamp(identity.started_at))),
    ])
}

fn timestamp(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

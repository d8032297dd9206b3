//! The names that a step's expressions see.

use orchid_plan::{EvalEnv, Scope, ScopeName, Value};

use crate::input::CurrentTime;
use crate::program::node::StepNode;
use crate::rules::pagination::page_scope;
use crate::state::execution::ExecutionState;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;

/// The scope before a step's first pass, and the part that does not change with its passes.
pub(crate) fn around(run: &ExecutionState, env: &StepEnv) -> Scope {
    let mut scope = Scope::new();
    scope.set(ScopeName::Context, env.context.object().clone());
    scope.set(ScopeName::Config, run.config.clone());
    scope.set(ScopeName::Steps, env.finished.object().clone());
    if !env.items.is_empty() {
        scope.set(ScopeName::Items, Value::list(env.items.iter().cloned()));
    }
    scope.set(ScopeName::Parent, env.parent.clone());
    scope.set(ScopeName::Window, env.window.clone());
    scope.set(ScopeName::Cursor, env.cursor.clone());
    if let Some(item) = env.items.last() {
        scope.set(ScopeName::Item, item.clone());
        scope.set(ScopeName::ItemIndex, Value::from(env.item_index.unwrap_or_default()));
    }
    scope
}

/// The same with `meta`, for what is asked of a step as a whole.
pub(crate) fn around_with_meta(
    run: &ExecutionState,
    env: &StepEnv,
    node: &std::sync::Arc<StepNode>,
) -> Scope {
    let mut scope = around(run, env);
    if node.needs.meta {
        scope.set(ScopeName::Meta, meta(run, env, &StepExecution::new(node, None)));
    }
    scope
}

/// The scope of rendering: `response` and `prev` are the loop's latest pass.
pub(crate) fn rendering(run: &ExecutionState, env: &StepEnv, step: &StepExecution) -> Scope {
    let mut scope = before(run, env, step);
    scope.set(ScopeName::Response, step.latest.clone());
    scope.set(ScopeName::Prev, step.latest.clone());
    if step.node.needs.page {
        scope.set(ScopeName::Page, page_scope(step.step().paginate.as_ref(), &step.pointer, step.pass()));
    }
    scope
}

/// The same without the passes.
pub(crate) fn before(run: &ExecutionState, env: &StepEnv, step: &StepExecution) -> Scope {
    let mut scope = around(run, env);
    if let (Some(window), Some(slices)) = (&step.step().window, step.slices) {
        scope.set(ScopeName::Window, slices.value(window));
    }
    if let Some(reach) = &step.reach {
        scope.set(ScopeName::Cursor, reach.began().clone());
    }
    if step.node.needs.meta || step.step().window.is_some() {
        scope.set(ScopeName::Meta, meta(run, env, step));
    }
    scope
}

/// The time and the randomness of one try: the same try of the same run draws the same.
pub(crate) fn eval_env(
    run: &ExecutionState,
    env: &StepEnv,
    step: &StepExecution,
    now: CurrentTime,
) -> EvalEnv {
    EvalEnv::new(now.wall, draw(run, env, step, b"env"))
}

/// A number that depends on the run's seed, the pass and the try alone.
pub(crate) fn draw(run: &ExecutionState, env: &StepEnv, step: &StepExecution, purpose: &[u8]) -> u64 {
    let numbers = [step.item.map_or(0, |item| item + 1), step.page, u64::from(step.retry)];
    let fields = [purpose, env.prefix.as_bytes(), step.step().id.as_bytes()];
    let mut state = run.seed;
    for field in fields {
        // FNV-1a, 64 bits.
        let hash = field.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        state = mixed(state ^ hash);
    }
    numbers.into_iter().fold(state, |state, number| mixed(state ^ number))
}

/// One step of SplitMix64 (Steele, Lea and Flood 2014): every bit of the input moves half of the output's.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn meta(run: &ExecutionState, env: &StepEnv, step: &StepExecution) -> Value {
    let identity = run.origin.identity();
    Value::object([
        ("tenant_id", Value::from(identity.tenant_id.to_string())),
        ("plan_key", Value::from(identity.plan_key.as_str())),
        ("config_id", Value::from(identity.config_id.to_string())),
        ("config_key", Value::from(identity.config_key.as_str())),
        ("execution_id", Value::from(identity.execution_id.to_string())),
        ("attempt", Value::from(i64::from(identity.attempt))),
        ("step_path", Value::from(step.path(env))),
        ("loop_count", Value::from(step.pass())),
        ("retry_count", Value::from(step.retry)),
        ("nesting_level", Value::from(env.nesting)),
        ("scheduled_at", Value::from(timestamp(identity.scheduled_at))),
        ("started_at", Value::from(timestamp(identity.started_at))),
    ])
}

fn timestamp(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

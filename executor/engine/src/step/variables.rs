//! The variables that a step's expressions read, and the randomness of a try.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use orchid_plan::{EvalEnv, Scope, ScopeName, Value};

use crate::input::CurrentTime;
use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::rules::conditional;
use crate::rules::pagination::page_variable;
use crate::state::context::Context;
use crate::state::enclosing_step::EnclosingStep;
use crate::state::execution::ExecutionState;
use crate::state::step_env::StepEnv;
use crate::step::position::LoopPosition;

/// Returns the variables that are the same for all pages of a step.
pub(crate) fn enclosing(run: &ExecutionState, env: &StepEnv) -> Scope {
    let mut scope = Scope::new();
    scope.set(ScopeName::Context, env.context.object().clone());
    scope.set(ScopeName::Config, run.config.clone());
    scope.set(ScopeName::Steps, env.finished.object().clone());
    // A list of all enclosing items is built only where there are any: most steps have none.
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

/// Returns the same variables with `meta`, for expressions about a step as a whole.
pub(crate) fn enclosing_with_meta(run: &ExecutionState, env: &StepEnv, node: &Arc<StepNode>) -> Scope {
    let mut scope = enclosing(run, env);
    if node.needs.meta {
        scope.set(ScopeName::Meta, meta(run, env, &LoopPosition::first(node, None)));
    }
    scope
}

/// Returns the variables of a request: `response` and `prev` are the loop's latest page.
pub(crate) fn for_request(run: &ExecutionState, env: &StepEnv, position: &LoopPosition) -> Scope {
    let mut scope = before_loop(run, env, position);
    scope.set(ScopeName::Response, Value::clone(&position.latest));
    scope.set(ScopeName::Prev, Value::clone(&position.latest));
    if position.node.needs.page {
        let pagination = position.step().paginate.as_ref();
        let page = page_variable(pagination, &position.target, position.page_in_slice());
        scope.set(ScopeName::Page, page);
    }
    scope
}

/// Returns the variables of a step without those of its pages.
pub(crate) fn before_loop(run: &ExecutionState, env: &StepEnv, position: &LoopPosition) -> Scope {
    let mut scope = enclosing(run, env);
    if let (Some(window), Some(slice)) = (&position.step().window, position.slice) {
        scope.set(ScopeName::Window, slice.value(window));
    }
    if let Some(watermark) = &position.watermark {
        scope.set(ScopeName::Cursor, watermark.start().clone());
    }
    // A window without an end reads until `meta.started_at`.
    if position.node.needs.meta || position.step().window.is_some() {
        scope.set(ScopeName::Meta, meta(run, env, position));
    }
    scope
}

/// Returns the environment of a page's sub-steps; `None` if there are none. `per_row`: they run
/// once for each row.
pub(crate) fn sub_step_env(
    env: &StepEnv,
    position: &LoopPosition,
    exchange: &PageExchange,
    context: Option<&Context>,
    per_row: bool,
) -> Option<Box<StepEnv>> {
    let subs = &position.node.subs;
    if subs.is_empty() {
        return None;
    }
    // Rows begin again with their page, so checkpoints leave them out. Sub-steps that run once for
    // the page are part of a checkpoint, unless their rows go into the page's message: all of these
    // would have to be in every checkpoint.
    let durable = !per_row && !subs.iter().any(|sub| sub.gathers);
    let mut below = env.below(format!("{}.", position.path(env)), durable);
    below.home = Some(Arc::new(exchange.sent.url.clone()));
    below.parent = Value::clone(&exchange.response.value);
    below.parent_text = exchange.response.body.json_text().cloned();
    if let Some(context) = context {
        below.context = context.clone();
    }
    below.enclosing = with_enclosing(env, position, exchange);
    if let (Some(window), Some(slice)) = (&position.step().window, position.slice) {
        below.window = slice.value(window);
    }
    if let Some(watermark) = &position.watermark {
        below.cursor = watermark.start().clone();
    }
    Some(Box::new(below))
}

/// Returns the steps around the rows of a page: those around its step, and the step itself if it
/// saves anything that a failed row concerns.
fn with_enclosing(
    env: &StepEnv,
    position: &LoopPosition,
    exchange: &PageExchange,
) -> Option<Arc<EnclosingStep>> {
    let step = position.step();
    let cursor = position.watermark.as_ref().map(|watermark| watermark.key().clone());
    let revalidation = exchange.sent.revalidation.as_ref();
    let validator = revalidation.map(|sent| conditional::key(step, &sent.url_name));
    if cursor.is_none() && validator.is_none() && step.set_context.is_empty() {
        return env.enclosing.clone();
    }
    let (node, outer) = (position.node.clone(), env.enclosing.clone());
    Some(Arc::new(EnclosingStep { node, cursor, validator, outer }))
}

/// Returns the time and the randomness of one try. The same try of the same execution draws the
/// same numbers.
pub(crate) fn eval_env(
    run: &ExecutionState,
    env: &StepEnv,
    position: &LoopPosition,
    now: CurrentTime,
) -> EvalEnv {
    EvalEnv::new(now.wall, random_number(run, env, position, b"env"))
}

/// Returns a number that depends only on the execution's seed, the page and the try: a later
/// attempt repeats it.
pub(crate) fn random_number(
    run: &ExecutionState,
    env: &StepEnv,
    position: &LoopPosition,
    purpose: &[u8],
) -> u64 {
    let numbers = [position.item.map_or(0, |item| item + 1), position.page, u64::from(position.retry)];
    let fields = [purpose, env.prefix.as_bytes(), position.step().id.as_bytes()];
    let mut state = run.seed;
    for field in fields {
        // FNV-1a, 64 bits.
        let hash = field.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        state = mix_bits(state ^ hash);
    }
    numbers.into_iter().fold(state, |state, number| mix_bits(state ^ number))
}

/// Applies one step of SplitMix64 (Steele, Lea and Flood 2014): every input bit changes half of the
/// output bits.
fn mix_bits(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn meta(run: &ExecutionState, env: &StepEnv, position: &LoopPosition) -> Value {
    let identity = run.origin.identity();
    Value::object([
        ("tenant_id", Value::from(identity.tenant_id.to_string())),
        ("plan_key", Value::from(identity.plan_key.as_str())),
        ("config_id", Value::from(identity.config_id.to_string())),
        ("config_key", Value::from(identity.config_key.as_str())),
        ("execution_id", Value::from(identity.execution_id.to_string())),
        ("attempt", Value::from(i64::from(identity.attempt))),
        ("step_path", Value::from(position.path(env))),
        ("loop_count", Value::from(position.page_in_slice())),
        ("retry_count", Value::from(position.retry)),
        ("nesting_level", Value::from(env.nesting)),
        ("scheduled_at", Value::from(timestamp(identity.scheduled_at))),
        ("started_at", Value::from(timestamp(identity.started_at))),
    ])
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

//! Builds the state and the tree of an attempt, at the beginning of the execution or at its
//! checkpoint.

use uuid::Uuid;

use crate::attempt::AttemptSpec;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::finished_values::FinishedValues;
use crate::checkpoint::json::to_bytes;
use crate::checkpoint::resume_state::ResumeState;
use crate::error::StartError;
use crate::page::sub_steps::SubSteps;
use crate::progress::Progress;
use crate::run::finish;
use crate::state::execution::ExecutionState;
use crate::state::failed_row;
use crate::state::held_cursors::HeldCursors;
use crate::state::step_env::StepEnv;
use crate::tree::sequence::StepSequence;

/// Builds state and tree; there is no tree if all steps are done.
///
/// # Errors
/// Fails if config, context or checkpoint cannot be read.
pub(crate) fn build(mut spec: AttemptSpec) -> Result<(ExecutionState, Option<StepSequence>), StartError> {
    let execution_id = spec.identity.execution_id;
    let context = ExecutionState::context(&mut spec)?;
    let saved = spec.resume.as_ref();
    let state = saved.map(|saved| ResumeState::decode(&saved.resume_state)).transpose();
    let state = state.map_err(start_error)?;
    let finished = saved.and_then(|saved| saved.finished_steps.as_deref()).map(FinishedValues::decode);
    let finished = finished.transpose().map_err(start_error)?.unwrap_or_default();
    let mut run = ExecutionState::new(&mut spec)?;
    // The lists must be there before the tree is restored: items refer to them.
    (run.lists, run.answers) = (finished.lists, finished.answers);
    let env = StepEnv::root(context, finished.steps);
    let root = match state {
        None => {
            finish::warn_of_fresh_start(&mut run, spec.fresh_start_reason);
            StepSequence::begin(&run.program.roots.clone(), env)
        }
        Some(state) => restore(&mut run, env, state, execution_id).map_err(start_error)?,
    };
    Ok((run, root))
}

/// Restores state and tree from a checkpoint.
fn restore(
    run: &mut ExecutionState,
    env: StepEnv,
    state: ResumeState,
    execution_id: Uuid,
) -> Result<Option<StepSequence>, CheckpointError> {
    let same_execution = state.execution_id == execution_id;
    run.held = HeldCursors::resume(state.held);
    run.message_limits.resume(state.message_limits.unwrap_or_default());
    run.restore_seen(state.observations);
    if same_execution {
        (run.partial, run.complete) = (state.partial, state.complete);
        run.began = state.cursor_starts.into_iter().map(|(step, value)| (step, to_bytes(&value))).collect();
    } else {
        // Another execution continues after a limit: its counts and limits are its own, and it
        // reads only the rest of the data, so it is never complete.
        run.progress = Progress::default();
        run.complete = false;
        // The first checkpoint of this execution has to contain what the other one finished.
        run.finished_changed = !run.lists.is_empty() || env.finished.own().next().is_some();
        failed_row::warn_of_held(run);
    }
    let Some(mut steps) = state.steps else { return Ok(None) };
    if !same_execution {
        steps.step.prepare_for_new_execution();
    }
    StepSequence::resume(&run.program.roots.clone(), env, steps, &run.lists).map(Some)
}

fn start_error(error: CheckpointError) -> StartError {
    StartError::Checkpoint(error.to_string())
}

//! Between the tree of steps and the place that a checkpoint keeps of it.

use std::time::Duration;

use bytes::Bytes;

use super::machine::{Machine, MachinePhase};
use crate::attempt::AttemptSpec;
use crate::checkpoint::error::{CheckpointError, VERSION};
use crate::checkpoint::finished_values::FinishedValues;
use crate::checkpoint::json::raw_json;
use crate::checkpoint::resume_state::ResumeState;
use crate::error::StartError;
use crate::input::CurrentTime;
use crate::output::Output;
use crate::state::ack_tracker::{AckTracker, EncodedState, PendingCheckpoint};
use crate::state::cursor_store::CursorValues;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::step_env::StepEnv;
use crate::tree::sequence::StepSequence;

/// Places are marked no more often: a checkpoint is made every two seconds, and one place costs as much as a small page.
const MARK_EVERY: Duration = Duration::from_millis(20);

impl Machine {
    /// A machine at the run's beginning, or at its checkpoint. It does nothing before [`crate::Input::Begin`].
    pub fn new(mut job: AttemptSpec) -> Result<Machine, StartError> {
        let execution_id = job.identity.execution_id;
        let context = ExecutionState::context(&mut job)?;
        let saved = job.resume.as_ref();
        let place =
            saved.map(|saved| ResumeState::decode(&saved.resume_state)).transpose().map_err(start_error)?;
        let finished = saved.and_then(|saved| saved.finished_steps.as_deref()).map(FinishedValues::decode);
        let finished = finished.transpose().map_err(start_error)?.unwrap_or_default();
        let mut run = ExecutionState::new(&mut job)?;
        run.lists = finished.lists;
        let env = StepEnv::root(context, finished.steps);
        let root = match place {
            None => StepSequence::new(&run.program.roots.clone(), env),
            Some(place) => resume(&mut run, env, place, execution_id).map_err(start_error)?,
        };
        let stand = encode(&run, root.as_ref(), false).map_err(start_error)?;
        Ok(Machine {
            run,
            acks: AckTracker::new(stand.clone()),
            phase: MachinePhase::Fresh(root.map(Box::new)),
            deadline: None,
            last_stand: stand,
            last_mark: None,
            succeeded: false,
        })
    }

    /// Marks the place, where something has moved and the last one is a while ago. A place that is too large ends the run.
    pub(crate) fn mark_if_due(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        let due = self.last_mark.is_none_or(|last| now.monotonic.saturating_sub(last) >= MARK_EVERY);
        if !self.run.moved || !due {
            return;
        }
        let Some(mut root) = self.running() else { return };
        self.last_mark = Some(now.monotonic);
        match self.mark(&mut root, false) {
            Ok(()) => self.phase = MachinePhase::Running(root),
            Err(error) => {
                let halt = self.unmarked(&root, &error);
                self.run.moved = false;
                self.unsend(out);
                self.halt(now, root, halt, out);
            }
        }
    }

    /// What a place is that cannot be marked.
    pub(crate) fn unmarked(&self, root: &StepSequence, error: &CheckpointError) -> StepExit {
        let what = ErrorDetail::checkpoint(&root.node().step.pointer, error);
        StepError::new(&self.run.redactor, root.location(), what, ErrorContext::default()).into()
    }

    /// Takes the steps out, where the run is at them; the phase is the caller's to put back.
    fn running(&mut self) -> Option<Box<StepSequence>> {
        match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Running(root) => Some(root),
            phase @ (MachinePhase::Fresh(_) | MachinePhase::Leaving(_) | MachinePhase::Over) => {
                self.phase = phase;
                None
            }
        }
    }

    /// Takes requests back that were asked for in this very step: the run ends before them.
    fn unsend(&mut self, out: &mut Vec<Output>) {
        let before = out.len();
        out.retain(|output| !matches!(output, Output::Fetch { .. }));
        self.run.progress.counts.requests -= (before - out.len()) as u64;
    }

    /// The same for whoever asks for a checkpoint: one that is too large shows at the next input.
    pub(crate) fn mark_quietly(&mut self) {
        if let Some(mut root) = self.running() {
            let marked = self.mark(&mut root, false);
            self.run.moved |= marked.is_err();
            self.phase = MachinePhase::Running(root);
        }
    }

    /// Marks where the run is, with what changed up to there. `whole`: with what lies below rows, as far as it fits.
    pub(crate) fn mark(&mut self, root: &mut StepSequence, whole: bool) -> Result<(), CheckpointError> {
        let stand = match encode(&self.run, Some(root), whole) {
            Err(CheckpointError::ResumeStateTooLarge(_)) if whole => encode(&self.run, Some(root), false),
            stand => stand,
        }?;
        let finished = self.finished(&root.env)?;
        let context_changes = std::mem::take(&mut root.env.writes);
        self.put_mark(stand, finished, context_changes);
        Ok(())
    }

    /// Marks the end of all steps.
    pub(crate) fn mark_end(&mut self, env: Option<StepEnv>) -> Result<(), CheckpointError> {
        let stand = encode(&self.run, None, false)?;
        self.put_mark(stand, None, env.map(|env| env.writes).unwrap_or_default());
        Ok(())
    }

    fn put_mark(
        &mut self,
        stand: EncodedState,
        finished: Option<Bytes>,
        context_changes: crate::state::context::ContextChanges,
    ) {
        self.run.moved = false;
        self.run.finished_changed = false;
        let cursor_changes = std::mem::take(&mut self.run.cursor_changes);
        self.last_stand.clone_from(&stand);
        let progress = self.run.progress.clone();
        self.acks.mark(PendingCheckpoint { stand, finished, context_changes, cursor_changes, progress });
    }

    /// Marks the last place again, with the counts as they stand: of what came after it nothing is kept.
    pub(crate) fn mark_last(&mut self, stand: EncodedState) {
        let progress = self.run.progress.clone();
        self.acks.mark(PendingCheckpoint {
            stand,
            finished: None,
            context_changes: Vec::new(),
            cursor_changes: CursorValues::new(),
            progress,
        });
    }

    fn finished(&self, root: &StepEnv) -> Result<Option<Bytes>, CheckpointError> {
        if !self.run.finished_changed {
            return Ok(None);
        }
        let steps = root.finished.own().map(|(id, value)| (id.to_owned(), value.clone())).collect();
        let finished = FinishedValues { steps, lists: self.run.lists.clone() };
        finished.encode().map(Some)
    }
}

/// The tree at a place.
fn resume(
    run: &mut ExecutionState,
    env: StepEnv,
    place: ResumeState,
    execution_id: uuid::Uuid,
) -> Result<Option<StepSequence>, CheckpointError> {
    let same = place.execution_id == execution_id;
    if same {
        (run.partial, run.complete) = (place.partial, place.complete);
        run.restore_seen(place.observations);
        run.began = place
            .cursor_starts
            .into_iter()
            .map(|(step, value)| (step, Bytes::copy_from_slice(value.get().as_bytes())))
            .collect();
    } else {
        // Another execution goes on here: its counts and limits are its own, and it lists only the rest.
        run.progress = Default::default();
        run.complete = false;
    }
    let Some(mut at) = place.steps else { return Ok(None) };
    if !same {
        at.step.prepare_for_new_execution();
    }
    StepSequence::at(&run.program.roots.clone(), env, at, &run.lists).map(Some)
}

fn encode(
    run: &ExecutionState,
    root: Option<&StepSequence>,
    whole: bool,
) -> Result<EncodedState, CheckpointError> {
    let starts =
        root.into_iter().flat_map(|_| &run.began).map(|(step, value)| Ok((step.clone(), raw_json(value)?)));
    let at = root.map(|root| root.place(whole)).transpose()?;
    let must_cancel = root.is_some_and(StepSequence::works_upstream);
    let state = ResumeState {
        version: VERSION,
        execution_id: run.origin.identity().execution_id,
        partial: run.partial,
        complete: run.complete,
        // Once all steps are done, nothing more is observed, and no cursor starts.
        observations: root.map(|_| run.seen()).unwrap_or_default(),
        cursor_starts: starts.collect::<Result<_, CheckpointError>>()?,
        steps: at,
    };
    Ok(EncodedState { place: state.encode()?, must_cancel })
}

fn start_error(error: CheckpointError) -> StartError {
    StartError::Checkpoint(error.to_string())
}

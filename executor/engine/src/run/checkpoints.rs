//! Records where the execution is, and hands out a checkpoint once every message before it is
//! acknowledged.

use std::time::Duration;

use bytes::Bytes;

use crate::checkpoint::error::{CheckpointError, VERSION};
use crate::checkpoint::finished_values::FinishedValues;
use crate::checkpoint::json::raw_json;
use crate::checkpoint::resume_state::ResumeState;
use crate::input::CurrentTime;
use crate::output::Checkpoint;
use crate::page::sub_steps::SubSteps;
use crate::progress::Progress;
use crate::state::ack_tracker::{AckTracker, EncodedState, PendingCheckpoint};
use crate::state::context::ContextChanges;
use crate::state::cursor_store::CursorValues;
use crate::state::execution::ExecutionState;
use crate::state::step_env::StepEnv;
use crate::tree::sequence::StepSequence;

/// Shortest time between two recorded states: the executor saves a checkpoint every two seconds,
/// and one state costs as much as a small page.
const RECORD_EVERY: Duration = Duration::from_millis(20);
/// Bytes of finished values for which a state waits one millisecond longer, if they have changed:
/// with 8 MiB, the interval is that at which the executor saves.
const FINISHED_BYTES_PER_MS: u32 = 4096;

/// The recorded states, and the messages that they wait for.
pub(crate) struct CheckpointRecorder {
    acks: AckTracker,
    /// The state that was recorded last, or from which the attempt started.
    last: EncodedState,
    /// When it was recorded, on the monotonic clock.
    last_time: Option<Duration>,
    /// Size of the values of finished steps when they were written last.
    finished_bytes: usize,
}

impl CheckpointRecorder {
    /// Creates a recorder for an attempt that starts at `root`.
    ///
    /// # Errors
    /// Fails if the state cannot be written.
    pub(crate) fn new(run: &ExecutionState, root: Option<&StepSequence>) -> Result<Self, CheckpointError> {
        let start = encode(run, root, false)?;
        let acks = AckTracker::new(start.clone(), run.progress.clone());
        Ok(Self { acks, last: start, last_time: None, finished_bytes: 0 })
    }

    /// Returns the messages that wait for their acknowledgement.
    pub(crate) fn acks(&mut self) -> &mut AckTracker {
        &mut self.acks
    }

    /// Returns the newest state whose messages are all acknowledged, unless it was returned before.
    pub(crate) fn take(&mut self) -> Option<Checkpoint> {
        self.acks.take()
    }

    /// Returns whether the state has changed, and the last recorded one is old enough.
    pub(crate) fn is_due(&self, run: &ExecutionState, now: CurrentTime) -> bool {
        let finished = if run.finished_changed { self.finished_bytes } else { 0 };
        let finished = u32::try_from(finished).unwrap_or(u32::MAX) / FINISHED_BYTES_PER_MS;
        let interval = RECORD_EVERY + Duration::from_millis(u64::from(finished));
        let elapsed = |last| now.monotonic.saturating_sub(last) >= interval;
        run.moved && self.last_time.is_none_or(elapsed)
    }

    /// Notes that a state is recorded now.
    pub(crate) fn set_last_time(&mut self, now: CurrentTime) {
        self.last_time = Some(now.monotonic);
    }

    /// Records where the execution is, with everything that has changed. `whole` includes the rows
    /// in flight, as far as they fit.
    ///
    /// # Errors
    /// Fails if the state or the values of finished steps are too large.
    pub(crate) fn record(
        &mut self,
        run: &mut ExecutionState,
        root: &mut StepSequence,
        whole: bool,
    ) -> Result<(), CheckpointError> {
        let state = match encode(run, Some(root), whole) {
            // Rows in flight are a convenience: without them, a later attempt repeats them.
            Err(CheckpointError::ResumeStateTooLarge(_)) if whole => encode(run, Some(root), false),
            state => state,
        }?;
        let finished = finished_values(run, root.env())?;
        self.finished_bytes = finished.as_ref().map_or(self.finished_bytes, Bytes::len);
        // Taken only after encoding succeeded: a failure leaves them for the next checkpoint.
        let context_changes = root.take_writes();
        self.push(run, state, finished, context_changes);
        Ok(())
    }

    /// Records the end of all steps.
    ///
    /// # Errors
    /// Fails if the state cannot be written.
    pub(crate) fn record_end(
        &mut self,
        run: &mut ExecutionState,
        env: Option<StepEnv>,
    ) -> Result<(), CheckpointError> {
        let state = encode(run, None, false)?;
        self.push(run, state, None, env.map(|env| env.writes).unwrap_or_default());
        Ok(())
    }

    /// Records the last state again with the current counts; nothing that came after it is kept.
    pub(crate) fn repeat_last(&mut self, run: &ExecutionState) {
        self.repeat(run, self.last.clone());
    }

    /// Does the same, after the upstreams' async jobs were cancelled.
    pub(crate) fn repeat_last_cancelled(&mut self, run: &ExecutionState) {
        self.repeat(run, EncodedState { must_cancel: false, ..self.last.clone() });
    }

    /// Records an earlier state again with the current counts.
    pub(crate) fn repeat(&mut self, run: &ExecutionState, state: EncodedState) {
        self.repeat_with(state, run.progress.clone());
    }

    /// Records an earlier state again, from which a later attempt makes the messages after it anew,
    /// with the limits that the execution knows by now. They are counted when they are made.
    ///
    /// # Errors
    /// Fails if the state does not read.
    pub(crate) fn repeat_smaller(
        &mut self,
        run: &ExecutionState,
        state: EncodedState,
        progress: Progress,
    ) -> Result<(), CheckpointError> {
        let mut resume_state = ResumeState::decode(&state.resume_state)?;
        resume_state.message_limits = run.message_limits.learned();
        let state = EncodedState { resume_state: resume_state.encode()?, ..state };
        self.repeat_with(state, Progress { warnings: run.progress.warnings.clone(), ..progress });
        Ok(())
    }

    fn repeat_with(&mut self, state: EncodedState, progress: Progress) {
        self.acks.queue(PendingCheckpoint {
            state,
            finished: None,
            // Changes after the repeated state belong to work that a later attempt does again.
            context_changes: Vec::new(),
            cursor_changes: CursorValues::new(),
            progress,
        });
    }

    fn push(
        &mut self,
        run: &mut ExecutionState,
        state: EncodedState,
        finished: Option<Bytes>,
        context_changes: ContextChanges,
    ) {
        run.moved = false;
        run.finished_changed = false;
        let cursor_changes = std::mem::take(&mut run.cursor_changes);
        self.last.clone_from(&state);
        let progress = run.progress.clone();
        self.acks.queue(PendingCheckpoint { state, finished, context_changes, cursor_changes, progress });
    }
}

/// Writes the values of finished steps, if they have changed since the last checkpoint.
fn finished_values(run: &ExecutionState, root: &StepEnv) -> Result<Option<Bytes>, CheckpointError> {
    // Values of finished steps can be large: they are written only when they change.
    if !run.finished_changed {
        return Ok(None);
    }
    let steps = root.finished.own().map(|(id, value)| (id.to_owned(), value.clone())).collect();
    FinishedValues::encode(&steps, &run.lists, &run.answers).map(Some)
}

fn encode(
    run: &ExecutionState,
    root: Option<&StepSequence>,
    whole: bool,
) -> Result<EncodedState, CheckpointError> {
    // Once all steps are done, nothing more is observed, and no cursor starts.
    let starts = root.into_iter().flat_map(|_| &run.began);
    let starts = starts.map(|(step, value)| Ok((step.clone(), raw_json(value)?)));
    let state = ResumeState {
        version: VERSION,
        execution_id: run.origin.identity().execution_id,
        partial: run.partial,
        complete: run.complete,
        observations: root.map(|_| run.seen()).unwrap_or_default(),
        cursor_starts: starts.collect::<Result<_, CheckpointError>>()?,
        // Held until the last cursor is saved, and not needed after that.
        held: root.map(|_| run.held.state()).unwrap_or_default(),
        message_limits: run.message_limits.learned(),
        steps: root.map(|root| root.state(whole)).transpose()?,
    };
    let must_cancel = root.is_some_and(StepSequence::works_upstream);
    Ok(EncodedState { resume_state: state.encode()?, must_cancel })
}

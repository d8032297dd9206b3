//! Between the tree of steps and the place that a checkpoint keeps of it.

use std::time::Duration;

use bytes::Bytes;

use super::env::Env;
use super::halt::{About, Fault, Halt, What};
use super::kept::Cursors;
use super::ledger::{Ledger, Mark, Stand};
use super::run::Run;
use super::sequence::Sequence;
use super::{Machine, Phase};
use crate::attempt::AttemptSpec;
use crate::checkpoint::{Finished, Place, PlaceError, PlaceHead, json};
use crate::error::StartError;
use crate::input::CurrentTime;
use crate::output::Output;

/// Places are marked no more often: a checkpoint is made every two seconds, and one place costs as much as a small page.
const MARK_EVERY: Duration = Duration::from_millis(20);

impl Machine {
    /// A machine at the run's beginning, or at its checkpoint. It does nothing before [`crate::Input::Begin`].
    pub fn new(mut job: AttemptSpec) -> Result<Machine, StartError> {
        let execution_id = job.identity.execution_id;
        let context = Run::context(&mut job)?;
        let saved = job.resume.as_ref();
        let place = saved.map(|saved| Place::decode(&saved.resume_state)).transpose().map_err(start_error)?;
        let finished = saved.and_then(|saved| saved.finished_steps.as_deref()).map(Finished::decode);
        let finished = finished.transpose().map_err(start_error)?.unwrap_or_default();
        let mut run = Run::new(&mut job)?;
        run.lists = finished.lists;
        let env = Env::root(context, finished.steps);
        let root = match place {
            None => Sequence::new(&run.program.roots.clone(), env),
            Some(place) => resume(&mut run, env, place, execution_id).map_err(start_error)?,
        };
        let stand = encode(&run, root.as_ref(), false).map_err(start_error)?;
        Ok(Machine {
            run,
            ledger: Ledger::new(stand.clone()),
            phase: Phase::Fresh(root.map(Box::new)),
            deadline: None,
            last_stand: stand,
            last_mark: None,
            succeeded: false,
        })
    }

    /// Marks the place, where something has moved and the last one is a while ago. A place that is too large ends the run.
    pub(super) fn mark_if_due(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        let due = self.last_mark.is_none_or(|last| now.monotonic.saturating_sub(last) >= MARK_EVERY);
        if !self.run.moved || !due {
            return;
        }
        let Some(mut root) = self.running() else { return };
        self.last_mark = Some(now.monotonic);
        match self.mark(&mut root, false) {
            Ok(()) => self.phase = Phase::Running(root),
            Err(error) => {
                let halt = self.unmarked(&root, &error);
                self.run.moved = false;
                self.unsend(out);
                self.halt(now, root, halt, out);
            }
        }
    }

    /// What a place is that cannot be marked.
    pub(super) fn unmarked(&self, root: &Sequence, error: &PlaceError) -> Halt {
        let what = What::place(&root.node().step.pointer, error);
        Fault::new(&self.run, root.spot(), what, About::default()).into()
    }

    /// Takes the steps out, where the run is at them; the phase is the caller's to put back.
    fn running(&mut self) -> Option<Box<Sequence>> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Running(root) => Some(root),
            phase @ (Phase::Fresh(_) | Phase::Leaving(_) | Phase::Over) => {
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
    pub(super) fn mark_quietly(&mut self) {
        if let Some(mut root) = self.running() {
            let marked = self.mark(&mut root, false);
            self.run.moved |= marked.is_err();
            self.phase = Phase::Running(root);
        }
    }

    /// Marks where the run is, with what changed up to there. `whole`: with what lies below rows, as far as it fits.
    pub(super) fn mark(&mut self, root: &mut Sequence, whole: bool) -> Result<(), PlaceError> {
        let stand = match encode(&self.run, Some(root), whole) {
            Err(PlaceError::PlaceTooLarge(_)) if whole => encode(&self.run, Some(root), false),
            stand => stand,
        }?;
        let finished = self.finished(&root.env)?;
        let context_changes = std::mem::take(&mut root.env.writes);
        self.put_mark(stand, finished, context_changes);
        Ok(())
    }

    /// Marks the end of all steps.
    pub(super) fn mark_end(&mut self, env: Option<Env>) -> Result<(), PlaceError> {
        let stand = encode(&self.run, None, false)?;
        self.put_mark(stand, None, env.map(|env| env.writes).unwrap_or_default());
        Ok(())
    }

    fn put_mark(&mut self, stand: Stand, finished: Option<Bytes>, context_changes: super::context::Changes) {
        self.run.moved = false;
        self.run.finished_changed = false;
        let cursor_changes = std::mem::take(&mut self.run.cursor_changes);
        self.last_stand.clone_from(&stand);
        let progress = self.run.progress.clone();
        self.ledger.mark(Mark { stand, finished, context_changes, cursor_changes, progress });
    }

    /// Marks the last place again, with the counts as they stand: of what came after it nothing is kept.
    pub(super) fn mark_last(&mut self, stand: Stand) {
        let progress = self.run.progress.clone();
        self.ledger.mark(Mark {
            stand,
            finished: None,
            context_changes: Vec::new(),
            cursor_changes: Cursors::new(),
            progress,
        });
    }

    fn finished(&self, root: &Env) -> Result<Option<Bytes>, PlaceError> {
        if !self.run.finished_changed {
            return Ok(None);
        }
        let steps = root.finished.own().map(|(id, value)| (id.to_owned(), value.clone())).collect();
        let finished = Finished { steps, lists: self.run.lists.clone() };
        finished.encode().map(Some)
    }
}

/// The tree at a place.
fn resume(
    run: &mut Run,
    env: Env,
    place: Place,
    execution_id: uuid::Uuid,
) -> Result<Option<Sequence>, PlaceError> {
    let same = place.execution_id == execution_id;
    if same {
        (run.partial, run.complete) = (place.partial, place.complete);
        run.restore_seen(place.seen);
        run.began = place
            .began
            .into_iter()
            .map(|(step, value)| (step, Bytes::copy_from_slice(value.get().as_bytes())))
            .collect();
    } else {
        // Another execution goes on here: its counts and limits are its own, and it lists only the rest.
        run.progress = Default::default();
        run.complete = false;
    }
    let Some(mut at) = place.at else { return Ok(None) };
    if !same {
        at.step.begin_anew();
    }
    Sequence::at(&run.program.roots.clone(), env, at, &run.lists).map(Some)
}

fn encode(run: &Run, root: Option<&Sequence>, whole: bool) -> Result<Stand, PlaceError> {
    let began =
        root.into_iter().flat_map(|_| &run.began).map(|(step, value)| Ok((step.clone(), json(value)?)));
    let head = PlaceHead {
        execution_id: run.origin.identity().execution_id,
        partial: run.partial,
        complete: run.complete,
        // At the end of all steps nothing more is seen, and no cursor begun with.
        seen: root.map(|_| run.seen()).unwrap_or_default(),
        began: began.collect::<Result<_, PlaceError>>()?,
    };
    let at = root.map(|root| root.place(whole)).transpose()?;
    let must_cancel = root.is_some_and(Sequence::works_upstream);
    Ok(Stand { place: Place::new(head, at).encode()?, must_cancel })
}

fn start_error(error: PlaceError) -> StartError {
    StartError::Checkpoint(error.to_string())
}

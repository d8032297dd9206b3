//! Between an async job and the place that a checkpoint keeps of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use orchid_plan::Value;

use super::{AsyncJobExecution, JobPhase, download_env};
use crate::checkpoint::deferred_writes::DeferredWrites;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{RawJson, decode_value, encode_map, encode_value};
use crate::checkpoint::prune::prune;
use crate::checkpoint::step_state::{AsyncJobPhase, AsyncJobState};
use crate::program::node::StepNode;
use crate::state::deferred_writes as carried;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::tree::cancel_scope::CancelScope;
use crate::tree::sequence::StepSequence;

impl AsyncJobExecution {
    pub(crate) fn at(
        node: &Arc<StepNode>,
        item: Option<u64>,
        env: &StepEnv,
        place: AsyncJobState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<AsyncJobExecution, CheckpointError> {
        let bad = |what: &str| CheckpointError::Json(what.to_owned());
        let time = |ms: Option<i64>| {
            ms.map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| bad("a time of its job is none")))
                .transpose()
        };
        let mut job = AsyncJobExecution::new(node, item);
        let nodes = node.job.as_ref().ok_or_else(|| bad("its step is no job in the plan"))?;
        let mut inner = job.inner_env(env);
        for (id, value) in &place.finished {
            inner.finished.insert(id, decode_value(value)?);
        }
        let (writes, cursors) = carried::decode(place.deferred);
        inner.merge(writes).map_err(|error| CheckpointError::Json(error.to_string()))?;
        inner.cursors = cursors;
        let step = |node: &Arc<StepNode>, page: u64| match place.step.clone() {
            Some(step) => StepExecution::at(node, None, *step).map(Box::new),
            None => Ok(Box::new(StepExecution { page, ..StepExecution::new(node, None) })),
        };
        job.phase = match place.phase {
            AsyncJobPhase::Submit => JobPhase::Submit(step(&nodes.submit, 0)?),
            AsyncJobPhase::Wait => JobPhase::Wait,
            AsyncJobPhase::Poll => JobPhase::Poll(step(&nodes.poll, place.polls)?),
            AsyncJobPhase::Download => match place.download {
                Some(download) => {
                    let env = download_env(&inner);
                    JobPhase::Download(Box::new(StepSequence::at(&nodes.download, env, *download, lists)?))
                }
                None => return Err(bad("its download has no place")),
            },
        };
        (job.asked, job.polls, job.inner) = (place.entered, place.polls, Some(Box::new(inner)));
        (job.since, job.due) = (time(place.submitted_ms)?, time(place.due_ms)?);
        job.last_poll = place.last_poll.as_deref().map_or_else(|| Ok(Value::null()), decode_value)?;
        job.around = place.cancel_scope.as_ref().map(CancelScope::at).transpose()?;
        Ok(job)
    }

    pub(crate) fn place(&self, whole: bool) -> Result<AsyncJobState, CheckpointError> {
        let (phase, step) = match &self.phase {
            JobPhase::Submit(step) => (AsyncJobPhase::Submit, Some(Box::new(step.place(whole)?))),
            JobPhase::Poll(step) => (AsyncJobPhase::Poll, Some(Box::new(step.place(whole)?))),
            JobPhase::Wait | JobPhase::Waiting(_) | JobPhase::GiveUp(_) | JobPhase::Over => {
                (AsyncJobPhase::Wait, None)
            }
            JobPhase::Download(_) => (AsyncJobPhase::Download, None),
        };
        let download = match &self.phase {
            JobPhase::Download(sequence) => Some(Box::new(sequence.place(whole)?)),
            _ => None,
        };
        let finished = self.inner.iter().flat_map(|inner| inner.finished.own());
        let finished: BTreeMap<String, Value> =
            finished.map(|(id, value)| (id.to_owned(), value.clone())).collect();
        let carried = match &self.inner {
            Some(inner) => carried::encode(&inner.writes, &inner.cursors)?,
            None => DeferredWrites::default(),
        };
        Ok(AsyncJobState {
            entered: self.asked,
            phase,
            polls: self.polls,
            submitted_ms: self.since.map(|since| since.timestamp_millis()),
            due_ms: self.due.map(|due| due.timestamp_millis()),
            last_poll: self.last_poll()?,
            finished: encode_map(&finished)?,
            step,
            download,
            deferred: carried,
            cancel_scope: self.around().as_ref().map(CancelScope::place).transpose()?,
        })
    }

    /// What the next poll reads of the last one's answer.
    fn last_poll(&self) -> Result<Option<RawJson>, CheckpointError> {
        let paths = self.node.job.as_ref().and_then(|job| job.poll.needs.carried.as_deref());
        let latest = prune(&self.last_poll, paths);
        if latest.is_null() { Ok(None) } else { encode_value(&latest).map(Some) }
    }

    /// What `cancel` reads of what is around the job; none where there is nothing around, or nothing to cancel.
    fn around(&self) -> Option<CancelScope> {
        let cancel = self.node.job.as_ref().and_then(|job| job.cancel.as_ref());
        let (Some(inner), Some(cancel), true) = (&self.inner, cancel, self.works_upstream()) else {
            return None;
        };
        let anything = !inner.items.is_empty() || inner.nesting > 1;
        self.around.clone().or_else(|| anything.then(|| CancelScope::of(inner, &cancel.step)))
    }
}

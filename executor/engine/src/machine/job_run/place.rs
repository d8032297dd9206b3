//! Between an async job and the place that a checkpoint keeps of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use orchid_plan::Value;

use super::{JobRun, Phase, download_env};
use crate::checkpoint::{Carried, JobPhase, JobPlace, Json, PlaceError, prune, raw, raw_map, unraw};
use crate::machine::around::Around;
use crate::machine::carried;
use crate::machine::env::Env;
use crate::machine::program::Node;
use crate::machine::sequence::Sequence;
use crate::machine::step_run::StepRun;

impl JobRun {
    pub(in crate::machine) fn at(
        node: &Arc<Node>,
        item: Option<u64>,
        env: &Env,
        place: JobPlace,
        lists: &BTreeMap<String, Value>,
    ) -> Result<JobRun, PlaceError> {
        let bad = |what: &str| PlaceError::Json(what.to_owned());
        let time = |ms: Option<i64>| {
            ms.map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| bad("a time of its job is none")))
                .transpose()
        };
        let mut job = JobRun::new(node, item);
        let nodes = node.job.as_ref().ok_or_else(|| bad("its step is no job in the plan"))?;
        let mut inner = job.inner_env(env);
        for (id, value) in &place.finished {
            inner.finished.insert(id, unraw(value)?);
        }
        let (writes, cursors) = carried::restore(place.carried);
        inner.merge(writes).map_err(|error| PlaceError::Json(error.to_string()))?;
        inner.cursors = cursors;
        let step = |node: &Arc<Node>, page: u64| match place.step.clone() {
            Some(step) => StepRun::at(node, None, *step).map(Box::new),
            None => Ok(Box::new(StepRun { page, ..StepRun::new(node, None) })),
        };
        job.phase = match place.phase {
            JobPhase::Submit => Phase::Submit(step(&nodes.submit, 0)?),
            JobPhase::Wait => Phase::Wait,
            JobPhase::Poll => Phase::Poll(step(&nodes.poll, place.polls)?),
            JobPhase::Download => match place.download {
                Some(download) => {
                    let env = download_env(&inner);
                    Phase::Download(Box::new(Sequence::at(&nodes.download, env, *download, lists)?))
                }
                None => return Err(bad("its download has no place")),
            },
        };
        (job.asked, job.polls, job.inner) = (place.asked, place.polls, Some(Box::new(inner)));
        (job.since, job.due) = (time(place.since_ms)?, time(place.due_ms)?);
        job.last_poll = place.last_poll.as_deref().map_or_else(|| Ok(Value::null()), unraw)?;
        job.around = place.around.as_ref().map(Around::at).transpose()?;
        Ok(job)
    }

    pub(in crate::machine) fn place(&self, whole: bool) -> Result<JobPlace, PlaceError> {
        let (phase, step) = match &self.phase {
            Phase::Submit(step) => (JobPhase::Submit, Some(Box::new(step.place(whole)?))),
            Phase::Poll(step) => (JobPhase::Poll, Some(Box::new(step.place(whole)?))),
            Phase::Wait | Phase::Waiting(_) | Phase::GiveUp(_) | Phase::Over => (JobPhase::Wait, None),
            Phase::Download(_) => (JobPhase::Download, None),
        };
        let download = match &self.phase {
            Phase::Download(sequence) => Some(Box::new(sequence.place(whole)?)),
            _ => None,
        };
        let finished = self.inner.iter().flat_map(|inner| inner.finished.own());
        let finished: BTreeMap<String, Value> =
            finished.map(|(id, value)| (id.to_owned(), value.clone())).collect();
        let carried = match &self.inner {
            Some(inner) => carried::place(&inner.writes, &inner.cursors)?,
            None => Carried::default(),
        };
        Ok(JobPlace {
            asked: self.asked,
            phase,
            polls: self.polls,
            since_ms: self.since.map(|since| since.timestamp_millis()),
            due_ms: self.due.map(|due| due.timestamp_millis()),
            last_poll: self.last_poll()?,
            finished: raw_map(&finished)?,
            step,
            download,
            carried,
            around: self.around().as_ref().map(Around::place).transpose()?,
        })
    }

    /// What the next poll reads of the last one's answer.
    fn last_poll(&self) -> Result<Option<Json>, PlaceError> {
        let paths = self.node.job.as_ref().and_then(|job| job.poll.needs.carried.as_deref());
        let latest = prune(&self.last_poll, paths);
        if latest.is_null() { Ok(None) } else { raw(&latest).map(Some) }
    }

    /// What `cancel` reads of what is around the job; none where there is nothing around, or nothing to cancel.
    fn around(&self) -> Option<Around> {
        let cancel = self.node.job.as_ref().and_then(|job| job.cancel.as_ref());
        let (Some(inner), Some(cancel), true) = (&self.inner, cancel, self.works_upstream()) else {
            return None;
        };
        let anything = !inner.items.is_empty() || inner.nesting > 1;
        self.around.clone().or_else(|| anything.then(|| Around::of(inner, &cancel.step)))
    }
}

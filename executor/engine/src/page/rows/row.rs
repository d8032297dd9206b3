//! One row of a pass: its sub-steps from their beginning to what they leave.

use bytes::Bytes;
use orchid_plan::Value;

use super::{PageRun, RowExecution};
use crate::page::attach_steps::with_steps;
use crate::page::writer::{FinishedRow, Made};
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::exit::StepExit;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::tree::sequence::StepSequence;

impl StepExecution {
    pub(crate) fn begin_row(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        pass: &mut PageRun,
        number: u64,
        raw: Bytes,
    ) -> Result<(), StepExit> {
        let single = pass.source.is_none();
        let row_env = self.row_env(env, pass, (!single).then_some((number, &raw)));
        let began_at = pass.began_at(number, &raw);
        let sequence = match &began_at {
            Some(place) => StepSequence::at(&self.node.subs, row_env, place.steps.clone(), &cx.run.lists)
                .map(Some)
                .map_err(|error| {
                    self.plain_fault(cx, env, ErrorDetail::checkpoint(&self.step().pointer, &error))
                })?,
            None => StepSequence::new(&self.node.subs, row_env),
        };
        let Some(mut sequence) = sequence else { return Ok(()) };
        let flow = cx.at(number, |cx| sequence.start(cx));
        self.row_came_to(cx, pass, number, RowExecution { sequence, raw, began_at }, flow)
    }

    /// What the sub-steps of a row see.
    pub(crate) fn row_env(&self, env: &StepEnv, pass: &PageRun, row: Option<(u64, &Bytes)>) -> StepEnv {
        let path = self.path(env);
        let (prefix, durable) = match row {
            Some((number, _)) => (format!("{path}[{number}]."), false),
            // What silent sub-steps leave would have to be part of every checkpoint.
            None => (format!("{path}."), !self.node.subs.iter().any(|sub| sub.gathers)),
        };
        let mut below = env.below(prefix, durable);
        below.parent = pass.answer.value.clone();
        below.parent_text = pass.answer.body.json_text().cloned();
        if let Some((context, _)) = &pass.written {
            below.context = context.clone();
        }
        if let (Some(window), Some(slices)) = (&self.step().window, self.slices) {
            below.window = slices.value(window);
        }
        if let Some(reach) = &self.reach {
            below.cursor = reach.began().clone();
        }
        if let Some((number, raw)) = row {
            let item = Value::parse_selected(raw, &self.node.needs.item);
            below.push_item(number, item.unwrap_or_else(|_| Value::null()), Some(raw.clone()));
        }
        below
    }

    pub(crate) fn row_came_to(
        &mut self,
        cx: &mut EngineCx<'_>,
        pass: &mut PageRun,
        number: u64,
        row: RowExecution,
        flow: Result<StepStatus, StepExit>,
    ) -> Result<(), StepExit> {
        let stops = self.step().stop_on_error || pass.source.is_none();
        match flow {
            Ok(StepStatus::InFlight) => pass.flight.put(number, row, None),
            Ok(StepStatus::Deferred(idle)) => pass.flight.put(number, row, Some(idle)),
            Ok(StepStatus::Done | StepStatus::Skipped) => return self.row_done(cx, pass, number, row),
            Err(StepExit::Error(fault)) if !fault.ends_execution && !stops => {
                cx.run.left_out();
                cx.emit_error(*fault, false);
                return self.row_done(cx, pass, number, row);
            }
            Err(halt) => {
                pass.flight.put(number, row, None);
                return Err(halt);
            }
        }
        Ok(())
    }

    pub(crate) fn row_done(
        &mut self,
        cx: &mut EngineCx<'_>,
        pass: &mut PageRun,
        number: u64,
        row: RowExecution,
    ) -> Result<(), StepExit> {
        let RowExecution { sequence, raw, began_at } = row;
        let carries = self.node.subs.iter().any(|sub| sub.gathers);
        let shown = match (carries, pass.source.is_some()) {
            (true, true) => with_steps(&raw, &sequence.gathered()),
            (true, false) => sequence.gathered().into(),
            (false, _) => raw.clone(),
        };
        let StepEnv { writes, cursors, .. } = sequence.env;
        self.row_ended(cx, pass, number, FinishedRow { raw, shown, writes, cursors, began_at })
    }

    pub(crate) fn row_ended(
        &mut self,
        cx: &mut EngineCx<'_>,
        pass: &mut PageRun,
        number: u64,
        end: FinishedRow,
    ) -> Result<(), StepExit> {
        if pass.source.is_some() {
            let made = Made { sent: &pass.sent, answer: &pass.answer, extracted: Vec::new() };
            pass.sheet.row_ended(cx, &self.node, number, &end.shown, &made)?;
        }
        pass.flight.end(number, end);
        Ok(())
    }
}

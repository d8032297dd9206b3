//! One row of a pass: its sub-steps from their beginning to what they leave.

use bytes::Bytes;
use orchid_plan::Value;

use super::{Pass, Row};
use crate::machine::cx::Cx;
use crate::machine::emit::{Made, RowEnd};
use crate::machine::env::Env;
use crate::machine::flow::Flow;
use crate::machine::halt::{Halt, What};
use crate::machine::sequence::Sequence;
use crate::machine::shown::with_steps;
use crate::machine::step_run::StepRun;

impl StepRun {
    pub(super) fn begin_row(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        pass: &mut Pass,
        number: u64,
        raw: Bytes,
    ) -> Result<(), Halt> {
        let single = pass.source.is_none();
        let row_env = self.row_env(env, pass, (!single).then_some((number, &raw)));
        let began_at = pass.began_at(number, &raw);
        let sequence = match &began_at {
            Some(place) => Sequence::at(&self.node.subs, row_env, place.at.clone(), &cx.run.lists)
                .map(Some)
                .map_err(|error| self.plain_fault(cx, env, What::place(&self.step().pointer, &error)))?,
            None => Sequence::new(&self.node.subs, row_env),
        };
        let Some(mut sequence) = sequence else { return Ok(()) };
        let flow = cx.at(number, |cx| sequence.start(cx));
        self.row_came_to(cx, pass, number, Row { sequence, raw, began_at }, flow)
    }

    /// What the sub-steps of a row see.
    pub(super) fn row_env(&self, env: &Env, pass: &Pass, row: Option<(u64, &Bytes)>) -> Env {
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

    pub(super) fn row_came_to(
        &mut self,
        cx: &mut Cx<'_>,
        pass: &mut Pass,
        number: u64,
        row: Row,
        flow: Result<Flow, Halt>,
    ) -> Result<(), Halt> {
        let stops = self.step().stop_on_error || pass.source.is_none();
        match flow {
            Ok(Flow::Busy) => pass.flight.put(number, row, None),
            Ok(Flow::Idle(idle)) => pass.flight.put(number, row, Some(idle)),
            Ok(Flow::Done | Flow::Skipped) => return self.row_done(cx, pass, number, row),
            Err(Halt::Fault(fault)) if !fault.whole_run && !stops => {
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

    pub(super) fn row_done(
        &mut self,
        cx: &mut Cx<'_>,
        pass: &mut Pass,
        number: u64,
        row: Row,
    ) -> Result<(), Halt> {
        let Row { sequence, raw, began_at } = row;
        let carries = self.node.subs.iter().any(|sub| sub.gathers);
        let shown = match (carries, pass.source.is_some()) {
            (true, true) => with_steps(&raw, &sequence.gathered()),
            (true, false) => sequence.gathered().into(),
            (false, _) => raw.clone(),
        };
        let Env { writes, cursors, .. } = sequence.env;
        self.row_ended(cx, pass, number, RowEnd { raw, shown, writes, cursors, began_at })
    }

    pub(super) fn row_ended(
        &mut self,
        cx: &mut Cx<'_>,
        pass: &mut Pass,
        number: u64,
        end: RowEnd,
    ) -> Result<(), Halt> {
        if pass.source.is_some() {
            let made = Made { sent: &pass.sent, answer: &pass.answer, extracted: Vec::new() };
            pass.sheet.row_ended(cx, &self.node, number, &end.shown, &made)?;
        }
        pass.flight.end(number, end);
        Ok(())
    }
}

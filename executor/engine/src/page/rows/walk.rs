//! The walk over the rows of a pass: as many as there is room for, into the page's messages in their order.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{PageProgress, PageRun};
use crate::body::NextRow;
use crate::checkpoint::step_state::{RowState, RowsState, SequenceState};
use crate::message::body::BodyKind;
use crate::message::exchange::SentRequest;
use crate::output::{CursorChange, Output};
use crate::page::in_flight::InFlightWindow;
use crate::page::writer::{FinishedRow, Made, PageWriter, Settled};
use crate::rules::outcome::TryFailure;
use crate::state::context;
use crate::state::deferred_writes as carried;
use crate::state::engine_cx::EngineCx;
use crate::state::exit::StepExit;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;
use crate::step::execution::{StepExecution, StepPhase};
use crate::tree::sequence::StepSequence;

impl StepExecution {
    pub(crate) fn advance(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        pass: &mut PageRun,
    ) -> Result<PageProgress, StepExit> {
        if pass.source.is_none() {
            return self.advance_single(cx, env, pass);
        }
        // What has ended is in the page before others begin: beginning may end the run.
        self.take_ended(cx, env, pass)?;
        loop {
            if let Some(stop) = self.fill(cx, env, pass)? {
                return Ok(stop);
            }
            let took = self.take_ended(cx, env, pass)?;
            if !took {
                break;
            }
        }
        let settled = pass.sheet.leave_late(cx, &self.node);
        self.settle(cx, env, pass, settled);
        let exhausted = pass.source.as_ref().is_some_and(|source| source.exhausted);
        if exhausted && pass.flight.is_empty() {
            let settled = pass.sheet.end(cx, &self.node);
            self.settle(cx, env, pass, settled);
            return Ok(PageProgress::Done);
        }
        let reads = pass.source.as_ref().and_then(|source| source.pieces.as_ref()).is_some_and(|it| it.asked);
        Ok(PageProgress::Waits(match pass.flight.flow() {
            _ if reads => StepStatus::InFlight,
            StepStatus::Deferred(idle) => StepStatus::Deferred(idle),
            StepStatus::InFlight if pass.flight.is_empty() => {
                StepStatus::Deferred(DeferredWait::nothing_begins())
            }
            flow => flow,
        }))
    }

    /// Takes rows from the source while there is room for them.
    pub(crate) fn fill(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        pass: &mut PageRun,
    ) -> Result<Option<PageProgress>, StepExit> {
        let (has_subs, concurrency) = (!self.node.subs.is_empty(), self.step().concurrency);
        loop {
            let Some(source) = &mut pass.source else { return Ok(None) };
            let room = !has_subs || pass.flight.has_room(concurrency, cx.run);
            if source.exhausted || !room {
                return Ok(None);
            }
            let row = match source.rows.next() {
                Ok(NextRow::Row(row)) => row,
                Ok(NextRow::NeedMore) => {
                    if let Some(pieces) = &mut source.pieces
                        && !pieces.asked
                    {
                        pieces.asked = true;
                        cx.out.push(Output::ReadBody { try_id: pieces.try_id });
                    }
                    return Ok(None);
                }
                Ok(NextRow::End) => {
                    source.exhausted = true;
                    let changed = source.skip.is_some();
                    return Ok(changed.then_some(PageProgress::Changed));
                }
                Err(error) => {
                    let fault = TryFailure::Decode(error.code());
                    return Ok(Some(PageProgress::Broken(fault, error.to_string())));
                }
            };
            pass.rows += 1;
            if source.skip.is_some() {
                if !pass.passed_over(&row) {
                    return Ok(Some(PageProgress::Changed));
                }
                if let Some(place) = pass.skipped() {
                    self.resume_rows(cx, env, pass, place);
                }
                continue;
            }
            let number = pass.flight.begin();
            if has_subs {
                self.begin_row(cx, env, pass, number, row)?;
            } else {
                self.row_ended(cx, pass, number, FinishedRow::plain(row))?;
                self.take_ended(cx, env, pass)?;
            }
        }
    }

    /// Sub-steps once for the pass.
    pub(crate) fn advance_single(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        pass: &mut PageRun,
    ) -> Result<PageProgress, StepExit> {
        if !self.node.subs.is_empty() && pass.flight.next() == 0 {
            let number = pass.flight.begin();
            self.begin_row(cx, env, pass, number, Bytes::new())?;
        }
        while let Some((_, FinishedRow { mut writes, cursors, shown, .. })) = pass.flight.take_ended() {
            context::append(&mut pass.writes, &mut writes);
            pass.cursors.extend(cursors.into_iter().map(CursorChange::from));
            pass.steps = shown.to_vec();
        }
        Ok(if pass.flight.is_empty() { PageProgress::Done } else { PageProgress::Waits(pass.flight.flow()) })
    }
    pub(crate) fn take_ended(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        pass: &mut PageRun,
    ) -> Result<bool, StepExit> {
        let mut took = false;
        while let Some((number, end)) = pass.flight.take_ended() {
            took = true;
            if self.node.gathers {
                self.gathered.push(end.shown.clone());
            }
            let made = Made { sent: &pass.sent, answer: &pass.answer, extracted: Vec::new() };
            let settled = pass.sheet.take(cx, &self.node, number, end, &made)?;
            self.settle(cx, env, pass, settled);
        }
        Ok(took)
    }

    /// Rows that no later attempt repeats: what they wrote and how far they read belongs to the next checkpoint.
    pub(crate) fn settle(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        pass: &mut PageRun,
        rows: Settled,
    ) {
        if rows.is_empty() {
            return;
        }
        // The place of a page that is taken in one go is never asked for: its rows are not worth their hash.
        let hashes =
            !self.node.subs.is_empty() || pass.source.as_ref().is_some_and(|source| source.pieces.is_some());
        if self.step().rows.is_some() {
            cx.run.progress.counts.rows += rows.len() as u64;
        }
        for FinishedRow { raw, mut writes, cursors, .. } in rows {
            if hashes {
                pass.settled.add(&raw);
            }
            context::append(&mut pass.writes, &mut writes);
            pass.cursors.extend(cursors.into_iter().map(CursorChange::from));
        }
        cx.run.moved |= env.durable && hashes;
    }

    /// All rows of the checkpoint stood there again: the page goes on after them.
    pub(crate) fn resume_rows(
        &mut self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        pass: &mut PageRun,
        place: RowsState,
    ) {
        pass.flight = InFlightWindow::after(place.done);
        let (writes, cursors) = carried::decode(place.deferred);
        (pass.writes, pass.cursors) = (writes, cursors.into_iter().map(CursorChange::from).collect());
        pass.resumed = place.in_flight;
        let kind = if self.step().rows.is_some() { BodyKind::Rows } else { BodyKind::Array };
        let made = Made { sent: &pass.sent, answer: &pass.answer, extracted: pass.extracted.clone() };
        pass.sheet = PageWriter::new(cx.run, &self.node, self.location(env), made, kind, place.chunk);
    }

    /// Emits the rows that are done, and are held back for a fuller message.
    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) {
        let StepPhase::Page(mut pass) = std::mem::replace(&mut self.doing, StepPhase::Idle) else { return };
        for (number, row) in pass.flight.under_way_mut() {
            cx.at(number, |cx| row.sequence.flush(cx));
        }
        let skipping = pass.source.as_ref().is_some_and(|source| source.skip.is_some());
        if pass.source.is_some() && !skipping {
            // A row that no message takes is begun again, and fails there.
            let _taken = self.take_ended(cx, env, &mut pass);
            let settled = pass.sheet.leave_all(cx, &self.node);
            self.settle(cx, env, &mut pass, settled);
        }
        self.doing = StepPhase::Page(pass);
    }

    pub(crate) fn abandon(&mut self, env: &StepEnv, found: &mut Vec<(StepEnv, StepExecution)>) {
        let waiting: Vec<(u64, SequenceState)> =
            self.not_begun().map(|(number, place)| (number, place.steps.clone())).collect();
        let path = self.path(env);
        for (number, place) in waiting {
            // What the row was is not known here: a job keeps what its cancel reads.
            let below = env.below(format!("{path}[{number}]."), false);
            if let Ok(mut sequence) = StepSequence::at(&self.node.subs, below, place, &BTreeMap::new()) {
                sequence.abandon(found);
            }
        }
        if let StepPhase::Page(pass) = &mut self.doing {
            for (_, mut row) in pass.flight.drain_under_way() {
                row.sequence.abandon(found);
            }
        }
    }

    /// Rows of a checkpoint that have not begun again.
    fn not_begun(&self) -> impl Iterator<Item = (u64, &RowState)> {
        let (mut resumed, mut skipped) = (None, None);
        if let StepPhase::Page(pass) = &self.doing {
            resumed = Some(&pass.resumed);
            skipped = pass.source.as_ref().and_then(|source| source.skip.as_ref()).map(|skip| &skip.place);
        }
        let places = skipped.or(self.rows_done.as_ref()).map(|place| &place.in_flight);
        let all = resumed.into_iter().chain(places).flatten();
        all.map(|(number, place)| (*number, place))
    }

    pub(crate) fn works_upstream(&self) -> bool {
        let under_way = match &self.doing {
            StepPhase::Page(pass) => pass.flight.under_way().any(|(_, row)| row.sequence.works_upstream()),
            StepPhase::Idle
            | StepPhase::AwaitingResponse(_)
            | StepPhase::BufferingBody(_)
            | StepPhase::AwaitingRetry(_)
            | StepPhase::Deferred(_) => false,
        };
        under_way || self.not_begun().any(|(_, place)| place.steps.step.works_upstream())
    }

    /// The request under way.
    pub(crate) fn under_way(&self) -> Option<&SentRequest> {
        match &self.doing {
            StepPhase::AwaitingResponse(sent) => Some(&sent.facts),
            StepPhase::BufferingBody(gathering) => Some(&gathering.sent.facts),
            StepPhase::Page(pass) => Some(&pass.sent.facts),
            StepPhase::Idle | StepPhase::AwaitingRetry(_) | StepPhase::Deferred(_) => None,
        }
    }
}

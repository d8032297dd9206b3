//! The walk over the rows of a pass: as many as there is room for, into the page's messages in their order.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Pass, Progress};
use crate::body::NextRow;
use crate::checkpoint::{RowPlace, RowsPlace, SequencePlace};
use crate::machine::carried;
use crate::machine::context;
use crate::machine::cx::Cx;
use crate::machine::emit::{Made, RowEnd, Settled, Sheet};
use crate::machine::env::Env;
use crate::machine::flight::Flight;
use crate::machine::flow::{Flow, Idle};
use crate::machine::halt::Halt;
use crate::machine::outcome::TryFault;
use crate::machine::sequence::Sequence;
use crate::machine::step_run::{Doing, StepRun};
use crate::message::body::BodyKind;
use crate::message::exchange::SentRequest;
use crate::output::{CursorChange, Output};

impl StepRun {
    pub(super) fn advance(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        pass: &mut Pass,
    ) -> Result<Progress, Halt> {
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
            return Ok(Progress::Done);
        }
        let reads = pass.source.as_ref().and_then(|source| source.pieces.as_ref()).is_some_and(|it| it.asked);
        Ok(Progress::Waits(match pass.flight.flow() {
            _ if reads => Flow::Busy,
            Flow::Idle(idle) => Flow::Idle(idle),
            Flow::Busy if pass.flight.is_empty() => Flow::Idle(Idle::nothing_begins()),
            flow => flow,
        }))
    }

    /// Takes rows from the source while there is room for them.
    pub(super) fn fill(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        pass: &mut Pass,
    ) -> Result<Option<Progress>, Halt> {
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
                    return Ok(changed.then_some(Progress::Changed));
                }
                Err(error) => {
                    let fault = TryFault::Decode(error.code());
                    return Ok(Some(Progress::Broken(fault, error.to_string())));
                }
            };
            pass.rows += 1;
            if source.skip.is_some() {
                if !pass.passed_over(&row) {
                    return Ok(Some(Progress::Changed));
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
                self.row_ended(cx, pass, number, RowEnd::plain(row))?;
                self.take_ended(cx, env, pass)?;
            }
        }
    }

    /// Sub-steps once for the pass.
    pub(super) fn advance_single(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        pass: &mut Pass,
    ) -> Result<Progress, Halt> {
        if !self.node.subs.is_empty() && pass.flight.next() == 0 {
            let number = pass.flight.begin();
            self.begin_row(cx, env, pass, number, Bytes::new())?;
        }
        while let Some((_, RowEnd { mut writes, cursors, shown, .. })) = pass.flight.take_ended() {
            context::append(&mut pass.writes, &mut writes);
            pass.cursors.extend(cursors.into_iter().map(CursorChange::from));
            pass.steps = shown.to_vec();
        }
        Ok(if pass.flight.is_empty() { Progress::Done } else { Progress::Waits(pass.flight.flow()) })
    }
    pub(super) fn take_ended(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        pass: &mut Pass,
    ) -> Result<bool, Halt> {
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
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>, env: &mut Env, pass: &mut Pass, rows: Settled) {
        if rows.is_empty() {
            return;
        }
        // The place of a page that is taken in one go is never asked for: its rows are not worth their hash.
        let hashes =
            !self.node.subs.is_empty() || pass.source.as_ref().is_some_and(|source| source.pieces.is_some());
        if self.step().rows.is_some() {
            cx.run.progress.counts.rows += rows.len() as u64;
        }
        for RowEnd { raw, mut writes, cursors, .. } in rows {
            if hashes {
                pass.settled.add(&raw);
            }
            context::append(&mut pass.writes, &mut writes);
            pass.cursors.extend(cursors.into_iter().map(CursorChange::from));
        }
        cx.run.moved |= env.durable && hashes;
    }

    /// All rows of the checkpoint stood there again: the page goes on after them.
    pub(super) fn resume_rows(&mut self, cx: &Cx<'_>, env: &Env, pass: &mut Pass, place: RowsPlace) {
        pass.flight = Flight::after(place.done);
        let (writes, cursors) = carried::restore(place.carried);
        (pass.writes, pass.cursors) = (writes, cursors.into_iter().map(CursorChange::from).collect());
        pass.resumed = place.under_way;
        let kind = if self.step().rows.is_some() { BodyKind::Rows } else { BodyKind::Array };
        let made = Made { sent: &pass.sent, answer: &pass.answer, extracted: pass.extracted.clone() };
        pass.sheet = Sheet::new(cx.run, &self.node, self.spot(env), made, kind, place.chunk);
    }

    /// Emits the rows that are done, and are held back for a fuller message.
    pub(in crate::machine) fn flush(&mut self, cx: &mut Cx<'_>, env: &mut Env) {
        let Doing::Rows(mut pass) = std::mem::replace(&mut self.doing, Doing::Nothing) else { return };
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
        self.doing = Doing::Rows(pass);
    }

    pub(in crate::machine) fn abandon(&mut self, env: &Env, found: &mut Vec<(Env, StepRun)>) {
        let waiting: Vec<(u64, SequencePlace)> =
            self.not_begun().map(|(number, place)| (number, place.at.clone())).collect();
        let path = self.path(env);
        for (number, place) in waiting {
            // What the row was is not known here: a job keeps what its cancel reads.
            let below = env.below(format!("{path}[{number}]."), false);
            if let Ok(mut sequence) = Sequence::at(&self.node.subs, below, place, &BTreeMap::new()) {
                sequence.abandon(found);
            }
        }
        if let Doing::Rows(pass) = &mut self.doing {
            for (_, mut row) in pass.flight.drain_under_way() {
                row.sequence.abandon(found);
            }
        }
    }

    /// Rows of a checkpoint that have not begun again.
    fn not_begun(&self) -> impl Iterator<Item = (u64, &RowPlace)> {
        let (mut resumed, mut skipped) = (None, None);
        if let Doing::Rows(pass) = &self.doing {
            resumed = Some(&pass.resumed);
            skipped = pass.source.as_ref().and_then(|source| source.skip.as_ref()).map(|skip| &skip.place);
        }
        let places = skipped.or(self.rows_done.as_ref()).map(|place| &place.under_way);
        let all = resumed.into_iter().chain(places).flatten();
        all.map(|(number, place)| (*number, place))
    }

    pub(in crate::machine) fn works_upstream(&self) -> bool {
        let under_way = match &self.doing {
            Doing::Rows(pass) => pass.flight.under_way().any(|(_, row)| row.sequence.works_upstream()),
            Doing::Nothing
            | Doing::Asking(_)
            | Doing::Gathering(_)
            | Doing::Waiting(_)
            | Doing::Parked(_) => false,
        };
        under_way || self.not_begun().any(|(_, place)| place.at.works_upstream())
    }

    /// The request under way.
    pub(in crate::machine) fn under_way(&self) -> Option<&SentRequest> {
        match &self.doing {
            Doing::Asking(sent) => Some(&sent.facts),
            Doing::Gathering(gathering) => Some(&gathering.sent.facts),
            Doing::Rows(pass) => Some(&pass.sent.facts),
            Doing::Nothing | Doing::Waiting(_) | Doing::Parked(_) => None,
        }
    }
}

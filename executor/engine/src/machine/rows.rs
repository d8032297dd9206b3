//! The rows of one pass: taken one by one from the answer, each with its sub-steps, into the page's messages in their order.
//!
//! In: an answer that counts, then what comes for the rows' own tries, or the next piece of the body. Out: messages, and at
//! the last row the end of the pass. Held at once are only the rows under way, those that ended out of their turn, and those
//! that wait for their message to fill.

use std::collections::BTreeMap;

use bytes::Bytes;
use orchid_plan::{ScopeName, Value};
use sha2::{Digest, Sha256};

use super::answer::{Answer, Event};
use super::carried;
use super::context::{self, Changes, Context};
use super::cx::Cx;
use super::emit::{Made, RowEnd, Settled, Sheet};
use super::env::Env;
use super::flight::Flight;
use super::flow::{Flow, Idle};
use super::halt::Halt;
use super::sequence::Sequence;
use super::shown::with_steps;
use super::step_run::{Doing, Sent, StepRun};
use crate::body::{NextRow, Rows};
use crate::checkpoint::{PlaceError, RowsPlace, SequencePlace};
use crate::input::TryId;
use crate::message::body::BodyKind;
use crate::message::exchange::SentFacts;
use crate::output::{CursorChange, Output};

/// A pass whose answer counts.
pub(super) struct Pass {
    pub(super) sent: Sent,
    pub(super) answer: Answer,
    /// The context after the pass's own writes, and those.
    pub(super) written: Option<(Context, Changes)>,
    pub(super) extracted: Vec<u8>,
    pub(super) sheet: Sheet,
    /// Where rows come from; none: sub-steps run once for the pass.
    pub(super) source: Option<Source>,
    flight: Flight<Row, RowEnd>,
    /// What rows wrote that are settled.
    pub(super) writes: Changes,
    settled: SettledRows,
    /// Rows of a checkpoint that are not begun yet.
    resumed: BTreeMap<u64, SequencePlace>,
    /// What sub-steps left that ran once for the pass.
    pub(super) steps: Vec<u8>,
    /// Rows so far.
    pub(super) rows: u64,
}

/// A row being run.
struct Row {
    sequence: Sequence,
    raw: Bytes,
}

/// Where rows come from.
pub(super) struct Source {
    rows: Rows,
    /// The try whose body comes in pieces.
    pieces: Option<Pieces>,
    /// Rows that an earlier attempt settled: passed over, if they are the same.
    skip: Option<Skip>,
    exhausted: bool,
}

struct Pieces {
    try_id: TryId,
    asked: bool,
}

struct Skip {
    left: u64,
    place: RowsPlace,
}

/// Rows whose place is in the next checkpoint.
struct SettledRows {
    done: u64,
    hash: Sha256,
}

impl SettledRows {
    fn none() -> SettledRows {
        SettledRows { done: 0, hash: Sha256::new() }
    }

    fn add(&mut self, row: &[u8]) {
        self.done += 1;
        self.hash.update((row.len() as u64).to_be_bytes());
        self.hash.update(row);
    }

    fn hash(&self) -> String {
        hex::encode(&self.hash.clone().finalize()[..16])
    }
}

/// How far a pass came with its rows.
pub(super) enum Progress {
    /// It waits for something.
    Waits(Flow),
    /// All rows are done.
    Done,
    /// The rows are others than those that an earlier attempt took: the page begins again.
    Changed,
    /// The body broke off.
    Broken(super::outcome::TryFault, String),
}

impl Pass {
    pub(super) fn place(&self, whole: bool) -> Result<Option<RowsPlace>, PlaceError> {
        if let Some(Source { skip: Some(skip), .. }) = &self.source {
            return Ok(Some(skip.place.clone()));
        }
        let single = self.source.is_none();
        let mut under_way = BTreeMap::new();
        for (number, row) in self.flight.under_way() {
            if whole || (single && row.sequence.env.durable) {
                under_way.insert(number, row.sequence.place(whole)?);
            }
        }
        under_way.extend(self.resumed.iter().map(|(number, place)| (*number, place.clone())));
        if self.settled.done == 0 && under_way.is_empty() {
            return Ok(None);
        }
        Ok(Some(RowsPlace {
            done: self.settled.done,
            hash: self.settled.hash(),
            chunk: self.sheet.chunk(),
            carried: carried::place(&self.writes, &[])?,
            under_way,
        }))
    }

    /// The try whose body still comes.
    pub(super) fn open_try(&self) -> Option<TryId> {
        let pieces = self.source.as_ref().filter(|source| !source.exhausted)?.pieces.as_ref()?;
        Some(pieces.try_id)
    }
}

impl StepRun {
    /// Begins with the rows of an answer; without rows and sub-steps the pass is done at once.
    pub(super) fn take_rows(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        mut sent: Sent,
        mut answer: Answer,
    ) -> Result<Flow, Halt> {
        let written = self.set_context(cx, env, &sent, &answer)?;
        if let Some((context, _)) = &written {
            sent.scope.set(ScopeName::Context, context.object().clone());
        }
        let extracted = self.extract(cx, env, &sent, &answer)?;
        let source = self.source(cx, env, &sent, &mut answer)?;
        let place = self.rows_done.take();
        let kind = if self.step().rows.is_some() { BodyKind::Rows } else { BodyKind::Array };
        let mut pass = Pass {
            sheet: Sheet::new(
                cx.run,
                &self.node,
                self.spot(env),
                Made { sent: &sent, answer: &answer, extracted: extracted.clone() },
                kind,
                0,
            ),
            sent,
            answer,
            written,
            extracted,
            source: source.map(|(rows, try_id)| Source {
                rows,
                pieces: try_id.map(|try_id| Pieces { try_id, asked: false }),
                skip: None,
                exhausted: false,
            }),
            flight: Flight::after(0),
            writes: Changes::new(),
            settled: SettledRows::none(),
            resumed: BTreeMap::new(),
            steps: Vec::new(),
            rows: 0,
        };
        match (place, &mut pass.source) {
            (Some(place), Some(source)) if place.done > 0 => {
                source.skip = Some(Skip { left: place.done, place });
            }
            (Some(place), Some(_)) => self.resume_rows(cx, env, &mut pass, place),
            (Some(place), None) => pass.resumed = place.under_way,
            (None, _) => {}
        }
        self.run_rows(cx, env, Box::new(pass))
    }

    /// Takes what came for a row, or the next piece of the body.
    pub(super) fn go_on_with_rows(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        mut pass: Box<Pass>,
        route: &[u64],
        event: Event,
    ) -> Result<Flow, Halt> {
        if let Some((number, rest)) = route.split_first() {
            let Some(mut row) = pass.flight.take(*number) else {
                let flow = pass.flight.flow();
                self.doing = Doing::Rows(pass);
                return Ok(flow);
            };
            let flow = cx.at(*number, |cx| row.sequence.deliver(cx, rest, event));
            if let Err(halt) = self.row_came_to(cx, &mut pass, *number, row, flow) {
                self.doing = Doing::Rows(pass);
                return Err(halt);
            }
            return self.run_rows(cx, env, pass);
        }
        let open = pass.open_try();
        match (event, pass.source.as_mut()) {
            (Event::Piece { try_id, piece, duration }, Some(source)) if open == Some(try_id) => {
                if let Some(pieces) = &mut source.pieces {
                    pieces.asked = false;
                }
                match piece {
                    Ok(Some(bytes)) => {
                        cx.run.progress.counts.bytes += bytes.len() as u64;
                        source.rows.feed(&bytes);
                    }
                    Ok(None) => {
                        cx.run.try_ended(try_id);
                        source.pieces = None;
                        source.rows.finish();
                    }
                    Err(error) => {
                        cx.run.try_ended(try_id);
                        let fault = super::outcome::TryFault::Fetch(error.kind);
                        pass.answer.facts.duration_ms = u64::try_from(duration.as_millis()).ok();
                        return self.broken(cx, env, pass, fault, error.message);
                    }
                }
                self.run_rows(cx, env, pass)
            }
            _ => {
                let flow = pass.flight.flow();
                self.doing = Doing::Rows(pass);
                Ok(flow)
            }
        }
    }

    /// Goes as far as possible, and says what for the pass waits.
    fn run_rows(&mut self, cx: &mut Cx<'_>, env: &mut Env, mut pass: Box<Pass>) -> Result<Flow, Halt> {
        match self.advance(cx, env, &mut pass) {
            Ok(Progress::Waits(flow)) => {
                self.doing = Doing::Rows(pass);
                Ok(flow)
            }
            Ok(Progress::Done) => self.finish_pass(cx, env, pass),
            Ok(Progress::Changed) => {
                let taken = pass.settled_before();
                self.gathered.truncate(self.gathered.len().saturating_sub(taken));
                if let Some(try_id) = pass.open_try() {
                    cx.discard(try_id);
                    return self.send(cx, env);
                }
                let Pass { sent, answer, .. } = *pass;
                self.take_rows(cx, env, sent, answer)
            }
            Ok(Progress::Broken(fault, words)) => {
                if let Some(try_id) = pass.open_try() {
                    cx.discard(try_id);
                }
                self.broken(cx, env, pass, fault, words)
            }
            Err(halt) => {
                self.doing = Doing::Rows(pass);
                Err(halt)
            }
        }
    }

    /// The body broke off while its rows were taken: judged like any other try, and gone on with after the last row that is
    /// settled.
    fn broken(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        pass: Box<Pass>,
        fault: super::outcome::TryFault,
        words: String,
    ) -> Result<Flow, Halt> {
        self.rows_done = pass.place(false).unwrap_or_default();
        let retries_left = self.retry < self.step().retry.max_retries;
        let Pass { sent, mut answer, .. } = *pass;
        answer.broken_by(fault, words, retries_left);
        self.judge(cx, env, sent, answer)
    }

    fn advance(&mut self, cx: &mut Cx<'_>, env: &mut Env, pass: &mut Pass) -> Result<Progress, Halt> {
        if pass.source.is_none() {
            return self.advance_single(cx, env, pass);
        }
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
    fn fill(&mut self, cx: &mut Cx<'_>, env: &mut Env, pass: &mut Pass) -> Result<Option<Progress>, Halt> {
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
                        cx.out.push(Output::Read { try_id: pieces.try_id });
                    }
                    return Ok(None);
                }
                Ok(NextRow::End) => {
                    source.exhausted = true;
                    let changed = source.skip.is_some();
                    return Ok(changed.then_some(Progress::Changed));
                }
                Err(error) => {
                    let fault = super::outcome::TryFault::Decode;
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
            if self.step().rows.is_some() {
                cx.run.progress.counts.rows += 1;
            }
            let number = pass.flight.begin();
            if has_subs {
                self.begin_row(cx, env, pass, number, row)?;
            } else {
                let shown = row.clone();
                self.row_ended(
                    cx,
                    pass,
                    number,
                    RowEnd { raw: row, shown, writes: Changes::new(), cursors: Vec::new() },
                )?;
                self.take_ended(cx, env, pass)?;
            }
        }
    }

    /// Sub-steps once for the pass.
    fn advance_single(&mut self, cx: &mut Cx<'_>, env: &mut Env, pass: &mut Pass) -> Result<Progress, Halt> {
        if !self.node.subs.is_empty() && pass.flight.next() == 0 {
            let number = pass.flight.begin();
            self.begin_row(cx, env, pass, number, Bytes::new())?;
        }
        while let Some((_, RowEnd { mut writes, cursors, shown, .. })) = pass.flight.take_ended() {
            context::append(&mut pass.writes, &mut writes);
            cursors.into_iter().for_each(|cursor| cx.save_cursor(env, cursor));
            pass.steps = shown.to_vec();
        }
        Ok(if pass.flight.is_empty() { Progress::Done } else { Progress::Waits(pass.flight.flow()) })
    }

    fn begin_row(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        pass: &mut Pass,
        number: u64,
        raw: Bytes,
    ) -> Result<(), Halt> {
        let single = pass.source.is_none();
        let row_env = self.row_env(env, pass, (!single).then_some((number, &raw)));
        let sequence = match pass.resumed.remove(&number) {
            Some(place) => {
                Sequence::at(&self.node.subs, row_env, place, &cx.run.lists).map(Some).map_err(|error| {
                    self.plain_fault(cx, env, super::halt::What::place(&self.step().pointer, &error))
                })?
            }
            None => Sequence::new(&self.node.subs, row_env),
        };
        let Some(mut sequence) = sequence else { return Ok(()) };
        let flow = cx.at(number, |cx| sequence.start(cx));
        self.row_came_to(cx, pass, number, Row { sequence, raw }, flow)
    }

    /// What the sub-steps of a row see.
    fn row_env(&self, env: &Env, pass: &Pass, row: Option<(u64, &Bytes)>) -> Env {
        let path = self.path(env);
        let (prefix, durable) = match row {
            Some((number, _)) => (format!("{path}[{number}]."), false),
            // What silent sub-steps leave would have to be part of every checkpoint.
            None => (format!("{path}."), !self.node.subs.iter().any(|sub| sub.gathers)),
        };
        let mut below = env.below(prefix, durable);
        below.parent = pass.answer.value.clone();
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
            let item = match &self.node.needs.item {
                Some(paths) => Value::parse_paths(raw, paths.iter().map(Vec::as_slice)),
                None => Value::parse(raw),
            };
            below.push_item(number, item.unwrap_or_else(|_| Value::null()));
        }
        below
    }

    fn row_came_to(
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

    fn row_done(&mut self, cx: &mut Cx<'_>, pass: &mut Pass, number: u64, row: Row) -> Result<(), Halt> {
        let Row { sequence, raw } = row;
        let carries = self.node.subs.iter().any(|sub| sub.gathers);
        let shown = match (carries, pass.source.is_some()) {
            (true, true) => with_steps(&raw, &sequence.gathered()),
            (true, false) => sequence.gathered().into(),
            (false, _) => raw.clone(),
        };
        let Env { writes, cursors, .. } = sequence.env;
        self.row_ended(cx, pass, number, RowEnd { raw, shown, writes, cursors })
    }

    fn row_ended(&mut self, cx: &mut Cx<'_>, pass: &mut Pass, number: u64, end: RowEnd) -> Result<(), Halt> {
        if pass.source.is_some() {
            let made = Made { sent: &pass.sent, answer: &pass.answer, extracted: Vec::new() };
            pass.sheet.row_ended(cx, &self.node, number, &end.shown, &made)?;
        }
        pass.flight.end(number, end);
        Ok(())
    }

    /// Takes the rows whose turn it is; answers whether there was one.
    fn take_ended(&mut self, cx: &mut Cx<'_>, env: &mut Env, pass: &mut Pass) -> Result<bool, Halt> {
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
    fn settle(&mut self, cx: &mut Cx<'_>, env: &mut Env, pass: &mut Pass, rows: Settled) {
        if rows.is_empty() {
            return;
        }
        // The place of a page that is taken in one go is never asked for: its rows are not worth their hash.
        let hashes =
            !self.node.subs.is_empty() || pass.source.as_ref().is_some_and(|source| source.pieces.is_some());
        for RowEnd { raw, mut writes, cursors, .. } in rows {
            if hashes {
                pass.settled.add(&raw);
            }
            context::append(&mut pass.writes, &mut writes);
            cursors.into_iter().for_each(|cursor: CursorChange| cx.save_cursor(env, cursor));
        }
        cx.run.moved |= env.durable && hashes;
    }

    /// All rows of the checkpoint stood there again: the page goes on after them.
    fn resume_rows(&mut self, cx: &Cx<'_>, env: &Env, pass: &mut Pass, place: RowsPlace) {
        pass.flight = Flight::after(place.done);
        pass.writes = carried::restore(place.carried).0;
        pass.resumed = place.under_way;
        let kind = if self.step().rows.is_some() { BodyKind::Rows } else { BodyKind::Array };
        let made = Made { sent: &pass.sent, answer: &pass.answer, extracted: pass.extracted.clone() };
        pass.sheet = Sheet::new(cx.run, &self.node, self.spot(env), made, kind, place.chunk);
    }

    /// Emits the rows that are done, and are held back for a fuller message.
    pub(super) fn flush(&mut self, cx: &mut Cx<'_>, env: &mut Env) {
        let Doing::Rows(mut pass) = std::mem::replace(&mut self.doing, Doing::Nothing) else { return };
        for (number, row) in pass.flight.under_way_mut() {
            cx.at(number, |cx| row.sequence.flush(cx));
        }
        let skipping = pass.source.as_ref().is_some_and(|source| source.skip.is_some());
        if pass.source.is_some() && !skipping {
            let settled = pass.sheet.leave_all(cx, &self.node);
            self.settle(cx, env, &mut pass, settled);
        }
        self.doing = Doing::Rows(pass);
    }

    pub(super) fn abandon(&mut self, found: &mut Vec<(Env, StepRun)>) {
        if let Doing::Rows(pass) = &mut self.doing {
            for (_, mut row) in pass.flight.drain_under_way() {
                row.sequence.abandon(found);
            }
        }
    }

    pub(super) fn works_upstream(&self) -> bool {
        match &self.doing {
            Doing::Rows(pass) => pass.flight.under_way().any(|(_, row)| row.sequence.works_upstream()),
            Doing::Nothing | Doing::Asking(_) | Doing::Gathering(_) | Doing::Waiting(_) | Doing::Parked => {
                false
            }
        }
    }

    /// The request under way.
    pub(super) fn under_way(&self) -> Option<&SentFacts> {
        match &self.doing {
            Doing::Asking(sent) => Some(&sent.facts),
            Doing::Gathering(gathering) => Some(&gathering.sent.facts),
            Doing::Rows(pass) => Some(&pass.sent.facts),
            Doing::Nothing | Doing::Waiting(_) | Doing::Parked => None,
        }
    }
}

impl Pass {
    /// Rows that the checkpoint says were settled.
    fn settled_before(&self) -> usize {
        let skip = self.source.as_ref().and_then(|source| source.skip.as_ref());
        skip.map_or(0, |skip| usize::try_from(skip.place.done).unwrap_or(usize::MAX))
    }

    /// Whether a row that an earlier attempt settled may still be the same.
    fn passed_over(&mut self, row: &[u8]) -> bool {
        let Some(skip) = self.source.as_mut().and_then(|source| source.skip.as_mut()) else { return false };
        if skip.left > 0 {
            self.settled.add(row);
            skip.left -= 1;
        }
        skip.left > 0 || self.settled.hash() == skip.place.hash
    }

    /// The place that was gone to, once all rows before it were passed over.
    fn skipped(&mut self) -> Option<RowsPlace> {
        let source = self.source.as_mut()?;
        source.skip.take_if(|skip| skip.left == 0).map(|skip| skip.place)
    }
}

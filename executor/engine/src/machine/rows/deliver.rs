//! What comes for a pass with rows: its beginning, an answer to one of its rows, or the next piece of its body.

use std::collections::BTreeMap;

use orchid_plan::ScopeName;

use super::{OpenBody, Pass, Progress, SettledRows, Skip, Source};
use crate::body::Body;
use crate::machine::answer::{Answer, Event};
use crate::machine::context::Changes;
use crate::machine::cx::Cx;
use crate::machine::emit::{Made, Sheet};
use crate::machine::env::Env;
use crate::machine::flight::Flight;
use crate::machine::flow::Flow;
use crate::machine::halt::Halt;
use crate::machine::outcome::{TryFault, Verdict};
use crate::machine::step_run::{Doing, Sent, StepRun};
use crate::message::body::BodyKind;

impl StepRun {
    /// Begins with the rows of an answer; without rows and sub-steps the pass is done at once.
    pub(in crate::machine) fn take_rows(
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
                pieces: try_id.map(OpenBody::new),
                skip: None,
                ended: false,
                exhausted: false,
            }),
            flight: Flight::after(0),
            writes: Changes::new(),
            cursors: Vec::new(),
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
    pub(in crate::machine) fn go_on_with_rows(
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
                if let (Some(pieces), Ok(piece)) = (&mut source.pieces, &piece) {
                    pieces.take(piece.as_deref().unwrap_or_default());
                }
                match piece {
                    Ok(Some(bytes)) => {
                        cx.run.progress.counts.bytes += bytes.len() as u64;
                        source.rows.feed(&bytes);
                    }
                    Ok(None) => {
                        cx.run.try_ended(try_id);
                        source.ended = true;
                        source.rows.finish();
                    }
                    Err(error) => {
                        cx.run.try_ended(try_id);
                        let fault = TryFault::Fetch(error.kind);
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
    pub(super) fn run_rows(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        mut pass: Box<Pass>,
    ) -> Result<Flow, Halt> {
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
    pub(super) fn broken(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        mut pass: Box<Pass>,
        fault: TryFault,
        words: String,
    ) -> Result<Flow, Halt> {
        let retries_left = self.retry < self.step().retry.max_retries;
        if let Some(pieces) = pass.source.as_ref().and_then(|source| source.pieces.as_ref()) {
            pass.answer.body = Body::Text(String::from_utf8_lossy(&pieces.head).into_owned());
        }
        pass.answer.broken_by(fault, words, retries_left);
        let decision = self.decide(cx, env, &mut pass.sent, &pass.answer)?;
        if matches!(decision.verdict, Verdict::Fail | Verdict::Abort(_)) {
            // Nobody asks for the rows before the break again.
            self.take_ended(cx, env, &mut pass)?;
            let settled = pass.sheet.leave_all(cx, &self.node);
            self.settle(cx, env, &mut pass, settled);
        }
        self.rows_done = pass.place(true).unwrap_or_default();
        let Pass { sent, answer, .. } = *pass;
        self.obey(cx, env, sent, answer, decision)
    }
}

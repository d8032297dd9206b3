//! What comes for a pass with rows: its beginning, an answer to one of its rows, or the next piece of its body.

use std::collections::BTreeMap;

use orchid_plan::ScopeName;

use super::{OpenBody, PageProgress, PageRows, PageRun, SettledPrefix, SkippedPrefix};
use crate::body::Body;
use crate::message::body::BodyKind;
use crate::page::in_flight::InFlightWindow;
use crate::page::writer::{Made, PageWriter};
use crate::rules::outcome::{TryFailure, TryVerdict};
use crate::state::context::ContextChanges;
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::exit::StepExit;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::execution::{InFlightTry, StepExecution, StepPhase};
use crate::step::response::TryResponse;

impl StepExecution {
    /// Begins with the rows of an answer; without rows and sub-steps the pass is done at once.
    pub(crate) fn take_rows(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut sent: InFlightTry,
        mut answer: TryResponse,
    ) -> Result<StepStatus, StepExit> {
        let written = self.set_context(cx, env, &sent, &answer)?;
        if let Some((context, _)) = &written {
            sent.scope.set(ScopeName::Context, context.object().clone());
        }
        let extracted = self.extract(cx, env, &sent, &answer)?;
        let source = self.source(cx, env, &sent, &mut answer)?;
        let place = self.rows_done.take();
        let kind = if self.step().rows.is_some() { BodyKind::Rows } else { BodyKind::Array };
        let mut pass = PageRun {
            sheet: PageWriter::new(
                cx.run,
                &self.node,
                self.location(env),
                Made { sent: &sent, answer: &answer, extracted: extracted.clone() },
                kind,
                0,
            ),
            sent,
            answer,
            written,
            extracted,
            source: source.map(|(rows, try_id)| PageRows {
                rows,
                pieces: try_id.map(OpenBody::new),
                skip: None,
                ended: false,
                exhausted: false,
            }),
            flight: InFlightWindow::after(0),
            writes: ContextChanges::new(),
            cursors: Vec::new(),
            settled: SettledPrefix::none(),
            resumed: BTreeMap::new(),
            steps: Vec::new(),
            rows: 0,
        };
        match (place, &mut pass.source) {
            (Some(place), Some(source)) if place.done > 0 => {
                source.skip = Some(SkippedPrefix { left: place.done, place });
            }
            (Some(place), Some(_)) => self.resume_rows(cx, env, &mut pass, place),
            (Some(place), None) => pass.resumed = place.in_flight,
            (None, _) => {}
        }
        self.run_rows(cx, env, Box::new(pass))
    }

    /// Takes what came for a row, or the next piece of the body.
    pub(crate) fn go_on_with_rows(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut pass: Box<PageRun>,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        if let Some((number, rest)) = route.split_first() {
            let Some(mut row) = pass.flight.take(*number) else {
                let flow = pass.flight.flow();
                self.doing = StepPhase::Page(pass);
                return Ok(flow);
            };
            let flow = cx.at(*number, |cx| row.sequence.deliver(cx, rest, event));
            if let Err(halt) = self.row_came_to(cx, &mut pass, *number, row, flow) {
                self.doing = StepPhase::Page(pass);
                return Err(halt);
            }
            return self.run_rows(cx, env, pass);
        }
        let open = pass.open_try();
        match (event, pass.source.as_mut()) {
            (StepEvent::BodyPiece { try_id, piece, duration }, Some(source)) if open == Some(try_id) => {
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
                        let fault = TryFailure::Fetch(error.kind);
                        pass.answer.facts.duration_ms = u64::try_from(duration.as_millis()).ok();
                        return self.broken(cx, env, pass, fault, error.message);
                    }
                }
                self.run_rows(cx, env, pass)
            }
            _ => {
                let flow = pass.flight.flow();
                self.doing = StepPhase::Page(pass);
                Ok(flow)
            }
        }
    }

    /// Goes as far as possible, and says what for the pass waits.
    pub(crate) fn run_rows(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut pass: Box<PageRun>,
    ) -> Result<StepStatus, StepExit> {
        match self.advance(cx, env, &mut pass) {
            Ok(PageProgress::Waits(flow)) => {
                self.doing = StepPhase::Page(pass);
                Ok(flow)
            }
            Ok(PageProgress::Done) => self.finish_pass(cx, env, pass),
            Ok(PageProgress::Changed) => {
                let taken = pass.settled_before();
                self.gathered.truncate(self.gathered.len().saturating_sub(taken));
                if let Some(try_id) = pass.open_try() {
                    cx.discard(try_id);
                    return self.send(cx, env);
                }
                let PageRun { sent, answer, .. } = *pass;
                self.take_rows(cx, env, sent, answer)
            }
            Ok(PageProgress::Broken(fault, words)) => {
                if let Some(try_id) = pass.open_try() {
                    cx.discard(try_id);
                }
                self.broken(cx, env, pass, fault, words)
            }
            Err(halt) => {
                self.doing = StepPhase::Page(pass);
                Err(halt)
            }
        }
    }

    /// The body broke off while its rows were taken: judged like any other try, and gone on with after the last row that is
    /// settled.
    pub(crate) fn broken(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut pass: Box<PageRun>,
        fault: TryFailure,
        words: String,
    ) -> Result<StepStatus, StepExit> {
        let retries_left = self.retry < self.step().retry.max_retries;
        if let Some(pieces) = pass.source.as_ref().and_then(|source| source.pieces.as_ref()) {
            pass.answer.body = Body::Text(String::from_utf8_lossy(&pieces.head).into_owned());
        }
        pass.answer.broken_by(fault, words, retries_left);
        let decision = self.decide(cx, env, &mut pass.sent, &pass.answer)?;
        if matches!(decision.verdict, TryVerdict::Fail | TryVerdict::Abort(_)) {
            // Nobody asks for the rows before the break again.
            self.take_ended(cx, env, &mut pass)?;
            let settled = pass.sheet.leave_all(cx, &self.node);
            self.settle(cx, env, &mut pass, settled);
        }
        self.rows_done = pass.place(true).unwrap_or_default();
        let PageRun { sent, answer, .. } = *pass;
        self.obey(cx, env, sent, answer, decision)
    }
}

//! Evaluates a step's expressions on one response.

use std::time::Duration;

use bytes::Bytes;
use orchid_plan::{Cursor as CursorRules, Expr, Value};

use crate::body::{Body, RowPath, RowReader};
use crate::error::ErrorClass;
use crate::page::exchange::PageExchange;
use crate::rules::asked_wait;
use crate::rules::outcome::{self, TryDecision};
use crate::rules::retry;
use crate::state::context::{self, Context, ContextChanges, ContextField};
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::StepExit;
use crate::state::path_check::escaped;
use crate::state::step_env::StepEnv;
use crate::step::exact_json;
use crate::step::position::LoopPosition;
use crate::step::response;

/// A response, with everything around it that expressions read and errors report.
pub(crate) struct ResponseEvaluator<'a> {
    pub(crate) run: &'a ExecutionState,
    pub(crate) env: &'a StepEnv,
    pub(crate) position: &'a LoopPosition,
    pub(crate) exchange: &'a PageExchange,
}

impl ResponseEvaluator<'_> {
    /// Evaluates an expression. `pointer` locates it in the plan document.
    ///
    /// # Errors
    /// Fails if the expression fails.
    pub(crate) fn eval(&self, expr: &Expr, pointer: impl Fn() -> String) -> Result<Value, StepExit> {
        let sent = &self.exchange.sent;
        expr.eval(&sent.scope, &sent.env)
            .map_err(|error| self.error(ErrorDetail::expression(pointer(), &error)))
    }

    /// Creates an error about the response.
    pub(crate) fn error(&self, detail: ErrorDetail) -> StepExit {
        self.exchange.error(&self.run.redactor, self.position.location(self.env), detail).into()
    }

    /// Evaluates `set_context`; returns the context afterwards and the changes, or `None` if the
    /// step writes nothing.
    ///
    /// # Errors
    /// Fails if an expression fails, or the context would become too large.
    pub(crate) fn context_writes(&self) -> Result<Option<(Context, ContextChanges)>, StepExit> {
        let rules = self.position.step();
        if rules.set_context.is_empty() {
            return Ok(None);
        }
        let pointer = |name: &str| format!("{}/set_context/{}", rules.pointer, escaped(name));
        let mut writes = Vec::with_capacity(rules.set_context.len());
        for (name, expr) in &rules.set_context {
            let value = self.eval(expr, || pointer(name))?;
            let json = exact_json::json(expr, &value, &self.exchange.response.body, self.env);
            writes.push((name.clone(), ContextField { value, json }));
        }
        // All writes are checked together, since the limit holds for the whole context.
        let written = self.env.context.with(writes);
        let written =
            written.map_err(|error| self.error(ErrorDetail::context(pointer(error.field()), &error)))?;
        Ok(Some(written))
    }

    /// Adds the context writes of a page's rows to its own.
    ///
    /// # Errors
    /// Fails if the context would become too large.
    pub(crate) fn merge_row_writes(
        &self,
        own: Option<(Context, ContextChanges)>,
        mut of_rows: ContextChanges,
    ) -> Result<Option<(Context, ContextChanges)>, StepExit> {
        if of_rows.is_empty() {
            return Ok(own);
        }
        let mut all = own.map(|(_, changes)| changes).unwrap_or_default();
        context::append(&mut all, &mut of_rows);
        let written = self.env.context.with_changes(all).map_err(|error| {
            let step = &self.position.step().pointer;
            let pointer = format!("{step}/set_context/{}", escaped(error.field()));
            self.error(ErrorDetail::context(pointer, &error))
        })?;
        Ok(Some(written))
    }

    /// Evaluates `extract`; returns the message's `extracted_data` as JSON, null if the step
    /// extracts nothing.
    ///
    /// # Errors
    /// Fails if an expression fails.
    pub(crate) fn extracted_data(&self) -> Result<Vec<u8>, StepExit> {
        let rules = self.position.step();
        if rules.extract.is_empty() {
            return Ok(b"null".to_vec());
        }
        let mut object = Vec::new();
        for (name, expr) in &rules.extract {
            let value = self.eval(expr, || format!("{}/extract/{}", rules.pointer, escaped(name)))?;
            // Written by hand, because the values are JSON text already and keep their digits.
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend(Value::from(name.as_str()).to_json());
            object.push(b':');
            object.extend_from_slice(&exact_json::json(expr, &value, &self.exchange.response.body, self.env));
        }
        object.push(b'}');
        Ok(object)
    }

    /// Evaluates the value of `cursor`; returns it with its exact JSON.
    ///
    /// # Errors
    /// Fails if the expression fails.
    pub(crate) fn cursor_value(&self, cursor: &CursorRules) -> Result<(Value, Bytes), StepExit> {
        let value = self.eval(&cursor.value, || format!("{}/value", cursor.pointer))?;
        let json = exact_json::json(&cursor.value, &value, &self.exchange.response.body, self.env);
        Ok((value, json))
    }

    /// Applies the outcome table to the response.
    ///
    /// # Errors
    /// Fails if a condition of the table fails.
    pub(crate) fn decide(&self) -> Result<TryDecision, StepExit> {
        let (rules, sent) = (self.position.step(), &self.exchange.sent);
        let mut condition = |field: &'static str, expr: &Expr| {
            expr.is_true(&sent.scope, &sent.env)
                .map_err(|error| ErrorDetail::expression(format!("{}/{field}", rules.pointer), &error))
        };
        outcome::decide(&rules.outcome, &rules.retry, &self.exchange.response.tried, &mut condition)
            .map_err(|detail| self.error(detail))
    }

    /// Returns the wait before a retry that the response asks for. `retry.wait` comes first; the
    /// upstream knows better than the backoff, so neither `max_delay` nor jitter apply.
    ///
    /// # Errors
    /// Fails if the expression fails, its value is no wait, or the wait is longer than the server
    /// permits.
    pub(crate) fn asked_wait(&self) -> Result<Option<Duration>, StepExit> {
        let (step, response) = (self.position.step(), &self.exchange.response);
        let pointer = || format!("{}/retry/wait", step.pointer);
        let by_plan = match &step.retry.wait {
            Some(expr) if response.tried.can_answer(expr) => {
                let value = self.eval(expr, pointer)?;
                asked_wait::of_value(&value, self.exchange.sent.env.now()).map_err(|problem| {
                    let message =
                        format!("retry.wait must be seconds or a time, but {problem}: {:?}", expr.text());
                    let (class, code) = (ErrorClass::Config, "EXPRESSION");
                    self.error(ErrorDetail { class, code, pointer: pointer(), message })
                })?
            }
            Some(_) | None => None,
        };
        let Some(asked) = by_plan.or_else(|| response.asked_wait.clone()) else { return Ok(None) };
        let checked = retry::check(asked, self.run.limits.max_wait);
        checked.map(Some).map_err(|error| self.error(error.detail(&step.pointer)))
    }

    /// Finds the rows of the response; `None` if the step has no `iterate_over`.
    ///
    /// # Errors
    /// Fails if the expression fails, or its value is not a list.
    pub(crate) fn rows(&self) -> Result<Option<RowReader>, StepExit> {
        let step = self.position.step();
        let Some(rows) = &step.rows else { return Ok(None) };
        let pointer = || format!("{}/iterate_over", step.pointer);
        let response = &self.exchange.response;
        let found = match (&rows.plain, &response.body) {
            // A plain path is followed in the text, so that the rows keep the bytes that were
            // received.
            (Some(_), Body::Json { text, .. }) => RowReader::from_json(text, &RowPath::of(Some(rows))),
            (Some(_), _) if response.partial.is_some() => {
                response::partial_rows(&self.position.node, response)
                    .and_then(|rows| rows.map_or_else(|| RowReader::from_list(Value::null()), Ok))
            }
            _ => RowReader::from_list(self.eval(&rows.expr, pointer)?),
        };
        found.map(Some).map_err(|error| {
            let message = format!("{error}: iterate_over {:?}", rows.expr.text());
            let (class, code) = (ErrorClass::Config, "EXPRESSION");
            self.error(ErrorDetail { class, code, pointer: pointer(), message })
        })
    }
}

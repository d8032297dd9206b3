//! The slices of a `window`: half-open, in order, and the same after a resume.

use chrono::{DateTime, Utc};
use orchid_plan::{EvalEnv, EvalError, Expr, Scope, ScopeName, SliceLength, TimeWindow, Value};

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::loop_parts::WindowState;
use crate::error::ErrorClass;
use crate::state::error_detail::ErrorDetail;
use crate::state::step_env::window_value;

/// The current slice of a loop, and the whole range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowSlices {
    /// Start of the slice.
    from: DateTime<Utc>,
    /// Start of the range.
    start: DateTime<Utc>,
    /// End of the range.
    to: DateTime<Utc>,
    /// Number of the slice, from 0: ends of slices are counted from the start of the range.
    index: u64,
}

impl WindowSlices {
    /// Returns the first slice; `None` if the range is empty. The ends are evaluated once per
    /// execution, since `to` may be `now()`.
    ///
    /// # Errors
    /// Fails if an end is not a time.
    pub(crate) fn begin(
        window: &TimeWindow,
        scope: &Scope,
        env: &EvalEnv,
    ) -> Result<Option<WindowSlices>, ErrorDetail> {
        let cursor = || scope.get(ScopeName::Cursor).cloned().unwrap_or_else(Value::null);
        // Without an end, the window ends where the execution started: data that arrives meanwhile
        // belongs to the next execution.
        let started =
            || scope.get(ScopeName::Meta).map_or_else(Value::null, |meta| meta.member("started_at"));
        let from = end(window, "from", window.from.as_ref(), cursor, scope, env)?;
        let to = end(window, "to", window.to.as_ref(), started, scope, env)?;
        Ok((from < to).then(|| WindowSlices { from, start: from, to, index: 0 }.not_empty(window)))
    }

    /// Returns the slice after this one; `None` after the last.
    pub(crate) fn next(self, window: &TimeWindow) -> Option<WindowSlices> {
        let from = self.end(window);
        let next = match window.step {
            // The same ends follow from any slice: the checkpoint needs nothing else.
            SliceLength::Exact(_) => Self { from, start: from, index: 0, ..self },
            SliceLength::Days(_) | SliceLength::Months(_) => Self { from, index: self.index + 1, ..self },
        };
        (from < self.to).then(|| next.not_empty(window))
    }

    /// Skips slices without length: days that a timezone has never had, at the date line.
    fn not_empty(mut self, window: &TimeWindow) -> Self {
        while self.end(window) <= self.from {
            self.index += 1;
        }
        self
    }

    fn end(self, window: &TimeWindow) -> DateTime<Utc> {
        window.slice_end(self.index, self.start, self.to)
    }

    /// Returns the variable `window`: `{from, to}` of the slice.
    pub(crate) fn value(self, window: &TimeWindow) -> Value {
        window_value(window, self.from, self.end(window))
    }

    /// Returns the parameters that the window adds to each request.
    pub(crate) fn params(self, window: &TimeWindow) -> Vec<(String, String)> {
        let [from, to] = window.spell_ends(self.from, self.end(window));
        [(&window.from_param, from), (&window.to_param, to)]
            .into_iter()
            .filter_map(|(name, end)| Some((name.clone()?, end.to_text()?)))
            .collect()
    }

    pub(crate) fn state(self) -> WindowState {
        let (from_ms, start_ms) = (self.from.timestamp_millis(), self.start.timestamp_millis());
        WindowState {
            from_ms,
            to_ms: self.to.timestamp_millis(),
            start_ms: Some(start_ms).filter(|start| *start != from_ms),
            index: self.index,
        }
    }

    pub(crate) fn resume(state: WindowState) -> Result<WindowSlices, CheckpointError> {
        let time = |ms| {
            DateTime::from_timestamp_millis(ms)
                .ok_or_else(|| CheckpointError::Json("an end of its window is no time".to_owned()))
        };
        Ok(WindowSlices {
            from: time(state.from_ms)?,
            start: time(state.start_ms.unwrap_or(state.from_ms))?,
            to: time(state.to_ms)?,
            index: state.index,
        })
    }
}

/// Evaluates one end of the range. It is cut to milliseconds, the precision of checkpoints: after a
/// resume, the same range is requested.
fn end(
    window: &TimeWindow,
    name: &str,
    expr: Option<&Expr>,
    default: impl FnOnce() -> Value,
    scope: &Scope,
    env: &EvalEnv,
) -> Result<DateTime<Utc>, ErrorDetail> {
    let pointer = format!("{}/{name}", window.pointer);
    let value = match expr {
        Some(expr) => expr
            .eval(scope, env)
            .map_err(|error: EvalError| ErrorDetail::expression(pointer.clone(), &error))?,
        None => default(),
    };
    let bad = |reason: String| ErrorDetail {
        class: ErrorClass::Config,
        code: "WINDOW",
        pointer: pointer.clone(),
        message: format!("window.{name} names no time: {reason}"),
    };
    let time = window.bound(&value).map_err(bad)?;
    DateTime::from_timestamp_millis(time.timestamp_millis()).ok_or_else(|| bad("out of range".to_owned()))
}

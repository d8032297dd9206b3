//! The slices of a `window`: half-open, in order, and the same after a resume.

use chrono::{DateTime, Utc};
use orchid_plan::{EvalEnv, EvalError, Expr, Scope, ScopeName, TimeWindow, Value};

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::loop_parts::WindowState;
use crate::error::ErrorClass;
use crate::state::error_detail::ErrorDetail;
use crate::state::step_env::window_value;

/// The current slice of a loop: its start, and the end of the whole range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowSlices {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
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
        Ok((from < to).then_some(WindowSlices { from, to }))
    }

    /// Returns the slice after this one; `None` after the last.
    pub(crate) fn next(self, window: &TimeWindow) -> Option<WindowSlices> {
        let from = self.end(window);
        (from < self.to).then_some(WindowSlices { from, to: self.to })
    }

    fn end(self, window: &TimeWindow) -> DateTime<Utc> {
        // The sum overflows only near the end of the calendar: then the slice ends with the range.
        self.from.checked_add_signed(window.step).map_or(self.to, |end| end.min(self.to))
    }

    /// Returns the variable `window`: `{from, to}` of the slice.
    pub(crate) fn value(self, window: &TimeWindow) -> Value {
        window_value(window, self.from, self.end(window))
    }

    /// Returns the parameters that the window adds to each request.
    pub(crate) fn params(self, window: &TimeWindow) -> Vec<(String, String)> {
        let ends = [(&window.from_param, self.from), (&window.to_param, self.end(window))];
        ends.into_iter()
            .filter_map(|(name, time)| Some((name.clone()?, window.format.spell(time).to_text()?)))
            .collect()
    }

    pub(crate) fn state(self) -> WindowState {
        WindowState { from_ms: self.from.timestamp_millis(), to_ms: self.to.timestamp_millis() }
    }

    pub(crate) fn resume(state: WindowState) -> Result<WindowSlices, CheckpointError> {
        let time = |ms| {
            DateTime::from_timestamp_millis(ms)
                .ok_or_else(|| CheckpointError::Json("an end of its window is no time".to_owned()))
        };
        Ok(WindowSlices { from: time(state.from_ms)?, to: time(state.to_ms)? })
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

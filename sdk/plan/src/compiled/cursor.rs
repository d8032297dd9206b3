//! `cursor`: up to where a step has read, kept from run to run.

use chrono::TimeDelta;

use crate::template::JsonTemplate;
use crate::{EvalEnv, Expr, RenderError, Scope, Value};

/// What was read up to. It never moves backwards.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Asked after each pass; null leaves the cursor as it is.
    pub value: Expr,
    /// How two values are compared.
    pub kind: CursorKind,
    /// What a first run begins with; see [`Cursor::start`].
    pub(crate) start: Option<JsonTemplate>,
    /// How far before the stored value a run begins.
    pub lookback: Option<Lookback>,
    /// The parameter that carries it.
    pub param: Option<String>,
    /// The API answers oldest first: saved with every page or slice, not only when the loop has ended.
    pub ordered: bool,
    /// One cursor for each value of this, not one for the step.
    pub per_item: Option<Expr>,
    /// Pointer of the object: `/definition/step/cursor`.
    pub pointer: String,
}

/// `cursor.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorKind {
    /// RFC 3339.
    Timestamp,
    /// Seconds of the epoch.
    EpochSeconds,
    /// Milliseconds of the epoch.
    EpochMillis,
    /// Integers and decimals, exactly.
    Number,
    /// By code points.
    Text,
}

/// How far before the stored value a run begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookback {
    /// Of a time.
    Time(TimeDelta),
    /// Of a number; as it stands in the plan.
    Number(serde_json::Number),
}

impl Cursor {
    /// What a first run begins with; null where the plan names nothing.
    ///
    /// # Errors
    /// Where the template cannot be rendered.
    pub fn start(&self, scope: &Scope, env: &EvalEnv) -> Result<Value, RenderError> {
        self.start.as_ref().map_or_else(|| Ok(Value::null()), |start| start.render(scope, env))
    }

    /// The stored value less the lookback, spelled as the stored one is.
    ///
    /// # Errors
    /// In words, where the value is none of the cursor's type.
    pub fn less_lookback(&self, stored: &Value) -> Result<Value, String> {
        Ok(stored.clone())
    }

    /// Whether `value` is later than `stored`. Only then is it kept: a cursor never moves backwards.
    ///
    /// # Errors
    /// In words, where either is none of the cursor's type.
    pub fn is_later(&self, _value: &Value, _stored: &Value) -> Result<bool, String> {
        Err("not served yet".to_owned())
    }
}

//! The watermark of a step's `cursor`: the value from which it reads, and the furthest value it has
//! read. It never goes back.

use bytes::Bytes;
use orchid_common::limits::{CURSOR_KEY_MAX_BYTES, CURSOR_MAX_BYTES};
use orchid_plan::{Cursor, EvalEnv, Scope, Value};

use crate::attempt::{CursorKey, CursorKind};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{decode_value, encode_value};
use crate::checkpoint::loop_parts::WatermarkState;
use crate::error::ErrorClass;
use crate::output::CursorChange;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;

/// The cursor of one instance of a step: a step with `per_item` has one for each item.
#[derive(Clone)]
pub(crate) struct Watermark {
    key: CursorKey,
    /// The value that expressions see: the stored value less the lookback, or the plan's `start`.
    start: Value,
    /// The furthest value of this execution, with its exact JSON.
    furthest: Option<(Value, Bytes)>,
}

impl Watermark {
    /// Returns the watermark with which the step starts.
    ///
    /// # Errors
    /// Fails if an expression fails, or its value or the stored one is not valid for the cursor.
    pub(crate) fn begin(
        run: &mut ExecutionState,
        step: &str,
        cursor: &Cursor,
        scope: &Scope,
        env: &EvalEnv,
    ) -> Result<Self, ErrorDetail> {
        let item = match &cursor.per_item {
            None => String::new(),
            Some(expr) => {
                let pointer = || format!("{}/per_item", cursor.pointer);
                let value =
                    expr.eval(scope, env).map_err(|error| ErrorDetail::expression(pointer(), &error))?;
                // Step id and item name share one bound, because they form one key.
                let max = CURSOR_KEY_MAX_BYTES - step.len().min(CURSOR_KEY_MAX_BYTES);
                value.to_text().filter(|text| !text.is_empty() && text.len() <= max).ok_or_else(|| {
                    let kind = value.json_type();
                    invalid(
                        pointer(),
                        format!("the item's name is a {kind} that makes no text of 1 to {max} bytes"),
                    )
                })?
            }
        };
        let key = CursorKey { kind: CursorKind::Cursor, step: step.to_owned(), item };
        // All instances start from the same value, even if one of them has saved a newer one in the
        // meantime.
        let start = match run.began.get(step).filter(|_| cursor.per_item.is_none()) {
            Some(json) => {
                Value::parse(json).map_err(|error| invalid(cursor.pointer.clone(), error.to_string()))?
            }
            None => initial_value(run, &key, cursor, scope, env)?,
        };
        // A checkpoint has one start value for each step. Items are too many for that.
        if cursor.per_item.is_none() {
            run.began.entry(step.to_owned()).or_insert_with(|| start.to_json().into());
        }
        Ok(Self { key, start, furthest: None })
    }

    /// Returns the key under which the value is stored.
    pub(crate) fn key(&self) -> &CursorKey {
        &self.key
    }

    /// Returns the value that expressions see.
    pub(crate) fn start(&self) -> &Value {
        &self.start
    }

    /// Takes the value of a page. Null, or a value that is not later, changes nothing.
    ///
    /// # Errors
    /// Fails if the value is not of the cursor's type, or too large.
    pub(crate) fn advance(
        &mut self,
        run: &ExecutionState,
        cursor: &Cursor,
        value: Value,
        json: Bytes,
    ) -> Result<(), ErrorDetail> {
        if value.is_null() {
            return Ok(());
        }
        let pointer = || format!("{}/value", cursor.pointer);
        let stored = match &self.furthest {
            Some((furthest, _)) => Some(furthest.clone()),
            None => parse_stored(run.cursors.now(&self.key), cursor)?,
        };
        // Compared with itself, the first value is still checked for the cursor's type.
        let other = stored.as_ref().unwrap_or(&value);
        let later = cursor.is_later(&value, other).map_err(|message| invalid(pointer(), message))?;
        if later || stored.is_none() {
            // Refused here, where the error names the step; the control plane would refuse the
            // whole checkpoint.
            if json.len() > CURSOR_MAX_BYTES {
                let message = format!("the value is {} bytes, more than {CURSOR_MAX_BYTES}", json.len());
                let class = ErrorClass::Limit;
                return Err(ErrorDetail { class, code: "CURSOR_TOO_LARGE", pointer: pointer(), message });
            }
            self.furthest = Some((value, json));
        }
        Ok(())
    }

    /// Returns the furthest value to save, once.
    pub(crate) fn settle(&mut self) -> Option<CursorChange> {
        let (_, json) = self.furthest.take()?;
        Some(CursorChange { key: self.key.clone(), json })
    }

    pub(crate) fn state(&self) -> Result<WatermarkState, CheckpointError> {
        Ok(WatermarkState {
            item: self.key.item.clone(),
            start: encode_value(&self.start)?,
            furthest: self
                .furthest
                .as_ref()
                .map(|(_, json)| crate::checkpoint::json::raw_json(json))
                .transpose()?,
        })
    }

    pub(crate) fn resume(step: &str, state: WatermarkState) -> Result<Self, CheckpointError> {
        let furthest = state.furthest.map(|json| {
            Ok::<_, CheckpointError>((decode_value(&json)?, Bytes::copy_from_slice(json.get().as_bytes())))
        });
        Ok(Self {
            key: CursorKey { kind: CursorKind::Cursor, step: step.to_owned(), item: state.item },
            start: decode_value(&state.start)?,
            furthest: furthest.transpose()?,
        })
    }
}

fn initial_value(
    run: &ExecutionState,
    key: &CursorKey,
    cursor: &Cursor,
    scope: &Scope,
    env: &EvalEnv,
) -> Result<Value, ErrorDetail> {
    match parse_stored(run.cursors.began(key), cursor)? {
        Some(value) => {
            cursor.less_lookback(&value).map_err(|message| invalid(cursor.pointer.clone(), message))
        }
        None => cursor.start(scope, env).map_err(ErrorDetail::rendering),
    }
}

fn parse_stored(stored: Option<&Bytes>, cursor: &Cursor) -> Result<Option<Value>, ErrorDetail> {
    let Some(json) = stored else { return Ok(None) };
    let value = Value::parse(json).map_err(|error| {
        invalid(cursor.pointer.clone(), format!("the stored cursor does not read: {error}"))
    })?;
    Ok(Some(value))
}

fn invalid(pointer: String, message: String) -> ErrorDetail {
    ErrorDetail { class: ErrorClass::Config, code: "CURSOR", pointer, message }
}

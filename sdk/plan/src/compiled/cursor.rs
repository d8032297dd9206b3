//! `cursor`: how far a step has read, kept from one execution to the next.
//!
//! Values are compared by their type and kept exactly as the upstream spelled them, because an API
//! may accept a timestamp or a number only in its own spelling.

use std::cmp::Ordering;

use chrono::TimeDelta;

use crate::decimal::Decimal;
use crate::template::JsonTemplate;
use crate::timestamp::Timestamp;
use crate::value::JsonType;
use crate::{EvalEnv, Expr, RenderError, RenderErrorCode, Scope, Value};

/// A step's cursor. It never moves backwards.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// New value, evaluated after each page. Null leaves the cursor unchanged.
    pub value: Expr,
    /// Type of the values; it defines their order.
    pub kind: CursorKind,
    /// Value of the first execution; see [`Cursor::start`].
    pub(crate) start: Option<JsonTemplate>,
    /// Distance before the stored value at which an execution starts.
    pub lookback: Option<CursorLookback>,
    /// Name of the parameter with the cursor.
    pub param: Option<String>,
    /// Whether the API returns the oldest rows first. The cursor is then saved with every page or
    /// slice, and not only when the loop has ended.
    pub ordered: bool,
    /// Expression that separates cursors: one is kept for each of its values.
    pub per_item: Option<Expr>,
    /// JSON pointer of the object: `/definition/step/cursor`.
    pub pointer: String,
}

/// `cursor.type`. Numbers may be JSON numbers or text; either is kept as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorKind {
    /// RFC 3339. A space instead of `T`, an offset `+hhmm`, a missing zone (UTC) and a date alone
    /// are allowed.
    Timestamp,
    /// Seconds since the epoch.
    EpochSeconds,
    /// Milliseconds since the epoch.
    EpochMillis,
    /// Integers and decimals of up to 36 digits, compared exactly.
    Number,
    /// Text, ordered by code points.
    Text,
}

/// Distance before the stored value at which an execution starts.
#[derive(Clone, Debug, PartialEq)]
pub enum CursorLookback {
    /// Distance in time, in whole seconds.
    Time(TimeDelta),
    /// Distance between numbers, as written in the plan.
    Number(serde_json::Number),
}

impl Cursor {
    /// Returns the value that the first execution starts with. It is null if the plan has no
    /// `start`, or if its template renders to null.
    ///
    /// # Errors
    /// Fails if the template cannot be rendered, or renders to a value of another type.
    pub fn start(&self, scope: &Scope, env: &EvalEnv) -> Result<Value, RenderError> {
        let Some(start) = &self.start else { return Ok(Value::null()) };
        let value = start.render(scope, env)?;
        if !value.is_null() {
            self.kind.check(&value).map_err(|words| {
                RenderError::new(RenderErrorCode::TemplateType, &format!("{}/start", self.pointer), words)
            })?;
        }
        Ok(value)
    }

    /// Returns the stored value minus the lookback. It is spelled like the stored value: with the
    /// same zone and digits of a timestamp, and as a number or as text.
    ///
    /// # Errors
    /// Fails with an explanation if the value has another type, or if the result cannot be
    /// represented.
    pub fn less_lookback(&self, stored: &Value) -> Result<Value, String> {
        let too_far = || "nothing lies so far before the stored cursor".to_owned();
        match (&self.lookback, self.kind) {
            (None, _) | (Some(_), CursorKind::Text) => self.kind.check(stored).map(|()| stored.clone()),
            (Some(CursorLookback::Time(by)), CursorKind::Timestamp) => {
                let earlier = self.kind.stamp(stored)?.earlier(*by).ok_or_else(too_far)?;
                Ok(Value::from(earlier.to_string()))
            }
            (Some(lookback), kind) => {
                let by = match lookback {
                    CursorLookback::Time(by) if kind == CursorKind::EpochMillis => {
                        by.num_milliseconds().to_string()
                    }
                    CursorLookback::Time(by) => by.num_seconds().to_string(),
                    CursorLookback::Number(number) => number.to_string(),
                };
                let by = Decimal::parse(&by).ok_or_else(too_far)?;
                let earlier = kind.decimal(stored)?.checked_sub(by).ok_or_else(too_far)?;
                if stored.json_type() == JsonType::Text {
                    Ok(earlier.to_string().into())
                } else {
                    json(earlier)
                }
            }
        }
    }

    /// Returns whether `value` is later than `stored`. Only a later value may replace the stored
    /// one. Null is never later, and every other value is later than null.
    ///
    /// # Errors
    /// Fails with an explanation if one of them has another type.
    pub fn is_later(&self, value: &Value, stored: &Value) -> Result<bool, String> {
        if value.is_null() {
            return Ok(false);
        }
        self.kind.check(value)?;
        if stored.is_null() {
            return Ok(true);
        }
        Ok(self.kind.compare(value, stored)? == Ordering::Greater)
    }
}

impl CursorKind {
    /// Returns the name in plan documents.
    fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::EpochSeconds => "epoch_s",
            Self::EpochMillis => "epoch_ms",
            Self::Number => "number",
            Self::Text => "text",
        }
    }

    /// Checks that a value has this type. The explanation of an error never quotes the value, which
    /// may be confidential.
    pub(crate) fn check(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Timestamp => self.stamp(value).map(drop),
            Self::EpochSeconds | Self::EpochMillis | Self::Number => self.decimal(value).map(drop),
            Self::Text => self.text(value).map(drop),
        }
    }

    fn compare(self, a: &Value, b: &Value) -> Result<Ordering, String> {
        Ok(match self {
            Self::Timestamp => self.stamp(a)?.compare(&self.stamp(b)?),
            Self::EpochSeconds | Self::EpochMillis | Self::Number => {
                self.decimal(a)?.compare(self.decimal(b)?)
            }
            // UTF-8 bytes sort in the order of the code points.
            Self::Text => self.text(a)?.cmp(self.text(b)?),
        })
    }

    fn stamp(self, value: &Value) -> Result<Timestamp, String> {
        let text = value.as_str().ok_or_else(|| self.wrong(value))?;
        Timestamp::parse(text).ok_or_else(|| {
            "the cursor's type is timestamp, and the text is none, like 2026-01-15T10:30:00Z".to_owned()
        })
    }

    fn decimal(self, value: &Value) -> Result<Decimal, String> {
        let text = match value.json_type() {
            JsonType::Number | JsonType::Text => value.to_text(),
            _ => None,
        };
        let text = text.ok_or_else(|| self.wrong(value))?;
        Decimal::parse(&text).ok_or_else(|| {
            format!("the cursor's type is {}, and this is no number of up to 36 digits", self.name())
        })
    }

    fn text(self, value: &Value) -> Result<&str, String> {
        value.as_str().ok_or_else(|| self.wrong(value))
    }

    fn wrong(self, value: &Value) -> String {
        format!("the cursor's type is {}, and this is of type {}", self.name(), value.json_type())
    }
}

/// Converts a decimal to a JSON number with the same value.
fn json(number: Decimal) -> Result<Value, String> {
    Value::number(&number.to_string()).ok_or_else(|| "the cursor is no number".to_owned())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{ScopeName, ServerLimits, compile};

    fn cursor(fields: Json) -> Cursor {
        let mut cursor = json!({"value": "response.body.a"});
        for (name, value) in fields.as_object().unwrap() {
            cursor[name] = value.clone();
        }
        let definition = json!({"step": {"url": "https://api.example.com", "cursor": cursor}});
        let definition = compile(&definition, &ServerLimits::default())
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        definition.steps[0].cursor.clone().unwrap()
    }

    fn value(json: &str) -> Value {
        Value::parse(json.as_bytes()).unwrap()
    }

    fn json_of(value: &Value) -> String {
        String::from_utf8(value.to_json()).unwrap()
    }

    #[test]
    fn value_of_another_type_is_described() {
        for (kind, json, words) in [
            ("timestamp", "5", "the cursor's type is timestamp, and this is of type number"),
            (
                "timestamp",
                "\"soon\"",
                "the cursor's type is timestamp, and the text is none, like 2026-01-15T10:30:00Z",
            ),
            (
                "timestamp",
                "\"1768473000\"",
                "the cursor's type is timestamp, and the text is none, like 2026-01-15T10:30:00Z",
            ),
            ("epoch_s", "true", "the cursor's type is epoch_s, and this is of type boolean"),
            (
                "epoch_s",
                "\"2026-01-15\"",
                "the cursor's type is epoch_s, and this is no number of up to 36 digits",
            ),
            ("epoch_ms", "[1]", "the cursor's type is epoch_ms, and this is of type list"),
            ("number", "1e300", "the cursor's type is number, and this is no number of up to 36 digits"),
            ("number", "{}", "the cursor's type is number, and this is of type object"),
            ("text", "5", "the cursor's type is text, and this is of type number"),
        ] {
            let cursor = cursor(json!({"type": kind}));
            assert_eq!(cursor.is_later(&value(json), &Value::null()).unwrap_err(), words);
            assert_eq!(cursor.less_lookback(&value(json)).unwrap_err(), words);
        }
        let cursor = cursor(json!({"type": "number"}));
        assert!(cursor.is_later(&value("1"), &value("\"x\"")).is_err());
    }

    #[test]
    fn later_values_are_found_exactly_and_by_type() {
        for (kind, less, more) in [
            ("timestamp", "\"2026-01-15T12:00:00+02:00\"", "\"2026-01-15T10:00:00.000000000001Z\""),
            ("timestamp", "\"2026-01-15\"", "\"2026-01-15 00:00:01\""),
            ("epoch_s", "\"1700000000.123456\"", "\"1700000000.123457\""),
            ("epoch_s", "999999999", "\"1000000000\""),
            ("epoch_ms", "1768473000000", "1768473000001"),
            ("number", "9007199254740992", "9007199254740993"),
            ("number", "18446744073709551614", "18446744073709551615"),
            ("number", "\"9\"", "\"10\""),
            ("number", "-1", "-0.5"),
            ("number", "2", "2.5"),
            ("text", "\"10\"", "\"9\""),
            ("text", "\"\u{ffff}\"", "\"\u{10000}\""),
        ] {
            let cursor = cursor(json!({"type": kind}));
            let (less, more) = (value(less), value(more));
            assert_eq!(cursor.is_later(&more, &less), Ok(true), "{kind}");
            assert_eq!(cursor.is_later(&less, &more), Ok(false), "{kind}");
            assert_eq!(cursor.is_later(&less, &less), Ok(false), "{kind}");
            assert_eq!(cursor.is_later(&less, &Value::null()), Ok(true), "{kind}");
            assert_eq!(cursor.is_later(&Value::null(), &less), Ok(false), "{kind}");
        }
    }

    #[test]
    fn lookback_keeps_the_spelling() {
        for (kind, lookback, stored, expected) in [
            (
                "timestamp",
                json!("10m"),
                "\"2026-01-15T10:05:00.000+02:00\"",
                "\"2026-01-15T09:55:00.000+02:00\"",
            ),
            ("timestamp", json!("1d"), "\"2026-01-15\"", "\"2026-01-14\""),
            ("timestamp", json!("1h"), "\"2026-01-15\"", "\"2026-01-14\""),
            ("timestamp", json!("1w"), "\"2026-01-15 10:30:00\"", "\"2026-01-08 10:30:00\""),
            ("epoch_s", json!("10m"), "1768473000", "1768472400"),
            ("epoch_s", json!("10m"), "\"1700000000.123456\"", "\"1699999400.123456\""),
            ("epoch_s", json!("1s"), "1700000000.5", "1699999999.5"),
            ("epoch_ms", json!("1s"), "1768473000000", "1768472999000"),
            ("epoch_ms", json!("1s"), "\"1768473000000\"", "\"1768472999000\""),
            ("number", json!(1), "9007199254740993", "9007199254740992"),
            ("number", json!(1), "18446744073709551615", "18446744073709551614"),
            ("number", json!(0.5), "2", "1.5"),
            ("number", json!(10), "\"3\"", "\"-7\""),
            ("number", json!(10), "3", "-7"),
            ("number", json!(1), "123456789012345678901234567890", "123456789012345678901234567889"),
        ] {
            let cursor = cursor(json!({"type": kind, "lookback": lookback}));
            assert_eq!(json_of(&cursor.less_lookback(&value(stored)).unwrap()), expected, "{kind} {stored}");
        }
        for kind in ["timestamp", "text"] {
            let stored = value("\"2026-01-15T10:05:00Z\"");
            assert_eq!(cursor(json!({"type": kind})).less_lookback(&stored), Ok(stored.clone()));
        }
        let far = cursor(json!({"lookback": "36525w"}));
        assert!(
            far.less_lookback(&value("\"0001-01-01\"")).is_ok_and(|far| json_of(&far).starts_with("\"-"))
        );
    }

    #[test]
    fn start_is_rendered_and_checked() {
        let scope =
            Scope::new().with(ScopeName::Config, value(r#"{"since":"2026-01-01","id":7,"bad":"soon"}"#));
        let env = EvalEnv::new(DateTime::UNIX_EPOCH, 0);
        let start = |fields: Json| cursor(fields).start(&scope, &env).map(|value| json_of(&value));
        assert_eq!(start(json!({})).unwrap(), "null");
        assert_eq!(start(json!({"start": "2026-01-01T00:00:00Z"})).unwrap(), "\"2026-01-01T00:00:00Z\"");
        assert_eq!(start(json!({"start": "{{ config.since }}"})).unwrap(), "\"2026-01-01\"");
        assert_eq!(
            start(json!({"start": "{{ config.since }}T00:00:00Z"})).unwrap(),
            "\"2026-01-01T00:00:00Z\""
        );
        assert_eq!(start(json!({"start": "{{ config.none }}"})).unwrap(), "null");
        assert_eq!(start(json!({"type": "number", "start": 0})).unwrap(), "0");
        assert_eq!(start(json!({"type": "number", "start": "{{ config.id }}"})).unwrap(), "7");
        let error = start(json!({"start": "{{ config.bad }}"})).unwrap_err();
        assert_eq!(
            (error.code, error.pointer.as_str()),
            (RenderErrorCode::TemplateType, "/definition/step/cursor/start")
        );
    }

    proptest! {
        #[test]
        fn integer_lookback_is_exact(stored: u64, by in 1..u64::from(u32::MAX)) {
            let earlier = cursor(json!({"type": "number", "lookback": by})).less_lookback(&Value::from(stored)).unwrap();
            let expected = i128::from(stored) - i128::from(by);
            if i64::try_from(expected).is_ok() || u64::try_from(expected).is_ok() {
                prop_assert_eq!(json_of(&earlier), expected.to_string());
            }
        }
    }
}

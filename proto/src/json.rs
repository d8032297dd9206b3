//! Converts `google.protobuf.Struct`, which carries JSON written by people, to and from
//! `serde_json`.
//!
//! A Struct holds every number as a double. Whole numbers become integers (`5`, never `5.0`).
//! Integers of magnitude 2^53 or more, which a double may have rounded, are refused with their JSON
//! pointer.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Number, Value as Json};

/// Maximum nesting of objects and lists; deeper documents would exceed the decoder's recursion
/// limit.
pub const MAX_DEPTH: usize = 32;

const TOO_LARGE: f64 = 9_007_199_254_740_992.0;

/// A document that cannot be a Struct. Every variant knows the RFC 6901 pointer of the place.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// The document is not an object.
    #[error("the document must be an object, but is {kind}")]
    NotAnObject {
        /// Its actual type.
        kind: &'static str,
    },
    /// An integer that a double may not represent exactly.
    #[error("the integer {number} at {pointer} is 2^53 or more: write it as text")]
    IntegerTooLarge {
        /// Place of the number.
        pointer: String,
        /// The number, as written or as received.
        number: String,
    },
    /// Infinity or NaN, which JSON cannot represent.
    #[error("the number at {pointer} is not finite")]
    NotFinite {
        /// Place of the number.
        pointer: String,
    },
    /// The document is nested too deeply.
    #[error("the value at {pointer} is nested deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// Place of the first level beyond the limit.
        pointer: String,
    },
}

impl JsonError {
    /// Returns the RFC 6901 pointer to the place; empty for the document itself.
    pub fn pointer(&self) -> &str {
        match self {
            Self::NotAnObject { .. } => "",
            Self::IntegerTooLarge { pointer, .. }
            | Self::NotFinite { pointer }
            | Self::TooDeep { pointer } => pointer,
        }
    }
}

/// Converts an object to a Struct.
///
/// # Errors
/// Fails if the document is not an object, or contains a number or a nesting that a Struct cannot
/// hold.
pub fn to_struct(document: &Json) -> Result<Struct, JsonError> {
    match document {
        Json::Object(members) => object_to_struct(members, &mut ValuePath::default()),
        other => Err(JsonError::NotAnObject { kind: kind_of(other) }),
    }
}

/// Converts a Struct to an object.
///
/// # Errors
/// Fails on integers of 2^53 or more, on infinite numbers, and on deep nesting.
pub fn from_struct(document: &Struct) -> Result<Json, JsonError> {
    struct_to_object(document, &mut ValuePath::default())
}

/// Returns the number of bytes of all texts and names in a Struct. Its JSON is at least as large.
pub fn text_bytes(document: &Struct) -> usize {
    document.fields.iter().map(|(name, value)| name.len() + text_bytes_of(value)).sum()
}

fn text_bytes_of(value: &Value) -> usize {
    match &value.kind {
        Some(Kind::StringValue(text)) => text.len(),
        Some(Kind::StructValue(inner)) => text_bytes(inner),
        Some(Kind::ListValue(list)) => list.values.iter().map(text_bytes_of).sum(),
        None | Some(Kind::NullValue(_) | Kind::BoolValue(_) | Kind::NumberValue(_)) => 0,
    }
}

/// Path from the root to the current value.
#[derive(Default)]
struct ValuePath(Vec<String>);

impl ValuePath {
    fn pointer(&self) -> String {
        self.0.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
    }

    /// Runs `convert` one level deeper.
    fn within<T>(
        &mut self,
        step: impl Into<String>,
        convert: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        self.0.push(step.into());
        if self.0.len() > MAX_DEPTH {
            return Err(JsonError::TooDeep { pointer: self.pointer() });
        }
        let converted = convert(self)?;
        self.0.pop();
        Ok(converted)
    }
}

fn object_to_struct(members: &Map<String, Json>, path: &mut ValuePath) -> Result<Struct, JsonError> {
    let fields = members
        .iter()
        .map(|(name, value)| Ok((name.clone(), path.within(name.as_str(), |path| to_value(value, path))?)))
        .collect::<Result<_, JsonError>>()?;
    Ok(Struct { fields })
}

fn to_value(json: &Json, path: &mut ValuePath) -> Result<Value, JsonError> {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Number(number) => Kind::NumberValue(to_double(number, path)?),
        Json::Array(elements) => {
            let values = elements
                .iter()
                .enumerate()
                .map(|(index, element)| path.within(index.to_string(), |path| to_value(element, path)))
                .collect::<Result<_, _>>()?;
            Kind::ListValue(ListValue { values })
        }
        Json::Object(members) => Kind::StructValue(object_to_struct(members, path)?),
    };
    Ok(Value { kind: Some(kind) })
}

fn to_double(number: &Number, path: &ValuePath) -> Result<f64, JsonError> {
    let double = number.as_f64().ok_or_else(|| JsonError::NotFinite { pointer: path.pointer() })?;
    if double.fract() == 0.0 && double.abs() >= TOO_LARGE {
        return Err(JsonError::IntegerTooLarge { pointer: path.pointer(), number: number.to_string() });
    }
    Ok(double)
}

fn struct_to_object(document: &Struct, path: &mut ValuePath) -> Result<Json, JsonError> {
    let members = document
        .fields
        .iter()
        .map(|(name, value)| Ok((name.clone(), path.within(name.as_str(), |path| from_value(value, path))?)))
        .collect::<Result<Map<_, _>, JsonError>>()?;
    Ok(Json::Object(members))
}

fn from_value(value: &Value, path: &mut ValuePath) -> Result<Json, JsonError> {
    Ok(match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(flag)) => Json::Bool(*flag),
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::NumberValue(double)) => Json::Number(from_double(*double, path)?),
        Some(Kind::StructValue(inner)) => struct_to_object(inner, path)?,
        Some(Kind::ListValue(list)) => {
            let elements = list.values.iter().enumerate();
            let elements = elements
                .map(|(index, element)| path.within(index.to_string(), |path| from_value(element, path)));
            Json::Array(elements.collect::<Result<_, _>>()?)
        }
    })
}

fn from_double(double: f64, path: &ValuePath) -> Result<Number, JsonError> {
    if double.fract() != 0.0 || !double.is_finite() {
        return Number::from_f64(double).ok_or_else(|| JsonError::NotFinite { pointer: path.pointer() });
    }
    if double.abs() >= TOO_LARGE {
        return Err(JsonError::IntegerTooLarge { pointer: path.pointer(), number: double.to_string() });
    }
    // Integral and below 2^53: exact.
    Ok(Number::from(double as i64))
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;
    use crate::v1::{CreatePlanRequest, Plan};

    fn nested(depth: usize, wrap: impl Fn(Json) -> Json) -> Json {
        (1..depth).fold(json!({"a": 1}), |inner, _| wrap(inner))
    }

    #[test]
    fn rounded_integer_is_refused_with_its_pointer() {
        let cases = [
            (json!({"a": [1, {"b/c": 9_007_199_254_740_992_i64}]}), "/a/1/b~1c", "9007199254740992"),
            (json!({"id": u64::MAX}), "/id", "18446744073709551615"),
            (json!({"id": i64::MIN}), "/id", "-9223372036854775808"),
        ];
        for (document, pointer, number) in cases {
            let error = to_struct(&document).unwrap_err();
            assert_eq!(
                error,
                JsonError::IntegerTooLarge { pointer: pointer.to_owned(), number: number.to_owned() }
            );
            assert_eq!(error.pointer(), pointer);
        }
    }

    #[test]
    fn non_finite_double_is_refused() {
        for (double, expected) in [
            (f64::NAN, JsonError::NotFinite { pointer: "/x".into() }),
            (f64::NEG_INFINITY, JsonError::NotFinite { pointer: "/x".into() }),
            (1e300, JsonError::IntegerTooLarge { pointer: "/x".into(), number: 1e300_f64.to_string() }),
        ] {
            let document = Struct { fields: [("x".to_owned(), Value::from(double))].into() };
            assert_eq!(from_struct(&document), Err(expected));
        }
    }

    #[test]
    fn document_that_is_not_an_object_is_refused() {
        let error = to_struct(&json!([1])).unwrap_err();
        assert_eq!(error.to_string(), "the document must be an object, but is a list");
    }

    #[test]
    fn deepest_document_survives_and_deeper_is_refused() {
        for wrap in [|inner| json!({ "a": inner }), |inner| json!({ "a": [inner] })] {
            let levels = if wrap(Json::Null)["a"].is_array() { MAX_DEPTH / 2 } else { MAX_DEPTH };
            let deepest = nested(levels, wrap);
            let plan = Plan { definition: Some(to_struct(&deepest).unwrap()), ..Plan::default() };
            let bytes = CreatePlanRequest { plan: Some(plan), ..Default::default() }.encode_to_vec();
            let request = CreatePlanRequest::decode(bytes.as_slice()).unwrap();
            assert_eq!(from_struct(&request.plan.unwrap().definition.unwrap()), Ok(deepest));
            let error = to_struct(&nested(levels + 1, wrap)).unwrap_err();
            assert!(matches!(error, JsonError::TooDeep { .. }), "{error}");
        }
    }

    #[test]
    fn json_values_survive_a_round_trip() {
        let document = json!({
            "n": null, "yes": true, "text": "é\u{0}", "list": [0, -5, 9_007_199_254_740_991_i64, 0.1, -2.5e-7], "empty": {},
        });
        let back = from_struct(&to_struct(&document).unwrap()).unwrap();
        assert_eq!(back, document);
        assert_eq!(back["list"].to_string(), "[0,-5,9007199254740991,0.1,-2.5e-7]");
    }
}

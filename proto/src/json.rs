//! `google.protobuf.Struct`, in which people's JSON travels, to and from `serde_json`.
//!
//! A Struct holds every number as a double. An integral one is an integer again on the other side (`5`, never `5.0`), and integers of
//! magnitude 2^53 and more, which a double may have rounded already, are refused with the place where they stand.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// Deepest nesting that survives the decoder's recursion limit, whether of objects or lists.
pub const MAX_DEPTH: usize = 32;

const TOO_LARGE: f64 = 9_007_199_254_740_992.0;

/// A document cannot travel as a Struct. Every variant names the place by an RFC 6901 pointer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JsonError {
    /// The whole is no object.
    #[error("the document must be an object, and is {kind}")]
    NotAnObject {
        /// What it is instead.
        kind: &'static str,
    },
    /// An integer that a double cannot hold for sure.
    #[error("the integer {number} at {pointer} has 2^53 or more: write it as text")]
    IntegerTooLarge {
        /// Where.
        pointer: String,
        /// As it was written, or as it arrived.
        number: String,
    },
    /// Infinity or NaN, which JSON does not have.
    #[error("the number at {pointer} is not finite")]
    NotFinite {
        /// Where.
        pointer: String,
    },
    /// Nested too deep.
    #[error("the value at {pointer} is nested deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// Where the first level too many begins.
        pointer: String,
    },
}

impl JsonError {
    /// RFC 6901 pointer to the place; empty for the whole document.
    pub fn pointer(&self) -> &str {
        match self {
            Self::NotAnObject { .. } => "",
            Self::IntegerTooLarge { pointer, .. }
            | Self::NotFinite { pointer }
            | Self::TooDeep { pointer } => pointer,
        }
    }
}

/// An object as a Struct.
pub fn to_struct(document: &Json) -> Result<Struct, JsonError> {
    match document {
        Json::Object(members) => object_to_struct(members, &mut Place::default()),
        other => Err(JsonError::NotAnObject { kind: kind_of(other) }),
    }
}

/// A Struct as an object.
pub fn from_struct(document: &Struct) -> Result<Json, JsonError> {
    struct_to_object(document, &mut Place::default())
}

/// The way from the root to the value at hand.
#[derive(Default)]
struct Place(Vec<String>);

impl Place {
    fn pointer(&self) -> String {
        self.0.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
    }

    /// Runs `convert` one step further in.
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

fn object_to_struct(members: &Map<String, Json>, place: &mut Place) -> Result<Struct, JsonError> {
    let fields = members
        .iter()
        .map(|(name, value)| Ok((name.clone(), place.within(name.as_str(), |place| to_value(value, place))?)))
        .collect::<Result<_, JsonError>>()?;
    Ok(Struct { fields })
}

fn to_value(json: &Json, place: &mut Place) -> Result<Value, JsonError> {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Number(number) => Kind::NumberValue(to_double(number, place)?),
        Json::Array(elements) => {
            let values = elements
                .iter()
                .enumerate()
                .map(|(index, element)| place.within(index.to_string(), |place| to_value(element, place)))
                .collect::<Result<_, _>>()?;
            Kind::ListValue(ListValue { values })
        }
        Json::Object(members) => Kind::StructValue(object_to_struct(members, place)?),
    };
    Ok(Value { kind: Some(kind) })
}

fn to_double(number: &Number, place: &Place) -> Result<f64, JsonError> {
    let double = number.as_f64().ok_or_else(|| JsonError::NotFinite { pointer: place.pointer() })?;
    if double.fract() == 0.0 && double.abs() >= TOO_LARGE {
        return Err(JsonError::IntegerTooLarge { pointer: place.pointer(), number: number.to_string() });
    }
    Ok(double)
}

fn struct_to_object(document: &Struct, place: &mut Place) -> Result<Json, JsonError> {
    let members = document
        .fields
        .iter()
        .map(|(name, value)| {
            Ok((name.clone(), place.within(name.as_str(), |place| from_value(value, place))?))
        })
        .collect::<Result<Map<_, _>, JsonError>>()?;
    Ok(Json::Object(members))
}

fn from_value(value: &Value, place: &mut Place) -> Result<Json, JsonError> {
    Ok(match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(flag)) => Json::Bool(*flag),
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::NumberValue(double)) => Json::Number(from_double(*double, place)?),
        Some(Kind::StructValue(inner)) => struct_to_object(inner, place)?,
        Some(Kind::ListValue(list)) => {
            let elements = list.values.iter().enumerate();
            let elements = elements
                .map(|(index, element)| place.within(index.to_string(), |place| from_value(element, place)));
            Json::Array(elements.collect::<Result<_, _>>()?)
        }
    })
}

fn from_double(double: f64, place: &Place) -> Result<Number, JsonError> {
    if double.fract() != 0.0 || !double.is_finite() {
        return Number::from_f64(double).ok_or_else(|| JsonError::NotFinite { pointer: place.pointer() });
    }
    if double.abs() >= TOO_LARGE {
        return Err(JsonError::IntegerTooLarge { pointer: place.pointer(), number: double.to_string() });
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
    fn an_integer_that_a_double_may_have_rounded_is_refused_where_it_stands() {
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
    fn a_double_that_json_does_not_have_is_refused() {
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
    fn what_is_no_object_is_refused() {
        let error = to_struct(&json!([1])).unwrap_err();
        assert_eq!(error.to_string(), "the document must be an object, and is a list");
    }

    #[test]
    fn the_deepest_document_survives_the_wire_and_one_level_more_is_refused() {
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
    fn integers_stay_integers_and_everything_else_stays_as_it_is() {
        let document = json!({
            "n": null, "yes": true, "text": "é\u{0}", "list": [0, -5, 9_007_199_254_740_991_i64, 0.1, -2.5e-7], "empty": {},
        });
        let back = from_struct(&to_struct(&document).unwrap()).unwrap();
        assert_eq!(back, document);
        assert_eq!(back["list"].to_string(), "[0,-5,9007199254740991,0.1,-2.5e-7]");
    }
}

//! The table of all functions, in the order of the documentation.

use super::call::LibraryFunction;
use super::{codes, collections, crypto, json, numbers, order, regexes, standard, standard_by, text, time};

pub(super) fn all() -> impl Iterator<Item = &'static LibraryFunction> {
    [
        numbers::FUNCTIONS,
        order::FUNCTIONS,
        time::FUNCTIONS,
        text::FUNCTIONS,
        regexes::FUNCTIONS,
        codes::FUNCTIONS,
        crypto::FUNCTIONS,
        json::FUNCTIONS,
        collections::FUNCTIONS,
        standard::FUNCTIONS,
        standard_by::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{TimeZone, Utc};

    use super::*;
    use crate::expr::tests::{compile_anywhere, eval_with};
    use crate::{EvalEnv, Scope, ScopeName, Value};

    #[test]
    fn every_example_evaluates_to_its_expected_result() {
        let scope = Scope::new().with(ScopeName::Config, Value::parse(br#"{"region":"eu"}"#).unwrap()).with(
            ScopeName::Response,
            Value::parse(
                br#"{"status_code":200,"headers":{"link":"</items?page=2>; rel=\"next\""},"body":{"items":[
                        {"id":1,"name":"b","tags":["x"]},{"id":2,"name":"a","tags":[]}]}}"#,
            )
            .unwrap(),
        );
        let env = EvalEnv::new(Utc.with_ymd_and_hms(2026, 1, 15, 10, 30, 0).unwrap(), 7);
        for function in all() {
            // The example of `raw` is a url template. All others are expressions.
            let value = if function.example.starts_with("https://") {
                Value::from(url_of(function.example, &scope, &env))
            } else {
                eval_with(function.example, &scope, &env)
                    .unwrap_or_else(|error| panic!("{}: {error}", function.name))
            };
            let expected = Value::parse(function.expected.as_bytes())
                .unwrap_or_else(|error| panic!("{}: {error}", function.name));
            assert_eq!(value, expected, "{}", function.example);
            // Skips examples that compute something from the result, such as its length.
            let bare = function.example.starts_with(&format!("{}(", function.name))
                && function.example.ends_with(')');
            let text = value.as_str().is_some();
            assert!(!bare || text || !function.returns_text(), "{}", function.signature);
        }
    }

    fn url_of(template: &str, scope: &Scope, env: &EvalEnv) -> String {
        let definition = serde_json::json!({"step": {"url": template}});
        let definition = crate::compile(&definition, &crate::ServerLimits::default()).unwrap();
        definition.steps[0].request().unwrap().render(scope, env).unwrap().url.into()
    }

    #[test]
    fn table_entries_are_complete_and_unique() {
        let mut names = BTreeSet::new();
        for function in all() {
            assert!(names.insert(function.name), "{} is there twice", function.name);
            assert!(function.signature.starts_with(&format!("{}(", function.name)), "{}", function.signature);
            assert!(function.example.contains(&format!("{}(", function.name)), "{}", function.example);
            assert!(!function.doc.is_empty() && !function.doc.ends_with('.'), "{}", function.doc);
        }
    }

    /// The names that the language promises in addition to JMESPath's.
    const OWN: &str = "add sub mul div mod if compare max_of min_of now parse_time format_time time_add to_epoch from_epoch \
        split replace trim lower upper substring regex_match regex_extract url_encode url_decode base64_encode base64_decode hex \
        xml_escape sha256 md5 hmac_sha256 jwt_sign uuid json_parse json_stringify link_header query_param unique range chunk \
        entries from_entries zip_rows outer root raw";
    /// The names of JMESPath's specification.
    const STANDARD: &str = "abs avg ceil contains ends_with floor join keys length map max max_by merge min min_by not_null \
        reverse sort sort_by starts_with sum to_array to_number to_string type values";

    #[test]
    fn library_has_every_promised_name() {
        for (names, standard) in [(OWN, false), (STANDARD, true)] {
            let promised: BTreeSet<&str> = names.split_whitespace().collect();
            let there: BTreeSet<&str> =
                all().filter(|one| one.standard == standard).map(|one| one.name).collect();
            assert_eq!(there, promised);
        }
    }

    #[test]
    fn type_errors_name_the_function_and_the_types() {
        let cases = [
            ("add('1', `2`)", "add: argument 1 must be a number, and is text; called as add(text, number)"),
            ("lower(context.missing)", "lower: argument 1 must be text, and is null; called as lower(null)"),
            (
                "length(`5`)",
                "length: argument 1 must be text, a list or an object, and is number; called as length(number)",
            ),
            ("div(`1`, `0`)", "div: division by zero"),
        ];
        for (text, message) in cases {
            let error = compile_anywhere(text)
                .eval(&Scope::new(), &EvalEnv::new(chrono::DateTime::UNIX_EPOCH, 0))
                .unwrap_err();
            assert_eq!(error.message, message);
            assert_eq!(error.expression, text);
        }
    }
}

//! Bodies that took many times their size in memory: tiny rows, wide records, text that has to be
//! escaped, and files.

use bytes::Bytes;
use serde_json::{Value, json};

/// A body, and the step that reads it.
pub(crate) struct AmplifiedInput {
    pub(crate) what: &'static str,
    pub(crate) content_type: &'static str,
    step: fn() -> Value,
    body: fn() -> Vec<u8>,
}

impl AmplifiedInput {
    /// Returns the plan that reads the body from this path of the upstream.
    pub(crate) fn plan(&self, path: &str) -> Value {
        let mut step = (self.step)();
        step["id"] = json!("input");
        step["url"] = json!(format!("{{{{ config.base_url }}}}{path}"));
        step["single_page"] = json!(true);
        json!({"step": step})
    }

    pub(crate) fn body(&self) -> Bytes {
        (self.body)().into()
    }
}

pub(crate) const INPUTS: [AmplifiedInput; 9] = [
    AmplifiedInput {
        what: "200 KB of tiny rows, each a message",
        content_type: "application/json",
        step: || json!({"iterate_over": "response.body", "emit": "record"}),
        body: || tiny_list(100_000),
    },
    AmplifiedInput {
        what: "10 MB of tiny rows",
        content_type: "application/json",
        step: || json!({"iterate_over": "response.body"}),
        body: || tiny_list(5_000_000),
    },
    AmplifiedInput {
        what: "256 KiB of JSON lines, each a message",
        content_type: "application/x-ndjson",
        step: || json!({"iterate_over": "response.body", "emit": "record"}),
        body: || "1\n".repeat(131_072).into_bytes(),
    },
    AmplifiedInput {
        what: "4 MB of CSV with 200 columns",
        content_type: "text/csv",
        step: || json!({"iterate_over": "response.body"}),
        body: || wide_csv(10_400),
    },
    AmplifiedInput {
        what: "260 KB of CSV with 200 columns, counted",
        content_type: "text/csv",
        step: || json!({"extract": {"rows": "length(response.body)"}}),
        body: || wide_csv(650),
    },
    AmplifiedInput {
        what: "260 KB of CSV with 200 columns, filtered",
        content_type: "text/csv",
        step: || json!({"iterate_over": "response.body[?column_000 == '1']"}),
        body: || wide_csv(650),
    },
    AmplifiedInput {
        what: "150 KiB of control characters",
        content_type: "text/plain",
        step: || json!({}),
        body: || vec![1; 150 << 10],
    },
    AmplifiedInput {
        what: "1 MiB of control characters",
        content_type: "text/plain",
        step: || json!({}),
        body: || vec![1; 1 << 20],
    },
    AmplifiedInput {
        what: "a file of 10 MiB",
        content_type: "application/pdf",
        step: || json!({}),
        body: || vec![7; 10 << 20],
    },
];

fn tiny_list(rows: usize) -> Vec<u8> {
    format!("[{}1]", "1,".repeat(rows - 1)).into_bytes()
}

fn wide_csv(rows: usize) -> Vec<u8> {
    let names: Vec<String> = (0..200).map(|column| format!("column_{column:03}")).collect();
    let row = vec!["1"; 200].join(",") + "\n";
    (names.join(",") + "\n" + &row.repeat(rows)).into_bytes()
}

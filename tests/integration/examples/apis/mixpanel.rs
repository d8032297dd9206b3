//! Mixpanel: the raw export, JSON lines under a content type that says text. Days are inclusive.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{Turnstile, basic, header, param};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "ndjson-export",
    values: |ground| json!({"base_url": ground.url, "user": "a-service", "since": since(ground).to_string()}),
    api: |ground| {
        Box::new(Mixpanel { ground: ground.clone(), limit: Turnstile::shut_at(2), read: since(ground) })
    },
};

struct Mixpanel {
    ground: ApiSetup,
    limit: Turnstile,
    /// The first day of the present execution.
    read: NaiveDate,
}

fn since(ground: &ApiSetup) -> NaiveDate {
    ground.now.date_naive() - Days::new(3)
}

/// The events of a day.
fn events(day: NaiveDate) -> Vec<Value> {
    let begin = day.and_time(NaiveTime::MIN).and_utc().timestamp();
    let event = |number: i64| {
        json!({"event": "page viewed", "properties": {"time": begin + number * 60, "distinct_id": "u-é",
        "$insert_id": format!("{day}-{number}"), "price": 1.0}})
    };
    (0..300).map(event).collect()
}

impl ExampleApi for Mixpanel {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        if run == 1 {
            self.read = now.date_naive();
        }
        run < 2
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        let error =
            |status: u16, text: &str| UpstreamReply::Json(status, json!({"status": "error", "error": text}));
        if header(ask, "authorization") != basic("a-service", &variable("MIXPANEL_SECRET")) {
            return error(401, "Invalid credentials");
        }
        let day = |name: &str| param(ask, name).and_then(|day| day.parse::<NaiveDate>().ok());
        let (Some(from), Some(to), Some(_)) = (day("from_date"), day("to_date"), param(ask, "project_id"))
        else {
            return error(400, "from_date, to_date, project_id");
        };
        if from != to || to >= now.date_naive() || from < since(&self.ground) {
            return error(400, "this test wants single days that are over");
        }
        if self.limit.refuses() {
            return error(429, "too many requests");
        }
        let mut lines: Vec<String> = events(from).iter().map(Value::to_string).collect();
        lines.insert(100, String::new());
        let kind = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
        UpstreamReply::Raw(200, kind, lines.join("\n").into())
    }

    fn expected(&self, _run: usize, started: DateTime<Utc>) -> ExpectedOutcome {
        let days = self.read.iter_days().take_while(|day| *day < started.date_naive());
        ExpectedOutcome::rows("events", days.flat_map(events).collect())
    }
}

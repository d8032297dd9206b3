//! Okta: the system log. The `next` link is there on every page, an empty one too, and stays good;
//! `self` and `next` come as two headers; 429 names its end in a separate header.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, escaped, header, instant, json_with, millis, param};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "okta-system-log",
    values: |ground| json!({"base_url": ground.url}),
    api: |ground| Box::new(Okta::new(ground)),
};

struct Okta {
    url: String,
    events: Vec<Value>,
    /// The number of events before a link's page.
    places: PageTokens<usize>,
    limit: Turnstile,
    read: usize,
}

fn event(number: usize, published: DateTime<Utc>) -> Value {
    json!({
        "uuid": format!("event-{number}"), "published": millis(published), "eventType": "user.session.start", "severity": "INFO",
        "outcome": {"result": if number.is_multiple_of(7) { "FAILURE" } else { "SUCCESS" }, "reason": null},
    })
}

impl Okta {
    fn new(ground: &ApiSetup) -> Okta {
        let begin = ground.now - TimeDelta::days(1);
        let events =
            (0..1100).map(|number| event(number, begin + TimeDelta::seconds(number as i64 / 4))).collect();
        Okta {
            url: ground.url.clone(),
            events,
            places: PageTokens::new(),
            limit: Turnstile::shut_at(3),
            read: 0,
        }
    }

    fn place(&self, ask: &ReceivedRequest) -> Result<usize, UpstreamReply> {
        let invalid = |summary: &str| {
            let body = json!({"errorCode": "E0000031", "errorSummary": summary, "errorLink": "E0000031", "errorCauses": []});
            Err(UpstreamReply::Json(400, body))
        };
        if header(ask, "authorization") != format!("SSWS {}", variable("OKTA_API_TOKEN")) {
            let body = json!({"errorCode": "E0000011", "errorSummary": "Invalid token provided"});
            return Err(UpstreamReply::Json(401, body));
        }
        if ask.path != "/api/v1/logs"
            || ask.raw_query.matches("limit=").count() != 1
            || param(ask, "limit") != Some("1000")
        {
            return invalid("limit");
        }
        if let Some(after) = param(ask, "after") {
            return self.places.get(after).copied().map_or_else(|| invalid("after"), Ok);
        }
        if param(ask, "sortOrder") != Some("ASCENDING") || param(ask, "since").and_then(instant).is_none() {
            return invalid("since");
        }
        Ok(0)
    }
}

impl ExampleApi for Okta {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => {}
            1 => self.read = self.events.len(),
            2 => {
                self.read = self.events.len();
                let count = self.events.len();
                self.events.extend((count..count + 40).map(|number| event(number, now)));
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        let start = match self.place(ask) {
            Ok(start) => start,
            Err(refusal) => return refusal,
        };
        if self.limit.refuses() {
            let reset = (now.timestamp() + 1).to_string();
            let body = json!({"errorCode": "E0000047", "errorSummary": "API call exceeded rate limit due to too many requests."});
            return json_with(
                429,
                &[("x-rate-limit-remaining", "0".to_owned()), ("x-rate-limit-reset", reset)],
                &body,
            );
        }
        let end = self.events.len().min(start + 1000);
        let after = escaped(&self.places.issue(end));
        let url = &self.url;
        let links = [
            ("link", format!("<{url}/api/v1/logs?{}>; rel=\"self\"", ask.raw_query)),
            (
                "link",
                format!("<{url}/api/v1/logs?sortOrder=ASCENDING&limit=1000&after={after}>; rel=\"next\""),
            ),
        ];
        json_with(200, &links, &self.events[start..end].into())
    }

    fn expected(&self, _run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        ExpectedOutcome::rows("events", self.events[self.read..].to_vec())
    }
}

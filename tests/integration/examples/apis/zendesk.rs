//! Zendesk: the incremental export of tickets. `after_cursor` is there on every page and stays
//! good; `end_of_stream` says that nothing more is there yet.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, basic, header, json_with, param, seconds};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "zendesk-tickets-incremental",
    values: |ground| json!({"base_url": ground.url, "email": "who@example.com"}),
    api: |ground| Box::new(Zendesk::new(ground)),
};

struct Zendesk {
    url: String,
    /// The tickets, in the order of their changes.
    tickets: Vec<Value>,
    cursors: PageTokens<usize>,
    limit: Turnstile,
    read: usize,
}

fn ticket(number: usize, updated: DateTime<Utc>) -> Value {
    json!({"id": number, "subject": format!("ticket {number}"), "status": "open", "updated_at": seconds(updated),
        "generated_timestamp": updated.timestamp()})
}

fn error(status: u16, title: &str) -> UpstreamReply {
    UpstreamReply::Json(status, json!({"error": title, "description": title}))
}

impl Zendesk {
    fn new(ground: &ApiSetup) -> Zendesk {
        let begin = ground.now - TimeDelta::days(2);
        let tickets = (0..1100).map(|number| ticket(number, begin + TimeDelta::seconds(number as i64 / 10)));
        Zendesk {
            url: ground.url.clone(),
            tickets: tickets.collect(),
            cursors: PageTokens::new(),
            limit: Turnstile::shut_at(2),
            read: 0,
        }
    }

    fn start(&self, ask: &ReceivedRequest, now: DateTime<Utc>) -> Result<usize, UpstreamReply> {
        if param(ask, "per_page") != Some("1000") {
            return Err(error(400, "per_page"));
        }
        match (param(ask, "cursor"), param(ask, "start_time").map(str::parse::<i64>)) {
            (Some(cursor), None) => {
                self.cursors.get(cursor).copied().ok_or_else(|| error(400, "cursor is not valid"))
            }
            (None, Some(Ok(start))) if start <= now.timestamp() - 60 => {
                let before = |ticket: &&Value| ticket["generated_timestamp"].as_i64() < Some(start);
                Ok(self.tickets.iter().filter(before).count())
            }
            (None, Some(_)) => Err(error(422, "Too recent start_time. Use a start_time older than 1 minute")),
            _ => Err(error(400, "cursor or start_time")),
        }
    }
}

impl ExampleApi for Zendesk {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => {}
            1 => self.read = self.tickets.len(),
            2 => {
                self.read = self.tickets.len();
                // A ticket that changes is listed again, after all others.
                let changed = self.tickets[5]["id"].as_u64().unwrap_or_default();
                self.tickets.extend([ticket(1100, now), ticket(changed as usize, now)]);
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        if header(ask, "authorization") != basic("who@example.com/token", &variable("ZENDESK_API_TOKEN")) {
            return error(401, "Couldn't authenticate you");
        }
        if ask.path != "/api/v2/incremental/tickets/cursor.json" {
            return error(404, "InvalidEndpoint");
        }
        if self.limit.refuses() {
            return json_with(
                429,
                &[("retry-after", "1".to_owned())],
                &json!({"error": "Rate limit exceeded"}),
            );
        }
        let start = match self.start(ask, now) {
            Ok(start) => start,
            Err(refusal) => return refusal,
        };
        let end = self.tickets.len().min(start + 1000);
        let after = self.cursors.issue(end);
        UpstreamReply::ok(json!({
            "tickets": self.tickets[start..end], "after_cursor": after, "before_cursor": null, "before_url": null,
            "after_url": format!("{}{}?per_page=1000&cursor={after}", self.url, ask.path),
            "end_of_stream": end == self.tickets.len(),
        }))
    }

    fn expected(&self, _run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        ExpectedOutcome::rows("tickets", self.tickets[self.read..].to_vec())
    }
}

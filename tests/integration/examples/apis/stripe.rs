//! Stripe: charges, newest first. The next page begins after the id in `starting_after`; 429 comes
//! without `Retry-After`.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{Turnstile, header, param};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "stripe-charges",
    values: |ground| json!({"base_url": ground.url}),
    api: |ground| Box::new(Stripe::new(ground)),
};

struct Stripe {
    ground: ApiSetup,
    /// The charges, newest first.
    charges: Vec<Value>,
    limit: Turnstile,
    due: Vec<Value>,
}

fn charge(number: usize, created: i64) -> Value {
    json!({
        "id": format!("ch_{number:06}"), "object": "charge", "amount": 1000 + number, "currency": "eur", "created": created,
        "balance_transaction": {"id": format!("txn_{number}"), "object": "balance_transaction", "fee": 30},
    })
}

fn created(charge: &Value) -> i64 {
    charge["created"].as_i64().unwrap_or_default()
}

impl Stripe {
    fn new(ground: &ApiSetup) -> Stripe {
        let begin = (ground.now - TimeDelta::days(2)).timestamp();
        // Three share each second, and page boundaries fall in between.
        let charges = (0..250).rev().map(|number| charge(number, begin + number as i64 / 3 * 60)).collect();
        Stripe { ground: ground.clone(), charges, limit: Turnstile::shut_at(2), due: Vec::new() }
    }

    fn add(&mut self, number: usize, now: DateTime<Utc>) {
        self.charges.insert(0, charge(number, now.timestamp()));
    }

    fn list(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> Result<Value, (u16, Value)> {
        let invalid = |param: &str, message: &str| {
            (
                400,
                json!({"type": "invalid_request_error", "code": "resource_missing", "param": param, "message": message}),
            )
        };
        if header(ask, "authorization") != format!("Bearer {}", variable("STRIPE_API_KEY")) {
            return Err((
                401,
                json!({"type": "invalid_request_error", "message": "Invalid API Key provided"}),
            ));
        }
        if ask.path != "/v1/charges" || header(ask, "stripe-version") != "2024-06-20" {
            return Err((
                404,
                json!({"type": "invalid_request_error", "message": "Unrecognized request URL"}),
            ));
        }
        if param(ask, "limit") != Some("100") || param(ask, "expand[]") != Some("data.balance_transaction") {
            return Err(invalid("limit", "this test wants what the plan says"));
        }
        if self.limit.refuses() {
            return Err((
                429,
                json!({"type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests"}),
            ));
        }
        let since = match param(ask, "created[gte]").map(str::parse) {
            None => i64::MIN,
            Some(Ok(since)) => since,
            Some(Err(_)) => return Err(invalid("created", "Invalid integer")),
        };
        let start = match param(ask, "starting_after") {
            None => 0,
            Some(id) => match self.charges.iter().position(|charge| charge["id"] == id) {
                Some(place) => place + 1,
                None => return Err(invalid("starting_after", &format!("No such charge: '{id}'"))),
            },
        };
        let listed: Vec<&Value> = self.charges[start..].iter().filter(|one| created(one) >= since).collect();
        let (data, has_more) =
            (listed.iter().take(100).copied().cloned().collect::<Vec<_>>(), listed.len() > 100);
        if start == 0 && self.due.len() == 250 && !self.ground.calm {
            self.add(250, now);
        }
        Ok(json!({"object": "list", "url": "/v1/charges", "has_more": has_more, "data": data}))
    }
}

impl ExampleApi for Stripe {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => self.due = self.charges.clone(),
            1 => {
                let last = self.due.iter().map(created).max().unwrap_or_default();
                self.add(251, now);
                self.due = self.charges.iter().filter(|one| created(one) >= last - 600).cloned().collect();
            }
            // Nothing is new; the lookback is read again.
            2 => {
                let last = self.due.iter().map(created).max().unwrap_or_default();
                self.due.retain(|one| created(one) >= last - 600);
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        match self.list(ask, now) {
            Ok(list) => UpstreamReply::ok(list),
            Err((status, error)) => UpstreamReply::Json(status, json!({"error": error})),
        }
    }

    fn expected(&self, _run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        ExpectedOutcome::rows("charges", self.due.clone())
    }
}

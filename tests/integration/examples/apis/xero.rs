//! Xero: invoices by page numbers. `If-Modified-Since` filters; times are spelled `/Date(…)/`.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{Turnstile, header, json_with, page, param};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "xero-invoices",
    values: |ground| json!({"base_url": format!("{}/api.xro/2.0", ground.url)}),
    api: |ground| Box::new(Xero::new(ground)),
};

struct Xero {
    ground: ApiSetup,
    invoices: Vec<(usize, DateTime<Utc>)>,
    limit: Turnstile,
    due: Vec<(usize, DateTime<Utc>)>,
}

fn invoice((number, updated): &(usize, DateTime<Utc>)) -> Value {
    json!({
        "InvoiceID": format!("00000000-0000-0000-0000-{number:012}"), "Type": "ACCREC", "Total": 12.50, "LineItems": [],
        "UpdatedDateUTC": format!("/Date({}+0000)/", updated.timestamp_millis()),
    })
}

impl Xero {
    fn new(ground: &ApiSetup) -> Xero {
        let invoices = (0..250).map(|number| (number, ground.now - TimeDelta::hours(2 + number as i64 % 50)));
        Xero {
            ground: ground.clone(),
            invoices: invoices.collect(),
            limit: Turnstile::shut_at(2),
            due: Vec::new(),
        }
    }

    fn list(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> Option<Value> {
        let since = match header(ask, "if-modified-since") {
            "" => DateTime::UNIX_EPOCH,
            text => NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok()?.and_utc(),
        };
        let number: usize = param(ask, "page")?.parse().ok().filter(|number| *number > 0)?;
        let size: usize = param(ask, "pageSize")?.parse().ok()?;
        if param(ask, "order") != Some("InvoiceID ASC") {
            return None;
        }
        if number == 2 && self.due.len() == 250 && !self.ground.calm {
            // It was on the first page. Sorted by change, it would have moved and shifted another
            // invoice.
            self.invoices[4].1 = now;
        }
        let found: Vec<_> = self.invoices.iter().filter(|(_, updated)| *updated >= since).copied().collect();
        let (invoices, _) = page(&found, (number - 1) * size, size);
        Some(json!({
            "Status": "OK", "DateTimeUTC": format!("/Date({})/", now.timestamp_millis()),
            "pagination": {"page": number, "pageSize": size, "pageCount": found.len().div_ceil(size), "itemCount": found.len()},
            "Invoices": invoices.iter().map(invoice).collect::<Vec<_>>(),
        }))
    }
}

impl ExampleApi for Xero {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => self.due = self.invoices.clone(),
            1 => {
                self.invoices.push((250, now));
                self.due = self
                    .invoices
                    .iter()
                    .filter(|(_, updated)| now - *updated < TimeDelta::hours(1))
                    .copied()
                    .collect();
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        let error = |status: u16, title: &str| {
            UpstreamReply::Json(status, json!({"Title": title, "Status": status, "Detail": title}))
        };
        if header(ask, "authorization") != format!("Bearer {}", variable("XERO_ACCESS_TOKEN")) {
            return error(401, "Unauthorized");
        }
        if header(ask, "xero-tenant-id") != variable("XERO_TENANT_ID") {
            return error(403, "Forbidden");
        }
        if ask.path != "/api.xro/2.0/Invoices" || header(ask, "accept") != "application/json" {
            return error(404, "The resource you're looking for cannot be found");
        }
        if self.limit.refuses() {
            let headers = [("retry-after", "1".to_owned()), ("x-rate-limit-problem", "minute".to_owned())];
            return json_with(429, &headers, &Value::Null);
        }
        self.list(ask, now).map_or_else(|| error(400, "A validation exception occurred"), UpstreamReply::ok)
    }

    fn expected(&self, _run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        ExpectedOutcome::rows("invoices", self.due.iter().map(invoice).collect())
    }
}

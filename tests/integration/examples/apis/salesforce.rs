//! Salesforce: a SOQL query. `nextRecordsUrl` is a path; errors are lists; too many requests are a
//! 403.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, header, instant, json_with, page, param};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "salesforce-query",
    values: |ground| json!({"instance_url": ground.url}),
    api: |ground| Box::new(Salesforce::new(ground)),
};

const SELECT: &str = "SELECT Id, Name, Email, SystemModstamp FROM Contact WHERE SystemModstamp >= ";
const ORDER: &str = " ORDER BY SystemModstamp, Id";

struct Salesforce {
    contacts: Vec<Value>,
    /// The result of a query, and the number of rows that were returned.
    locators: PageTokens<(Vec<Value>, usize)>,
    limit: Turnstile,
    due: Vec<Value>,
}

fn contact(number: usize, changed: DateTime<Utc>) -> Value {
    let id = format!("003{number:012}AAA");
    json!({
        "attributes": {"type": "Contact", "url": format!("/services/data/v61.0/sobjects/Contact/{id}")},
        "Id": id, "Name": format!("Contact {number}"), "Email": null,
        "SystemModstamp": changed.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
    })
}

fn changed(contact: &Value) -> DateTime<Utc> {
    contact["SystemModstamp"].as_str().and_then(instant).unwrap_or_default()
}

fn error(status: u16, code: &str, message: &str) -> UpstreamReply {
    UpstreamReply::Json(status, json!([{"errorCode": code, "message": message}]))
}

impl Salesforce {
    fn new(ground: &ApiSetup) -> Salesforce {
        let begin = ground.now - TimeDelta::days(4);
        // Groups of 50 share a timestamp.
        let contacts = (0..600).map(|number| contact(number, begin + TimeDelta::minutes(number as i64 / 50)));
        Salesforce {
            contacts: contacts.collect(),
            locators: PageTokens::new(),
            limit: Turnstile::shut_at(3),
            due: Vec::new(),
        }
    }

    fn query(&self, soql: &str) -> Option<Vec<Value>> {
        let since = soql.strip_prefix(SELECT)?.strip_suffix(ORDER)?;
        let since = since.ends_with('Z').then(|| instant(since)).flatten()?;
        let mut found: Vec<Value> =
            self.contacts.iter().filter(|one| changed(one) >= since).cloned().collect();
        found.sort_by_key(|one| (changed(one), one["Id"].to_string()));
        Some(found)
    }
}

impl ExampleApi for Salesforce {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => self.due = self.contacts.clone(),
            1 => {
                let last = self.due.iter().map(changed).max().unwrap_or_default() - TimeDelta::minutes(5);
                self.contacts[3] = contact(3, now);
                // Its transaction took long.
                self.contacts.push(contact(600, last + TimeDelta::seconds(7)));
                self.due = self.contacts.iter().filter(|one| changed(one) >= last).cloned().collect();
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, _now: DateTime<Utc>) -> UpstreamReply {
        if header(ask, "authorization") != format!("Bearer {}", variable("SALESFORCE_ACCESS_TOKEN")) {
            return error(401, "INVALID_SESSION_ID", "Session expired or invalid");
        }
        if self.limit.refuses() {
            return error(
                403,
                "REQUEST_LIMIT_EXCEEDED",
                "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            );
        }
        let (found, start) = match ask.path.strip_prefix("/services/data/v61.0/query") {
            Some("") => match param(ask, "q").and_then(|soql| self.query(soql)) {
                Some(found) => (found, 0),
                None => return error(400, "MALFORMED_QUERY", "unexpected token"),
            },
            Some(locator) => {
                let locator = locator.trim_start_matches('/').replace('~', "/");
                match self.locators.get(&locator) {
                    Some((found, start)) if ask.raw_query.is_empty() => (found.clone(), *start),
                    _ => return error(400, "INVALID_QUERY_LOCATOR", "invalid query locator"),
                }
            }
            None => return error(404, "NOT_FOUND", "The requested resource does not exist"),
        };
        let (records, next) = page(&found, start, 250);
        let mut body = json!({"totalSize": found.len(), "done": next.is_none(), "records": records});
        if let Some(next) = next {
            let locator = self.locators.issue((found, next)).replace('/', "~");
            body["nextRecordsUrl"] = json!(format!("/services/data/v61.0/query/{locator}"));
        }
        json_with(200, &[("sforce-limit-info", "api-usage=18/5000".to_owned())], &body)
    }

    fn expected(&self, _run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        ExpectedOutcome::rows("contacts", self.due.clone())
    }
}

//! Microsoft Graph: users by delta. Next links and delta links are whole; a page may be empty and
//! lead on; a delta link that is too old is 410.

use chrono::{DateTime, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, escaped, header, json_with, param};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "microsoft-graph-delta",
    values: |ground| json!({"base_url": ground.url}),
    api: |ground| Box::new(Graph::new(ground)),
};

const SELECT: &str = "id,displayName,userPrincipalName,mail,accountEnabled";

/// The rest of an enumeration: its pages, and the number of changes at its start.
#[derive(Debug, Clone)]
struct Rest {
    pages: Vec<Vec<Value>>,
    changes: usize,
}

struct Graph {
    url: String,
    users: Vec<Value>,
    /// The changes of users, in order.
    changes: Vec<Value>,
    skip_tokens: PageTokens<Rest>,
    /// The number of changes at the time of a delta link.
    delta_tokens: PageTokens<usize>,
    /// Delta links with fewer changes than this have expired.
    forgotten: usize,
    limit: Turnstile,
    due: Vec<Value>,
}

fn user(number: usize) -> Value {
    json!({
        "id": format!("user-{number}"), "displayName": format!("Ünal {number}"), "userPrincipalName": format!("u{number}@example.com"),
        "mail": null, "accountEnabled": true,
    })
}

fn error(status: u16, code: &str) -> UpstreamReply {
    UpstreamReply::Json(
        status,
        json!({"error": {"code": code, "message": "as the code says", "innerError": {}}}),
    )
}

impl Graph {
    fn new(ground: &ApiSetup) -> Graph {
        Graph {
            url: ground.url.clone(),
            users: (0..250).map(user).collect(),
            changes: Vec::new(),
            skip_tokens: PageTokens::new(),
            delta_tokens: PageTokens::new(),
            forgotten: 0,
            limit: Turnstile::shut_at(2),
            due: Vec::new(),
        }
    }

    /// Returns the enumeration that a request starts or, with a token, continues.
    fn rest(&self, ask: &ReceivedRequest) -> Result<Rest, UpstreamReply> {
        let changes = self.changes.len();
        if let Some(token) = param(ask, "$skiptoken") {
            return self
                .skip_tokens
                .get(token)
                .cloned()
                .ok_or_else(|| error(400, "Directory_ExpiredPageToken"));
        }
        if let Some(token) = param(ask, "$deltatoken") {
            return match self.delta_tokens.get(token) {
                Some(known) if *known < self.forgotten => Err(error(410, "syncStateNotFound")),
                Some(known) => Ok(Rest { pages: vec![self.changes[*known..].to_vec()], changes }),
                None => Err(error(400, "badRequest")),
            };
        }
        if param(ask, "$select") != Some(SELECT) {
            return Err(error(400, "badRequest"));
        }
        let mut pages: Vec<Vec<Value>> = self.users.chunks(100).map(<[Value]>::to_vec).collect();
        pages.insert(1, Vec::new());
        Ok(Rest { pages, changes })
    }
}

impl ExampleApi for Graph {
    fn begin(&mut self, run: usize, _now: DateTime<Utc>) -> bool {
        match run {
            0 => self.due = self.users.clone(),
            1 => {
                self.users[7]["mail"] = json!("u7@example.com");
                let removed = self.users.remove(9);
                self.due = vec![
                    json!({"id": "user-7", "mail": "u7@example.com"}),
                    json!({"id": removed["id"], "@removed": {"reason": "changed"}}),
                ];
                self.changes.extend(self.due.clone());
            }
            2 => self.due.clear(),
            // The link has expired: the next execution reads everything again.
            3 => self.forgotten = usize::MAX,
            4 => {
                self.forgotten = 0;
                self.due = self.users.clone();
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, _now: DateTime<Utc>) -> UpstreamReply {
        if header(ask, "authorization") != format!("Bearer {}", variable("GRAPH_ACCESS_TOKEN")) {
            return error(401, "InvalidAuthenticationToken");
        }
        if ask.path != "/v1.0/users/delta" {
            return error(404, "ResourceNotFound");
        }
        if self.limit.refuses() {
            let body = json!({"error": {"code": "TooManyRequests", "message": "Too many requests."}});
            return json_with(429, &[("retry-after", "1".to_owned())], &body);
        }
        let Rest { mut pages, changes } = match self.rest(ask) {
            Ok(rest) => rest,
            Err(refusal) => return refusal,
        };
        let value = pages.remove(0);
        let (name, link) = if pages.is_empty() {
            ("@odata.deltaLink", format!("$deltatoken={}", escaped(&self.delta_tokens.issue(changes))))
        } else {
            (
                "@odata.nextLink",
                format!("$skiptoken={}", escaped(&self.skip_tokens.issue(Rest { pages, changes }))),
            )
        };
        let context = format!("{}/v1.0/$metadata#users({SELECT})", self.url);
        let mut body = json!({"@odata.context": context, "value": value});
        body[name] = json!(format!("{}/v1.0/users/delta?{link}", self.url));
        UpstreamReply::ok(body)
    }

    fn expected(&self, run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        match run {
            3 => ExpectedOutcome::nothing().partial(&["HTTP_STATUS"]),
            _ => ExpectedOutcome::rows("users", self.due.clone()),
        }
    }
}

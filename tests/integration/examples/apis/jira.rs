//! Jira Cloud: the search by JQL. The page token travels in the body, and is missing on the last
//! page; JQL compares times by minutes.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, basic, body, header, json_with};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "jira-search",
    values: |ground| json!({"base_url": ground.url, "email": "who@example.com", "project": "AB"}),
    api: |ground| Box::new(Jira::new(ground)),
};

struct Jira {
    ground: ApiSetup,
    issues: Vec<(usize, DateTime<Utc>)>,
    /// The number after which a page begins, and the filter.
    places: PageTokens<(usize, DateTime<Utc>)>,
    limit: Turnstile,
    due: Vec<(usize, DateTime<Utc>)>,
}

fn issue((number, updated): &(usize, DateTime<Utc>)) -> Value {
    json!({
        "id": (10_000 + number).to_string(), "key": format!("AB-{number}"),
        "fields": {"summary": "Straße \u{1F6E3}", "status": {"name": "To Do"}, "assignee": null,
            "updated": (*updated + TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%S%.3f+0100").to_string()},
    })
}

impl Jira {
    fn new(ground: &ApiSetup) -> Jira {
        let issues = (1..=230).map(|number| (number, ground.now - TimeDelta::hours(number as i64)));
        Jira {
            ground: ground.clone(),
            issues: issues.collect(),
            places: PageTokens::new(),
            limit: Turnstile::shut_at(2),
            due: Vec::new(),
        }
    }

    fn since(jql: &str) -> Option<DateTime<Utc>> {
        let rest = jql.strip_prefix("project = \"AB\" AND updated >= \"")?;
        let time = rest.strip_suffix("\" ORDER BY key ASC")?;
        NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M").ok().map(|time| time.and_utc())
    }

    fn search(&mut self, asked: &Value, now: DateTime<Utc>) -> Option<Value> {
        let since = Jira::since(asked["jql"].as_str()?)?;
        let after = match asked.get("nextPageToken") {
            None => 0,
            Some(token) => match self.places.get(token.as_str()?)? {
                (after, filter) if *filter == since => *after,
                _ => return None,
            },
        };
        if asked["fields"] != json!(["summary", "status", "assignee", "updated"])
            || asked["maxResults"] != 100
        {
            return None;
        }
        if after == 0 && !self.ground.calm && self.due.len() == 230 {
            self.issues[2].1 = now;
        }
        let found = self.issues.iter().filter(|(number, updated)| *number > after && *updated >= since);
        let found: Vec<_> = found.copied().collect();
        // Fewer than requested, as the API allows.
        let page = &found[..found.len().min(70)];
        let mut body = json!({"issues": page.iter().map(issue).collect::<Vec<_>>(), "isLast": page.len() == found.len()});
        if let Some((last, _)) = page.last().filter(|_| page.len() < found.len()) {
            body["nextPageToken"] = json!(self.places.issue((*last, since)));
        }
        Some(body)
    }
}

impl ExampleApi for Jira {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => self.due = self.issues.clone(),
            1 => {
                self.issues.push((231, now));
                let recent = |(_, updated): &&(usize, DateTime<Utc>)| now - *updated < TimeDelta::minutes(30);
                self.due = self.issues.iter().filter(recent).copied().collect();
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        let error = |status: u16, message: &str| {
            UpstreamReply::Json(status, json!({"errorMessages": [message], "errors": {}}))
        };
        if header(ask, "authorization") != basic("who@example.com", &variable("JIRA_API_TOKEN")) {
            return error(401, "Client must be authenticated to access this resource.");
        }
        if ask.method != "POST" || ask.path != "/rest/api/3/search/jql" {
            return error(404, "null for uri");
        }
        if self.limit.refuses() {
            let headers =
                [("retry-after", "1".to_owned()), ("ratelimit-reason", "jira-burst-based".to_owned())];
            return json_with(429, &headers, &json!({"errorMessages": ["Rate limit exceeded"]}));
        }
        match self.search(&body(ask), now) {
            Some(body) => UpstreamReply::ok(body),
            None => error(400, "Error in the JQL Query or the page token"),
        }
    }

    fn expected(&self, run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        let mut due = self.due.clone();
        if run == 0 && !self.ground.calm {
            // It changed before its page was read.
            due[2] = self.issues[2];
        }
        ExpectedOutcome::rows("issues", due.iter().map(issue).collect())
    }
}

//! GitHub: issues and their comments. Pages follow by the header `Link`, whose urls name the
//! repository by its number and hold an opaque `after`; a secondary rate limit is a 403 with
//! `Retry-After`.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{
    PageTokens, Turnstile, escaped, header, instant, json_with, page, param, seconds,
};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "github-issues",
    values: |ground| json!({"base_url": ground.url, "owner": "a-team", "repository": "its.code"}),
    api: |ground| Box::new(GitHub::new(ground)),
};

#[derive(Debug, Clone)]
struct Issue {
    number: usize,
    title: String,
    updated: DateTime<Utc>,
    comments: usize,
}

/// The start and the filter of a page of issues.
#[derive(Debug, Clone)]
enum Place {
    Issues { start: usize, since: Option<DateTime<Utc>> },
    Comments { issue: usize, start: usize },
}

struct GitHub {
    ground: ApiSetup,
    /// The issues, in order of creation.
    issues: Vec<Issue>,
    /// The issue whose comments were deleted.
    gone: Option<usize>,
    places: PageTokens<Place>,
    secondary_limit: Turnstile,
    /// The issues that the present execution must find, as they were at its start.
    due: Vec<Issue>,
}

impl GitHub {
    fn new(ground: &ApiSetup) -> GitHub {
        let issue = |number: usize| Issue {
            number,
            title: format!("issue {number}"),
            // Many change in the same second.
            updated: ground.now - TimeDelta::days(3) + TimeDelta::minutes((number as i64 * 7) % 10),
            comments: match number {
                150 => 130,
                _ if number.is_multiple_of(40) => 2,
                _ => 0,
            },
        };
        GitHub {
            ground: ground.clone(),
            issues: (1..=250).map(issue).collect(),
            gone: None,
            places: PageTokens::new(),
            secondary_limit: Turnstile::shut_at(5),
            due: Vec::new(),
        }
    }

    fn change(&mut self, number: usize, now: DateTime<Utc>) {
        let issue = &mut self.issues[number - 1];
        (issue.title, issue.updated) = (format!("{}, changed", issue.title), now);
    }

    fn json(&self, issue: &Issue) -> Value {
        json!({
            "id": 9_000_000_000_000_000_000_u64 + issue.number as u64, "number": issue.number, "title": issue.title, "state": "open",
            "comments": issue.comments, "updated_at": seconds(issue.updated), "user": {"login": "octo-user"},
        })
    }

    fn comments(&self, issue: usize) -> Vec<Value> {
        let count = self.issues[issue - 1].comments;
        (0..count)
            .map(|comment| json!({"id": issue * 1000 + comment, "body": "\u{1F33C} <b>&amp;"}))
            .collect()
    }

    fn refusal(&mut self, ask: &ReceivedRequest) -> Option<UpstreamReply> {
        let message = |status: u16, text: &str| {
            Some(UpstreamReply::Json(status, json!({"message": text, "status": status.to_string()})))
        };
        if header(ask, "authorization") != format!("Bearer {}", variable("GITHUB_TOKEN")) {
            return message(401, "Bad credentials");
        }
        if header(ask, "user-agent").is_empty() {
            return message(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            );
        }
        if header(ask, "accept") != "application/vnd.github+json"
            || header(ask, "x-github-api-version") != "2022-11-28"
        {
            return message(400, "Unsupported version");
        }
        if self.secondary_limit.refuses() {
            let body = json!({"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."});
            return Some(json_with(403, &[("retry-after", "1".to_owned())], &body));
        }
        None
    }

    fn place(&self, ask: &ReceivedRequest) -> Result<Place, UpstreamReply> {
        let unprocessable = |text: &str| {
            Err(UpstreamReply::Json(422, json!({"message": "Validation Failed", "errors": [text]})))
        };
        if let Some(after) = param(ask, "after") {
            return self.places.get(after).cloned().map_or_else(|| unprocessable("after"), Ok);
        }
        if param(ask, "per_page") != Some("100") {
            return unprocessable("per_page");
        }
        match ask.path.strip_prefix("/repos/a-team/its.code/issues") {
            Some("") => {
                if (param(ask, "sort"), param(ask, "direction"), param(ask, "state"))
                    != (Some("created"), Some("asc"), Some("all"))
                {
                    return unprocessable("sort");
                }
                let since = param(ask, "since").map(|since| instant(since).ok_or(since));
                match since.transpose() {
                    Ok(since) => Ok(Place::Issues { start: 0, since }),
                    Err(_) => unprocessable("since"),
                }
            }
            Some(rest) => {
                let issue = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix("/comments"));
                match issue.and_then(|number| number.parse().ok()) {
                    Some(issue) if Some(issue) == self.gone => {
                        Err(UpstreamReply::Json(410, json!({"message": "This issue was deleted"})))
                    }
                    Some(issue) if issue <= self.issues.len() => Ok(Place::Comments { issue, start: 0 }),
                    _ => Err(UpstreamReply::Json(404, json!({"message": "Not Found"}))),
                }
            }
            None => Err(UpstreamReply::Json(404, json!({"message": "Not Found"}))),
        }
    }

    fn link(&mut self, path: &str, next: Option<Place>) -> Vec<(&'static str, String)> {
        let url = &self.ground.url;
        let first = format!("<{url}{path}?per_page=100>; rel=\"first\"");
        match next {
            None => vec![("link", first)],
            Some(place) => {
                let after = escaped(&self.places.issue(place));
                vec![(
                    "link",
                    format!("<{url}{path}?per_page=100&after={after}&page=2>; rel=\"next\", {first}"),
                )]
            }
        }
    }
}

impl ExampleApi for GitHub {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => self.due = self.issues.clone(),
            1 => {
                self.change(9, now);
                self.change(40, now);
                self.issues[39].comments += 1;
                self.issues.push(Issue { number: 251, title: "new".to_owned(), updated: now, comments: 0 });
                self.change(80, now);
                self.gone = Some(80);
                let changed = |issue: &&Issue| now - issue.updated < TimeDelta::hours(1);
                self.due = self.issues.iter().filter(changed).cloned().collect();
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        if let Some(refusal) = self.refusal(ask) {
            return refusal;
        }
        match self.place(ask) {
            Err(refusal) => refusal,
            Ok(Place::Issues { start, since }) => {
                if start == 100 && !self.ground.calm && self.gone.is_none() {
                    // It was on the first page, so this execution does not see it again.
                    self.change(5, now);
                }
                let due = |issue: &&Issue| since.is_none_or(|since| issue.updated >= since);
                let due: Vec<Issue> = self.issues.iter().filter(due).cloned().collect();
                let (issues, next) = page(&due, start, 100);
                let next = next.map(|start| Place::Issues { start, since });
                let link = self.link("/repositories/1300192/issues", next);
                json_with(200, &link, &issues.iter().map(|issue| self.json(issue)).collect())
            }
            Ok(Place::Comments { issue, start }) => {
                let (comments, next) = page(&self.comments(issue), start, 100);
                let next = next.map(|start| Place::Comments { issue, start });
                let link = self.link(&format!("/repositories/1300192/issues/{issue}/comments"), next);
                json_with(200, &link, &comments.into())
            }
        }
    }

    fn expected(&self, run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        let row = |issue: &Issue| {
            let mut row = self.json(issue);
            row["_steps"] = match issue.comments {
                // The step was skipped.
                0 => json!({}),
                _ if self.gone == Some(issue.number) => json!({"comments": []}),
                _ => json!({"comments": self.comments(issue.number)}),
            };
            row
        };
        let rows = ExpectedOutcome::rows("issues", self.due.iter().map(row).collect());
        if run == 1 { rows.partial(&["HTTP_STATUS"]) } else { rows }
    }
}

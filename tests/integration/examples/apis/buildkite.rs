//! Buildkite: organizations, their pipelines, their builds. All lists page by the header `Link`.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{Turnstile, escaped, header, instant, json_with, page, param, seconds};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "fan-out-three-levels",
    values: |ground| json!({"base_url": ground.url}),
    api: |ground| Box::new(Buildkite::new(ground)),
};

struct Build {
    organization: usize,
    pipeline: usize,
    number: usize,
    /// `None` while it is running.
    finished: Option<DateTime<Utc>>,
}

struct Buildkite {
    url: String,
    /// The pipelines of each organization.
    pipelines: [usize; 3],
    builds: Vec<Build>,
    /// A pipeline that is deleted before its builds are requested.
    gone: Option<(usize, usize)>,
    limit: Turnstile,
    due: Vec<Value>,
}

fn build(build: &Build) -> Value {
    json!({
        "id": format!("{}-{}-{}", build.organization, build.pipeline, build.number), "number": build.number,
        "state": if build.finished.is_some() { "passed" } else { "running" }, "finished_at": build.finished.map(seconds),
        "pipeline": {"slug": format!("p{}", build.pipeline)},
    })
}

impl Buildkite {
    fn new(ground: &ApiSetup) -> Buildkite {
        let pipelines = [3, 0, 105];
        let mut builds = Vec::new();
        for (organization, pipelines) in pipelines.into_iter().enumerate() {
            for pipeline in 0..pipelines {
                let count = if (organization, pipeline) == (0, 1) { 130 } else { pipeline % 2 };
                builds.extend((0..count).map(|number| Build {
                    organization,
                    pipeline,
                    number,
                    finished: (number != 7).then(|| ground.now - TimeDelta::hours(1 + number as i64)),
                }));
            }
        }
        Buildkite {
            url: ground.url.clone(),
            pipelines,
            builds,
            gone: Some((2, 3)),
            limit: Turnstile::shut_at(6),
            due: Vec::new(),
        }
    }

    /// Returns what a path lists; of builds, only those that ended since.
    fn list(&self, path: &str, since: Option<DateTime<Utc>>) -> Option<Vec<Value>> {
        let number = |text: &str, letter: char| text.strip_prefix(letter)?.parse::<usize>().ok();
        let parts: Vec<&str> = path.strip_prefix("/v2/organizations")?.split('/').skip(1).collect();
        match parts.as_slice() {
            [] => Some(
                (0..self.pipelines.len())
                    .map(|one| json!({"id": format!("org-{one}"), "slug": format!("o{one}")}))
                    .collect(),
            ),
            [organization, "pipelines"] => {
                let organization = number(organization, 'o')?;
                let pipeline =
                    |one| json!({"id": format!("{organization}/{one}"), "slug": format!("p{one}")});
                self.pipelines.get(organization).map(|count| (0..*count).map(pipeline).collect())
            }
            [organization, "pipelines", pipeline, "builds"] => {
                let place = (number(organization, 'o')?, number(pipeline, 'p')?);
                if self.gone == Some(place) {
                    return None;
                }
                let of = |one: &&Build| (one.organization, one.pipeline) == place;
                let ended =
                    |one: &&Build| since.is_none_or(|since| one.finished.is_some_and(|time| time >= since));
                Some(self.builds.iter().rev().filter(of).filter(ended).map(build).collect())
            }
            _ => None,
        }
    }
}

impl ExampleApi for Buildkite {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        let gone = |one: &&Build| Some((one.organization, one.pipeline)) != self.gone;
        match run {
            0 => self.due = self.builds.iter().filter(gone).map(build).collect(),
            1 => {
                for one in self.builds.iter_mut().filter(|one| one.finished.is_none()) {
                    one.finished = Some(now);
                }
                // The pipeline that failed is read from its beginning.
                let missed = self.gone.take();
                let due = |one: &&Build| {
                    Some((one.organization, one.pipeline)) == missed
                        || one.finished.is_some_and(|time| time >= now)
                };
                self.due = self.builds.iter().filter(due).map(build).collect();
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, _now: DateTime<Utc>) -> UpstreamReply {
        let message = |status: u16, text: &str| UpstreamReply::Json(status, json!({"message": text}));
        if header(ask, "authorization") != format!("Bearer {}", variable("BUILDKITE_TOKEN")) {
            return message(401, "Authentication required. Please supply a valid API Access Token");
        }
        if self.limit.refuses() {
            let headers = [
                ("ratelimit-remaining", "0".to_owned()),
                ("ratelimit-limit", "200".to_owned()),
                ("ratelimit-reset", "1".to_owned()),
            ];
            return json_with(
                429,
                &headers,
                &json!({"message": "You have exceeded your API rate limit. Please wait 1 seconds before making more requests."}),
            );
        }
        let since = param(ask, "finished_from").map(instant);
        let number = param(ask, "page").map_or(Some(1), |page| page.parse::<usize>().ok());
        let (Some(number), false, Some("100")) = (number, since == Some(None), param(ask, "per_page")) else {
            return message(422, "Validation failed");
        };
        let Some(list) = self.list(&ask.path, since.flatten()) else { return message(404, "No build found") };
        let (rows, next) = page(&list, (number - 1) * 100, 100);
        let link = next.map(|_| {
            let filter = since.flatten().map(|since| format!("finished_from={}&", escaped(&seconds(since))));
            let url = format!(
                "{}{}?{}page={}&per_page=100",
                self.url,
                ask.path,
                filter.unwrap_or_default(),
                number + 1
            );
            ("link", format!("<{url}>; rel=\"next\", <{url}9>; rel=\"last\""))
        });
        json_with(200, link.as_slice(), &rows.into())
    }

    fn expected(&self, run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        let rows = ExpectedOutcome::rows("organizations.pipelines.builds", self.due.clone());
        if run == 0 { rows.partial(&["HTTP_STATUS"]) } else { rows }
    }
}

//! The USGS earthquake catalog: CSV between two times, both inclusive; nothing at all is 204, too
//! much is 400.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::server_parts::{millis, param, seconds};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "csv-by-window",
    values: |ground| json!({"base_url": ground.url, "since": seconds(since(ground))}),
    api: |ground| Box::new(Catalog::new(ground)),
};

struct Catalog {
    since: DateTime<Utc>,
    quakes: Vec<Quake>,
    /// The start of the present execution's range.
    begins: DateTime<Utc>,
}

#[derive(Debug, Clone)]
struct Quake {
    time: DateTime<Utc>,
    id: String,
    place: String,
}

fn since(ground: &ApiSetup) -> DateTime<Utc> {
    ground.now - TimeDelta::hours(75)
}

fn quake(time: DateTime<Utc>, number: usize) -> Quake {
    Quake { time, id: format!("us{number:06}"), place: format!("{number} km \"SSE\" of Ōita, Japan") }
}

impl Catalog {
    fn new(ground: &ApiSetup) -> Catalog {
        let begin = since(ground);
        // There is none on the second day.
        let hours = (0..24).chain(48..74);
        let quakes = hours.map(|hour| quake(begin + TimeDelta::minutes(hour as i64 * 60 + 17), hour));
        Catalog { since: begin, quakes: quakes.collect(), begins: begin }
    }
}

fn row(quake: &Quake) -> Value {
    json!({"time": millis(quake.time), "latitude": "33.2", "mag": "4.5", "id": quake.id, "place": quake.place, "type": "earthquake"})
}

fn line(quake: &Quake) -> String {
    let place = quake.place.replace('"', "\"\"");
    format!("{},33.2,4.5,{},\"{place}\",earthquake\n", millis(quake.time), quake.id)
}

impl ExampleApi for Catalog {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        if run == 1 {
            // One was reported late, and one is new.
            self.quakes.push(quake(now - TimeDelta::hours(20), 900));
            self.quakes.push(quake(now - TimeDelta::seconds(1), 901));
        }
        run < 2
    }

    fn answer(&mut self, ask: &ReceivedRequest, _now: DateTime<Utc>) -> UpstreamReply {
        let bad = |text: &str| {
            UpstreamReply::Raw(
                400,
                vec![("content-type", "text/plain".to_owned())],
                format!("Error 400: Bad Request\n\n{text}\n").into(),
            )
        };
        let time = |name: &str| {
            let time = NaiveDateTime::parse_from_str(param(ask, name)?, "%Y-%m-%dT%H:%M:%S").ok();
            time.map(|time| time.and_utc())
        };
        let (Some(from), Some(to)) = (time("starttime"), time("endtime")) else {
            return bad("starttime, endtime");
        };
        if ask.path != "/fdsnws/event/1/query"
            || (param(ask, "format"), param(ask, "orderby"), param(ask, "minmagnitude"))
                != (Some("csv"), Some("time-asc"), Some("2.5"))
        {
            return bad("format");
        }
        if to - from > TimeDelta::days(1) {
            return bad(
                "23456 matching events exceeds search limit of 20000. Modify the search to match fewer events.",
            );
        }
        if from + TimeDelta::days(1) < self.since {
            return bad("this test wants what the plan says");
        }
        let mut found: Vec<&Quake> =
            self.quakes.iter().filter(|quake| (from..=to).contains(&quake.time)).collect();
        found.sort_by_key(|quake| quake.time);
        if found.is_empty() {
            return UpstreamReply::Raw(204, Vec::new(), bytes::Bytes::new());
        }
        let lines: String = found.into_iter().map(line).collect();
        let text = format!("time,latitude,mag,id,place,type\n{lines}");
        UpstreamReply::Raw(200, vec![("content-type", "text/csv;charset=UTF-8".to_owned())], text.into())
    }

    fn expected(&self, run: usize, started: DateTime<Utc>) -> ExpectedOutcome {
        // The first execution read up to its own start; the second begins one day before that,
        // within a minute.
        let from =
            if run == 0 { self.begins } else { started - TimeDelta::hours(24) - TimeDelta::minutes(9) };
        let due = self.quakes.iter().filter(|quake| quake.time >= from && quake.time <= started);
        ExpectedOutcome::rows("quakes", due.map(row).collect())
    }
}

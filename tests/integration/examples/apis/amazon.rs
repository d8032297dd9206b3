//! Amazon's Selling Partner API: reports. One is asked for, polled, and fetched from another host
//! by a signed url; it is a table with tabs, gzip or not, and in the encoding that its content type
//! says.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, body, escaped, header, instant, param, unescaped};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "amazon-report",
    values: |ground| json!({"base_url": ground.url, "marketplace": "A1PA6795UKMFR9"}),
    api: |ground| Box::new(Amazon::new(ground)),
};

/// The fate of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Gzip,
    Plain,
    Empty,
    Fatal,
    /// It stays in the queue.
    Never,
}

#[derive(Debug)]
struct Report {
    fate: Fate,
    polls: usize,
    cancelled: bool,
}

struct Amazon {
    ground: ApiSetup,
    reports: Vec<Report>,
    documents: PageTokens<Fate>,
    signatures: PageTokens<(Fate, DateTime<Utc>)>,
    quota: Turnstile,
    fate: Fate,
    /// The start that the next report must have.
    begins: String,
    /// The end of the last report that was requested.
    ended: String,
}

const NAMES: [&str; 4] = ["amazon-order-id", "last-updated-date", "item-name", "quantity"];

fn rows(fate: Fate) -> Vec<[String; 4]> {
    let count = match fate {
        Fate::Gzip => 60,
        Fate::Plain => 3,
        Fate::Empty | Fate::Fatal | Fate::Never => 0,
    };
    let row = |number: usize| {
        [
            format!("028-{number:07}"),
            "2026-01-15T10:30:00+00:00".into(),
            format!("12\" vinyl, \"Bücher {number}"),
            "01".into(),
        ]
    };
    (0..count).map(row).collect()
}

fn table(fate: Fate) -> String {
    let header = NAMES.map(str::to_owned);
    [header].into_iter().chain(rows(fate)).map(|row| row.join("\t") + "\r\n").collect()
}

fn error(status: u16, code: &str) -> UpstreamReply {
    UpstreamReply::Json(
        status,
        json!({"errors": [{"code": code, "message": "as the code says", "details": ""}]}),
    )
}

impl Amazon {
    fn new(ground: &ApiSetup) -> Amazon {
        Amazon {
            ground: ground.clone(),
            reports: Vec::new(),
            documents: PageTokens::new(),
            signatures: PageTokens::new(),
            // A minute is too long in real time.
            quota: Turnstile::shut_at(u32::from(ground.patient)),
            fate: Fate::Never,
            begins: "2026-01-01T00:00:00Z".to_owned(),
            ended: String::new(),
        }
    }

    fn submit(&mut self, asked: &Value) -> UpstreamReply {
        if self.quota.refuses() {
            return error(429, "QuotaExceeded");
        }
        let end = asked["dataEndTime"].as_str().unwrap_or_default();
        if asked["dataStartTime"] != self.begins
            || instant(end).is_none()
            || asked["marketplaceIds"] != json!(["A1PA6795UKMFR9"])
            || asked["reportType"] != "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
        {
            return error(400, "InvalidInput");
        }
        end.clone_into(&mut self.ended);
        self.reports.push(Report { fate: self.fate, polls: 0, cancelled: false });
        UpstreamReply::Json(202, json!({"reportId": format!("ID{}", self.reports.len())}))
    }

    fn poll(&mut self, number: usize) -> UpstreamReply {
        let Some(report) = self.reports.get_mut(number.wrapping_sub(1)) else {
            return error(404, "NotFound");
        };
        report.polls += 1;
        let status = match (report.polls, report.fate) {
            (1, _) | (_, Fate::Never) => "IN_QUEUE",
            (2, _) => "IN_PROGRESS",
            (_, Fate::Gzip | Fate::Plain) => "DONE",
            (_, Fate::Empty) => "CANCELLED",
            (_, Fate::Fatal) => "FATAL",
        };
        let mut report_json = json!({"reportId": format!("ID{number}"), "processingStatus": status});
        if status == "DONE" {
            report_json["reportDocumentId"] = json!(self.documents.issue(report.fate));
        }
        UpstreamReply::ok(report_json)
    }

    fn document(&mut self, id: &str, now: DateTime<Utc>) -> UpstreamReply {
        let Some(fate) = self.documents.get(id).copied() else { return error(404, "NotFound") };
        let signature = escaped(&self.signatures.issue((fate, now)));
        let url =
            format!("{}/documents/one?X-Amz-Expires=300&X-Amz-Signature={signature}", self.ground.other);
        let mut document = json!({"reportDocumentId": id, "url": url});
        if fate == Fate::Gzip {
            document["compressionAlgorithm"] = json!("GZIP");
        }
        UpstreamReply::ok(document)
    }

    /// Returns the response of the documents' host.
    fn download(&self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        let signed = param(ask, "X-Amz-Signature").and_then(|signature| self.signatures.get(signature));
        let denied = || {
            UpstreamReply::Raw(
                403,
                vec![("content-type", "application/xml".to_owned())],
                "<Error><Code>AccessDenied</Code></Error>".into(),
            )
        };
        let Some((fate, signed)) = signed else { return denied() };
        if (now - *signed).num_seconds() > 300 || !header(ask, "x-amz-access-token").is_empty() {
            return denied();
        }
        if *fate == Fate::Gzip {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(table(*fate).as_bytes()).unwrap();
            let kind = vec![("content-type", "application/octet-stream".to_owned())];
            return UpstreamReply::Raw(200, kind, gzip.finish().unwrap().into());
        }
        // In this encoding, each of these letters is its code point.
        let latin: Vec<u8> = table(*fate).chars().map(|letter| letter as u8).collect();
        let kind = "text/tab-separated-values; charset=windows-1252".to_owned();
        UpstreamReply::Raw(200, vec![("content-type", kind)], latin.into())
    }
}

impl ExampleApi for Amazon {
    fn begin(&mut self, run: usize, _now: DateTime<Utc>) -> bool {
        if matches!(self.fate, Fate::Gzip | Fate::Plain) {
            self.begins.clone_from(&self.ended);
        }
        self.fate = match run {
            0 => Fate::Gzip,
            1 => Fate::Empty,
            2 => Fate::Fatal,
            3 => Fate::Plain,
            4 if self.ground.patient => Fate::Never,
            // It stays in the queue for too long, and the job times out.
            5 => Fate::Never,
            _ => return false,
        };
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        if ask.path.starts_with("/documents/") {
            return self.download(ask, now);
        }
        if header(ask, "x-amz-access-token") != variable("AMAZON_ACCESS_TOKEN") {
            return error(403, "Unauthorized");
        }
        let path = ask.path.strip_prefix("/reports/2021-06-30/").unwrap_or_default();
        let number = path.strip_prefix("reports/ID").and_then(|number| number.parse().ok());
        match (ask.method.as_str(), path.strip_prefix("documents/"), number) {
            ("POST", None, None) if path == "reports" => self.submit(&body(ask)),
            ("GET", None, Some(number)) => self.poll(number),
            ("DELETE", None, Some(number)) => match self.reports.get_mut(number.wrapping_sub(1)) {
                Some(report) => {
                    report.cancelled = true;
                    UpstreamReply::Raw(200, Vec::new(), bytes::Bytes::new())
                }
                None => error(404, "NotFound"),
            },
            ("GET", Some(id), None) => self.document(&unescaped(id), now),
            _ => error(404, "NotFound"),
        }
    }

    fn cancels(&self, run: usize) -> bool {
        run == 4
    }

    fn expected(&self, run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        let row = |row: [String; 4]| {
            NAMES.iter().zip(row).map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
        };
        if run > 3 {
            let last = self.reports.last().expect("a report");
            assert!(last.cancelled, "the report was not cancelled");
        }
        match run {
            2 => ExpectedOutcome::nothing().ended("failed", &["JOB_FAILED"]),
            4 => ExpectedOutcome::nothing().ended("cancelled", &[]),
            5 => ExpectedOutcome::nothing().ended("failed", &["JOB_TIMEOUT"]),
            _ => ExpectedOutcome::rows("orders.rows", rows(self.fate).into_iter().map(row).collect()),
        }
    }
}

//! A SOAP 1.1 service of orders: XML both ways. A fault has the status 500, also one that will not
//! pass.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, header, instant, page, seconds};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "soap-orders",
    values: |ground| json!({"base_url": ground.url, "user": "a <user> & \"more\""}),
    api: |ground| Box::new(Orders::new(ground)),
};

struct Orders {
    orders: Vec<(usize, DateTime<Utc>)>,
    places: PageTokens<usize>,
    hiccup: Turnstile,
    locked_out: bool,
    due: Vec<(usize, DateTime<Utc>)>,
}

impl Orders {
    fn new(ground: &ApiSetup) -> Orders {
        let begin = ground.now - TimeDelta::days(1);
        let orders = (0..230).map(|number| (number, begin + TimeDelta::seconds(number as i64)));
        Orders {
            orders: orders.collect(),
            places: PageTokens::new(),
            hiccup: Turnstile::shut_at(2),
            locked_out: false,
            due: Vec::new(),
        }
    }
}

fn xml(&(number, modified): &(usize, DateTime<Utc>)) -> String {
    let lines: String = (0..number % 3)
        .map(|line| format!("<n1:Line sku=\"s{line}\">{line} &lt;pcs&gt;</n1:Line>"))
        .collect();
    format!(
        "<n1:Order id=\"{number}\"><n1:Modified>{}</n1:Modified>{lines}<n1:Note/></n1:Order>",
        seconds(modified)
    )
}

fn row(&(number, modified): &(usize, DateTime<Utc>)) -> Value {
    let line = |line: usize| json!({"@sku": format!("s{line}"), "#text": format!("{line} <pcs>")});
    let mut row = json!({"@id": number.to_string(), "Modified": seconds(modified), "Note": null});
    if number % 3 > 0 {
        row["Line"] = (0..number % 3).map(line).collect();
    }
    row
}

fn envelope(status: u16, body: &str) -> UpstreamReply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\">\
         <S:Body>{body}</S:Body></S:Envelope>"
    );
    UpstreamReply::Raw(status, vec![("content-type", "text/xml; charset=utf-8".to_owned())], text.into())
}

fn fault(code: &str, text: &str) -> UpstreamReply {
    envelope(
        500,
        &format!("<S:Fault><faultcode>S:{code}</faultcode><faultstring>{text}</faultstring></S:Fault>"),
    )
}

/// Returns the text of an element that occurs once.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<o:{name}>"))?;
    rest.split_once(&format!("</o:{name}>")).map(|(text, _)| text)
}

impl ExampleApi for Orders {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => self.due = self.orders.clone(),
            // Only the last one again: a list of one element.
            1 => self.due = self.orders.last().copied().into_iter().collect(),
            2 => {
                self.orders.push((230, now));
                self.due = self.orders[229..].to_vec();
            }
            3 => self.locked_out = true,
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, _now: DateTime<Utc>) -> UpstreamReply {
        if ask.method != "POST"
            || ask.path != "/services/orders"
            || !header(ask, "content-type").starts_with("text/xml")
        {
            return UpstreamReply::Raw(404, Vec::new(), bytes::Bytes::new());
        }
        if header(ask, "soapaction") != "\"urn:example:orders#GetOrders\"" {
            return fault("Client", "no such action");
        }
        let asked = String::from_utf8_lossy(&ask.body).into_owned();
        let password = variable("ORDER_SERVICE_PASSWORD");
        if element(&asked, "User") != Some("a &lt;user&gt; &amp; &quot;more&quot;")
            || element(&asked, "Password") != Some(&password)
            || self.locked_out
        {
            return fault("Client", "not known here");
        }
        if self.hiccup.refuses() {
            return fault("Server", "the database is busy");
        }
        let Some(since) = element(&asked, "ModifiedSince").and_then(instant) else {
            return fault("Client", "ModifiedSince");
        };
        let start = match element(&asked, "PageToken") {
            Some("") => Some(0),
            Some(token) => self.places.get(token).copied(),
            None => None,
        };
        let Some(start) = start else { return fault("Client", "PageToken") };
        let found: Vec<_> = self.orders.iter().filter(|(_, modified)| *modified >= since).copied().collect();
        let (orders, next) = page(&found, start, 100);
        let token = next.map(|next| self.places.issue(next)).unwrap_or_default();
        let orders: String = orders.iter().map(xml).collect();
        envelope(
            200,
            &format!(
                "<n1:GetOrdersResponse xmlns:n1=\"urn:example:orders\"><n1:Orders>{orders}</n1:Orders>\
             <n1:NextPageToken>{token}</n1:NextPageToken></n1:GetOrdersResponse>"
            ),
        )
    }

    fn expected(&self, run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        match run {
            3 => ExpectedOutcome::nothing().ended("aborted", &["ABORT_WHEN"]),
            _ => ExpectedOutcome::rows("orders", self.due.iter().map(row).collect()),
        }
    }
}

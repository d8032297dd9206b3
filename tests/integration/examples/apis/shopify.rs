//! Shopify: orders by GraphQL. Errors have the status 200; an `endCursor` encodes a position in the
//! order of `sortKey`.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, body, header, instant, seconds};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "shopify-orders-graphql",
    values: |ground| json!({"base_url": ground.url}),
    api: |ground| Box::new(Shopify::new(ground)),
};

struct Shopify {
    ground: ApiSetup,
    orders: Vec<Value>,
    /// The change time and the id of a page's last order.
    places: PageTokens<(DateTime<Utc>, usize)>,
    throttle: Turnstile,
    /// Whether every query is throttled.
    busy: bool,
    /// Whether the app has lost a scope.
    denied: bool,
    due: Vec<Value>,
}

fn order(number: usize, updated: DateTime<Utc>) -> Value {
    json!({
        "id": format!("gid://shopify/Order/{number}"), "name": format!("#{number}"), "createdAt": "2025-12-24T18:00:00Z",
        "updatedAt": seconds(updated), "displayFinancialStatus": "PAID",
        "totalPriceSet": {"shopMoney": {"amount": "10.10", "currencyCode": "EUR"}},
    })
}

/// The sort key of an order by its change.
fn place(order: &Value) -> (DateTime<Utc>, usize) {
    let updated = order["updatedAt"].as_str().and_then(instant).unwrap_or_default();
    let number = order["name"].as_str().and_then(|name| name[1..].parse().ok());
    (updated, number.unwrap_or_default())
}

fn refused(code: &str) -> UpstreamReply {
    UpstreamReply::ok(
        json!({"errors": [{"message": code, "locations": [{"line": 1, "column": 1}], "extensions": {"code": code}}]}),
    )
}

impl Shopify {
    fn new(ground: &ApiSetup) -> Shopify {
        let begin = ground.now - TimeDelta::days(5);
        let orders = (1001..1251).map(|number| order(number, begin + TimeDelta::minutes(number as i64 / 9)));
        Shopify {
            ground: ground.clone(),
            orders: orders.collect(),
            places: PageTokens::new(),
            throttle: Turnstile::shut_at(2),
            busy: false,
            denied: false,
            due: Vec::new(),
        }
    }

    fn page(&mut self, variables: &Value) -> Option<Value> {
        let filter = variables["filter"].as_str()?;
        let since = instant(filter.strip_prefix("updated_at:>='")?.strip_suffix('\'')?)?;
        let after = match variables.get("after") {
            None => None,
            Some(after) => Some(*self.places.get(after.as_str()?)?),
        };
        let mut found: Vec<&Value> = self.orders.iter().filter(|one| place(one).0 >= since).collect();
        found.sort_by_key(|one| place(one));
        found.retain(|one| after.is_none_or(|after| place(one) > after));
        let first = usize::try_from(variables["first"].as_u64()?).ok()?;
        let nodes: Vec<Value> = found.iter().take(first).copied().cloned().collect();
        let has_next = found.len() > first;
        let end = nodes.last().map(place).map(|place| self.places.issue(place));
        Some(json!({"nodes": nodes, "pageInfo": {"hasNextPage": has_next, "endCursor": end}}))
    }
}

impl ExampleApi for Shopify {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        (self.busy, self.denied) = (false, false);
        match run {
            0 => self.due = self.orders.clone(),
            1 => {
                let last = self.due.iter().map(|one| place(one).0).max().unwrap_or_default();
                self.orders[0] = order(1001, now);
                let since = last - TimeDelta::minutes(1);
                self.due = self.orders.iter().filter(|one| place(one).0 >= since).cloned().collect();
            }
            2 => self.denied = true,
            // Exhausting the retries takes minutes.
            3 if self.ground.patient => self.busy = true,
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, _now: DateTime<Utc>) -> UpstreamReply {
        if header(ask, "x-shopify-access-token") != variable("SHOPIFY_ACCESS_TOKEN") {
            return UpstreamReply::Json(
                401,
                json!({"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}),
            );
        }
        if ask.method != "POST" || ask.path != "/admin/api/2025-01/graphql.json" {
            return UpstreamReply::Json(404, json!({"errors": "Not Found"}));
        }
        if self.denied {
            return refused("ACCESS_DENIED");
        }
        if self.busy || self.throttle.refuses() {
            return refused("THROTTLED");
        }
        let asked = body(ask);
        let query = asked["query"].as_str().unwrap_or_default();
        if !query.contains("sortKey: UPDATED_AT") || query.matches('{').count() != query.matches('}').count()
        {
            return refused("undefinedField");
        }
        match self.page(&asked["variables"]) {
            Some(orders) => UpstreamReply::ok(json!({
                "data": {"orders": orders},
                "extensions": {"cost": {"requestedQueryCost": 112, "actualQueryCost": 52,
                    "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1948, "restoreRate": 100.0}}},
            })),
            None => refused("argumentLiteralsIncompatible"),
        }
    }

    fn expected(&self, run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        match run {
            2 => ExpectedOutcome::nothing().ended("aborted", &["ABORT_WHEN"]),
            3 => ExpectedOutcome::nothing().partial(&["IGNORED"]),
            _ => ExpectedOutcome::rows("orders", self.due.clone()),
        }
    }
}

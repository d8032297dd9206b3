//! HubSpot: the search of contacts. Filters are compared as numbers; `after` counts results and is
//! refused from 10,000 on; a contact is found some seconds after its change.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{Turnstile, body, header, instant, millis};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "hubspot-contacts-search",
    values: |ground| json!({"base_url": ground.url}),
    api: |ground| Box::new(HubSpot::new(ground)),
};

/// The time until the search finds a change.
const INDEXED_AFTER: TimeDelta = TimeDelta::seconds(20);

struct HubSpot {
    contacts: Vec<(u64, DateTime<Utc>)>,
    /// The upper bound of the last search, in milliseconds.
    asked_to: i64,
    limit: Turnstile,
    due: Vec<Value>,
}

fn contact((id, modified): &(u64, DateTime<Utc>)) -> Value {
    json!({
        "id": id.to_string(), "archived": false, "createdAt": "2025-01-01T00:00:00Z", "updatedAt": millis(*modified),
        "properties": {"email": format!("c{id}@example.com"), "firstname": null, "lastname": "Ōé",
            "hs_object_id": id.to_string(), "lastmodifieddate": millis(*modified)},
    })
}

impl HubSpot {
    fn new(ground: &ApiSetup) -> HubSpot {
        let modified = ground.now - TimeDelta::days(3);
        // Ids have different lengths and would not sort as text; an import changes all in the same
        // millisecond.
        let contacts = (0..250).map(|number| (95 + number * 7, modified)).collect();
        HubSpot { contacts, asked_to: 0, limit: Turnstile::shut_at(2), due: Vec::new() }
    }

    fn search(&mut self, asked: &Value, now: DateTime<Utc>) -> Option<Value> {
        let after: usize = asked.get("after").map_or(Some(0), |after| after.as_str()?.parse().ok())?;
        let limit = usize::try_from(asked["limit"].as_u64()?).ok().filter(|limit| *limit <= 100)?;
        if after + limit > 10_000
            || asked["sorts"] != json!([{"propertyName": "hs_object_id", "direction": "ASCENDING"}])
        {
            return None;
        }
        let filters = asked["filterGroups"][0]["filters"].as_array()?;
        let number = |value: &Value| value.as_str()?.parse::<i64>().ok();
        let mut found = self.contacts.clone();
        found.retain(|(_, modified)| now - *modified >= INDEXED_AFTER);
        for filter in filters {
            let value = number(&filter["value"])?;
            match (filter["propertyName"].as_str()?, filter["operator"].as_str()?) {
                ("lastmodifieddate", "BETWEEN") => {
                    let range = value..=number(&filter["highValue"])?;
                    self.asked_to = *range.end();
                    found.retain(|(_, modified)| range.contains(&modified.timestamp_millis()));
                }
                ("hs_object_id", "GT") => found.retain(|(id, _)| *id as i64 > value),
                _ => return None,
            }
        }
        found.sort_unstable();
        let total = found.len();
        let results: Vec<Value> = found.iter().skip(after).take(limit).map(contact).collect();
        let next = after + results.len();
        let mut body = json!({"total": total, "results": results});
        if next < total {
            body["paging"] = json!({"next": {"after": next.to_string(), "link": format!("?after={next}")}});
        }
        Some(body)
    }
}

impl ExampleApi for HubSpot {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        let due: Vec<(u64, DateTime<Utc>)> = match run {
            0 => self.contacts.clone(),
            1 => {
                // One changed just after the searched range and one just now: they are left to a
                // later execution.
                let changed = DateTime::from_timestamp_millis(self.asked_to + 1).unwrap_or_default();
                self.contacts[0].1 = changed;
                self.contacts.push((100_000, now));
                vec![(95, changed)]
            }
            _ => return false,
        };
        self.due = due.iter().map(contact).collect();
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, now: DateTime<Utc>) -> UpstreamReply {
        let error = |status: u16, category: &str| {
            UpstreamReply::Json(
                status,
                json!({"status": "error", "message": "as the category says", "category": category}),
            )
        };
        if header(ask, "authorization") != format!("Bearer {}", variable("HUBSPOT_ACCESS_TOKEN")) {
            return error(401, "INVALID_AUTHENTICATION");
        }
        if ask.method != "POST" || ask.path != "/crm/v3/objects/contacts/search" {
            return error(404, "OBJECT_NOT_FOUND");
        }
        if self.limit.refuses() {
            let body = json!({"status": "error", "message": "You have reached your secondly limit.", "errorType": "RATE_LIMIT",
                "policyName": "SECONDLY"});
            return UpstreamReply::Json(429, body);
        }
        match self.search(&body(ask), now) {
            Some(body) => UpstreamReply::ok(body),
            None => error(400, "VALIDATION_ERROR"),
        }
    }

    fn expected(&self, _run: usize, _started: DateTime<Utc>) -> ExpectedOutcome {
        ExpectedOutcome::rows("contacts", self.due.clone())
    }
}

#[test]
fn server_compares_times_as_numbers() {
    let now = instant("2026-01-15T10:30:00Z").unwrap();
    let ground = ApiSetup { now, url: String::new(), other: String::new(), calm: true, patient: true };
    let filter = |from: i64| {
        json!({"limit": 100, "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
        "filterGroups": [{"filters": [{"propertyName": "lastmodifieddate", "operator": "BETWEEN", "value": from.to_string(),
            "highValue": now.timestamp_millis().to_string()}]}]})
    };
    let modified = (now - TimeDelta::days(3)).timestamp_millis();
    let found = |from| HubSpot::new(&ground).search(&filter(from), now).unwrap()["total"].clone();
    assert_eq!((found(modified), found(modified + 1)), (json!(250), json!(0)));
}

//! Guesses the shape of an API from its first response: where the rows are and how the response
//! names the next page.
//!
//! Pure: takes a message and returns fields of a step. It leaves out what it cannot recognise.

use serde_json::{Value, json};

use orchid_common::paging::{MemberType, PagingMember, body_expression, is_url, paging_member};

use super::check::rows;
use crate::kafka::Message;

/// Names of members that usually hold the rows, most likely first.
const ROW_MEMBERS: [&str; 14] = [
    "items", "data", "results", "records", "rows", "value", "values", "entries", "elements", "objects",
    "list", "result", "content", "hits",
];
/// Deepest object whose members may name the next page.
const POINTER_DEPTH_MAX: usize = 3;

/// The way to the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextPage {
    /// The `Link` header.
    LinkHeader,
    /// A URL in the body, read by this expression.
    BodyUrl(String),
}

/// The guessed shape of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiGuess {
    /// The expression that reads the rows, and their number in the first response.
    pub rows: Option<(String, usize)>,
    /// The way to the next page; `None` if the response names none.
    pub next: Option<NextPage>,
    /// An expression that may lead to the next page; only if `next` is unknown.
    pub pointer: Option<String>,
    /// Whether the body is JSON under another content type.
    pub mislabelled: bool,
}

impl ApiGuess {
    /// Guesses from the message of the first response.
    pub(super) fn from_message(message: &Message) -> Self {
        let kind = message.body["body_kind"].as_str().unwrap_or_default();
        let elements = rows(message);
        let parsed = match (kind, elements) {
            ("text", [Value::String(text)]) => serde_json::from_str(text).ok(),
            _ => None,
        };
        let mislabelled = parsed.is_some();
        let body = match (parsed, kind, elements) {
            (Some(parsed), _, _) => parsed,
            (None, "object", [object]) => object.clone(),
            (None, "array", elements) => Value::Array(elements.to_vec()),
            _ => Value::Null,
        };
        let rows = find_rows(&body);
        let links = message.body["response_headers"]["link"].as_str().unwrap_or_default();
        let pointers = if rows.is_some() { pointers(&body) } else { Vec::new() };
        let url = pointers.iter().find(|(_, value)| value.as_str().is_some_and(is_url));
        let next = match url {
            _ if rows.is_none() => None,
            _ if has_next(links) => Some(NextPage::LinkHeader),
            Some((path, _)) => Some(NextPage::BodyUrl(body_expression(path))),
            None => None,
        };
        let pointer = pointers.first().filter(|_| next.is_none()).map(|(path, _)| body_expression(path));
        Self { rows, next, pointer, mislabelled }
    }

    /// Returns the step fields that follow from the guess; `None` if there are no rows.
    pub(super) fn fields(&self) -> Option<Value> {
        let (rows, _) = self.rows.as_ref()?;
        let mut fields = json!({ "iterate_over": rows });
        match &self.next {
            Some(NextPage::LinkHeader) => fields["paginate"] = json!({ "type": "link_header" }),
            Some(NextPage::BodyUrl(value)) => {
                fields["paginate"] = json!({ "type": "next_url", "value": value })
            }
            None => {}
        }
        if self.mislabelled {
            fields["response"] = json!({ "format": "json" });
        }
        Some(fields)
    }
}

/// Finds the rows: the body itself, or the most likely list in it, at most two members deep.
fn find_rows(body: &Value) -> Option<(String, usize)> {
    let members = match body {
        Value::Array(rows) => return Some(("response.body".to_owned(), rows.len())),
        Value::Object(members) => members,
        _ => return None,
    };
    let mut lists: Vec<(Vec<&str>, &Vec<Value>)> = Vec::new();
    for (name, value) in members {
        match value {
            Value::Array(rows) => lists.push((vec![name], rows)),
            Value::Object(inner) => lists.extend(
                inner
                    .iter()
                    .filter_map(|(below, value)| Some((vec![name.as_str(), below], value.as_array()?))),
            ),
            _ => {}
        }
    }
    let likely = |(path, rows): &(Vec<&str>, &Vec<Value>)| {
        let objects = rows.first().is_some_and(Value::is_object);
        let name = path
            .last()
            .and_then(|last| ROW_MEMBERS.iter().position(|usual| usual.eq_ignore_ascii_case(last)));
        (objects, name.map_or(0, |rank| ROW_MEMBERS.len() - rank), usize::MAX - path.len(), rows.len())
    };
    let (path, rows) = lists.into_iter().max_by_key(likely)?;
    Some((body_expression(&path), rows.len()))
}

/// Finds the members outside of all lists that name the next page, with their paths.
fn pointers(body: &Value) -> Vec<(Vec<&str>, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), body)];
    while let Some((path, object)) = open.pop() {
        for (name, value) in object.as_object().into_iter().flatten() {
            let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
            let member_type = match value {
                Value::Object(_) if path.len() < POINTER_DEPTH_MAX => {
                    open.push((path, value));
                    continue;
                }
                Value::String(text) if !text.is_empty() => MemberType::Text,
                Value::Number(_) => MemberType::Number,
                _ => continue,
            };
            if paging_member(&path, member_type) == Some(PagingMember::Next) {
                found.push((path, value));
            }
        }
    }
    // The outermost is the likeliest; and a name with `next` says more than `cursor`.
    found.sort_by_key(|(path, _)| {
        let says_next = path.iter().any(|name| name.to_ascii_lowercase().contains("next"));
        (!says_next, path.len())
    });
    found
}

/// Returns whether a `Link` header (RFC 8288) has a link with the relation `next`.
fn has_next(links: &str) -> bool {
    links.to_ascii_lowercase().split("rel=").skip(1).any(|rest| {
        let relations = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split([';', ',', ' ']).next(),
        };
        relations.unwrap_or_default().split_whitespace().any(|relation| relation == "next")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &Value, link: &str) -> Message {
        let (kind, elements) = match body {
            Value::Array(rows) => ("array", rows.clone()),
            Value::Object(_) => ("object", vec![body.clone()]),
            Value::String(_) => ("text", vec![body.clone()]),
            _ => ("scalar", vec![body.clone()]),
        };
        Message {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            headers: [].into(),
            body: json!({"body_kind": kind, "response_body": elements, "response_headers": {"link": link}}),
        }
    }

    #[test]
    fn response_without_rows_has_no_next_page() {
        for body in [json!({"id": 1, "next": "/x"}), json!("<html>"), json!(7), json!({})] {
            let guess = ApiGuess::from_message(&response(&body, "</x>; rel=next"));
            assert_eq!((guess.fields(), guess.next, guess.pointer), (None, None, None), "{body}");
        }
    }

    #[test]
    fn most_likely_list_is_chosen_as_rows() {
        let row = json!([{"id": 1}]);
        let cases = [
            (json!([1, 2]), "response.body", 2),
            (json!([]), "response.body", 0),
            (json!({"orders": row, "total": 1}), "response.body.orders", 1),
            (json!({"data": [], "total": 0}), "response.body.data", 0),
            (json!({"tags": ["a", "b", "c"], "people": row}), "response.body.people", 1),
            (json!({"errors": row, "results": row}), "response.body.results", 1),
            (json!({"_embedded": {"books": row}}), "response.body._embedded.books", 1),
            (json!({"hits": {"hits": row, "total": 1}}), "response.body.hits.hits", 1),
            (json!({"list-of-things": row}), "response.body.\"list-of-things\"", 1),
            (json!("[{\"id\": 1}]"), "response.body", 1),
        ];
        for (body, expression, count) in cases {
            let guess = ApiGuess::from_message(&response(&body, ""));
            assert_eq!(guess.rows, Some((expression.to_owned(), count)), "{body}");
            assert_eq!(guess.mislabelled, body.is_string());
        }
    }

    #[test]
    fn next_page_is_read_from_header_or_body_url() {
        let url = |path: &str| Some(NextPage::BodyUrl(format!("response.body.{path}")));
        let cases = [
            (
                json!({"items": [1]}),
                "<http://a.test/x?page=2,3>; rel=\"next\", </>; rel=first",
                Some(NextPage::LinkHeader),
            ),
            (json!({"items": [1]}), "</x>; REL=next", Some(NextPage::LinkHeader)),
            (json!({"items": [1]}), "</x>; rel=\"last next\"", Some(NextPage::LinkHeader)),
            (json!({"items": [1]}), "</x>; rel=\"next-archive\", </next>; rel=prev", None),
            (json!({"items": [1], "next": "https://a.test/2"}), "", url("next")),
            (json!({"items": [1], "next": null}), "", None),
            (json!({"items": [1], "next": "abc"}), "", None),
            (json!({"items": [1], "next": "a/b?c+d=="}), "", url("next")),
            (json!({"items": [1], "next": "YWJj/ZGVm=="}), "", None),
            (json!({"items": [1], "links": {"next": "?page=2"}}), "", url("links.next")),
            (json!({"items": [1], "_links": {"next": {"href": "/2"}}}), "", url("_links.next.href")),
            (json!({"value": [1], "@odata.nextLink": "https://a.test/2"}), "", url("\"@odata.nextLink\"")),
        ];
        for (body, link, next) in cases {
            assert_eq!(ApiGuess::from_message(&response(&body, link)).next, next, "{body} {link}");
        }
    }

    #[test]
    fn pointer_is_kept_only_without_a_next_page() {
        let cases = [
            (json!({"items": [1], "next_cursor": "abc"}), Some("response.body.next_cursor")),
            (json!({"items": [1], "next": "abc"}), Some("response.body.next")),
            (json!({"items": [1], "next": "/2", "cursor": "abc"}), None),
            (json!({"items": [1], "next_cursor": ""}), None),
        ];
        for (body, pointer) in cases {
            assert_eq!(ApiGuess::from_message(&response(&body, "")).pointer.as_deref(), pointer, "{body}");
        }
    }
}

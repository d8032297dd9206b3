//! Looks for signs that an API has more pages than a plan has read.
//!
//! The commonest way to lose rows is to read page 1 of many: the execution succeeds, and nothing
//! looks wrong. So the response at which a loop ended, or the only one of a step without a loop, is
//! searched for what APIs say about further pages. Sizes alone are the weakest sign, because a list
//! may have exactly 100 rows: they count only if nothing says that the page is the last one.

use orchid_common::paging::{
    MemberType, PagingHeader, PagingMember, body_expression, is_default_page_size, is_page_size, is_url,
    paging_header, paging_member,
};
use orchid_plan::find_link;
use serde_json::Value as Json;
use url::Url;

use crate::body::EdgeMembers;

/// The end of a loop: its last response, and what was read before.
pub(crate) struct LoopEnd<'a> {
    /// The request that was answered.
    pub(crate) url: &'a Url,
    /// The body of that request.
    pub(crate) sent_body: Option<&'a str>,
    pub(crate) headers: &'a [(String, String)],
    /// All `Link` headers, joined.
    pub(crate) link: Option<&'a str>,
    /// Members near the edges of the body.
    pub(crate) members: &'a EdgeMembers<'a>,
    /// Rows of the last page, if known.
    pub(crate) rows: Option<u64>,
    /// Rows of all pages of the loop, if known.
    pub(crate) rows_read: Option<u64>,
    /// Number of pages that the loop has read.
    pub(crate) pages: u64,
    /// How the plan reads further pages.
    pub(crate) follows: FollowedPages,
}

/// How a plan reads the pages after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowedPages {
    /// Not at all.
    No,
    /// By a pointer that no response had, so that the loop ended at its first page.
    ByMissingPointer,
    /// By its `paginate`.
    ByPagination,
    /// By `while` alone.
    ByCondition,
}

/// The result of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MoreOffered {
    /// Nothing was found.
    No,
    /// The page is as full as pages usually are, and nothing says that it is the last one.
    Full,
    /// The API has offered another page.
    Yes {
        /// The sign, as the end of a sentence: `the Link header names a next page`.
        sign: String,
        /// The fields that follow the page, as JSON members of the step.
        advice: String,
    },
}

impl MoreOffered {
    fn yes(sign: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Yes { sign: sign.into(), advice: advice.into() }
    }
}

/// Searches the response at the end of a loop.
pub(crate) fn search(end: &LoopEnd<'_>) -> MoreOffered {
    if end.link.is_some_and(|link| matches!(find_link(link, "next"), Ok(Some(_)))) {
        let advice = r#""paginate": {"type": "link_header"}"#;
        return MoreOffered::yes("the Link header names a next page", advice);
    }
    // An object without a list is no page of a list: `next` and `total` mean something else there.
    // The last page of a loop may be empty, though.
    if end.pages <= 1 && end.rows.unwrap_or_default() == 0 && !end.members.has_list {
        return MoreOffered::No;
    }
    let evidence = Evidence::collect(end);
    // An API that says that this is its last page is believed. Some send a token even then.
    if evidence.says_last {
        return MoreOffered::No;
    }
    if let Some(found) = evidence.found {
        return found;
    }
    // Sizes say something only about a step that reads a single page: a loop has asked for the page
    // after the full one.
    if evidence.says_end || end.follows != FollowedPages::No {
        return MoreOffered::No;
    }
    let Some(rows) = end.rows.filter(|rows| *rows > 0) else { return MoreOffered::No };
    if requested_size(end) == Some(rows) {
        let sign = format!("the page has {rows} rows, as many as were requested");
        return MoreOffered::yes(sign, PAGE_ADVICE);
    }
    if is_default_page_size(rows) { MoreOffered::Full } else { MoreOffered::No }
}

/// The fields that read pages by their number.
pub(crate) const PAGE_ADVICE: &str =
    r#""paginate": {"type": "page", "param": "the API's page parameter"} (or "offset")"#;

/// The signs of further pages in a response, and those of their absence.
#[derive(Default)]
struct Evidence {
    /// The strongest sign of another page.
    found: Option<MoreOffered>,
    strength: u8,
    /// A flag says that this is the last page.
    says_last: bool,
    /// Something says that there is no other page: an empty pointer, or a total that was reached.
    says_end: bool,
}

impl Evidence {
    fn collect(end: &LoopEnd<'_>) -> Self {
        let mut evidence = Self { says_end: end.link.is_some(), ..Self::default() };
        for (name, value) in end.headers {
            if let Some(meaning) = paging_header(name) {
                evidence.header(end, meaning, name, value);
            }
        }
        let mut current = None;
        let mut pages = None;
        for (path, json) in end.members.iter() {
            let Some(meaning) = paging_member(&path, member_type(json)) else { continue };
            let value = serde_json::from_str(json).unwrap_or(Json::Null);
            match meaning {
                PagingMember::CurrentPage => current = count(&value).or(current),
                PagingMember::TotalPages => pages = count(&value).map(|count| (count, path)).or(pages),
                PagingMember::Next => evidence.next(end, &path, &value),
                PagingMember::MoreFollows => evidence.flag(&path, json == "true"),
                PagingMember::IsLast => evidence.flag(&path, json == "false"),
                PagingMember::TotalRows => {
                    evidence.total_rows(end, count(&value), &body_expression(&path));
                }
            }
        }
        if let Some((pages, path)) = pages {
            evidence.total_pages(end, pages, current, &body_expression(&path));
        }
        for list in &end.members.link_lists {
            evidence.link_list(list);
        }
        evidence
    }

    /// Takes a sign, unless a stronger one is known.
    fn add(&mut self, strength: u8, found: MoreOffered) {
        if strength > self.strength {
            (self.found, self.strength) = (Some(found), strength);
        }
    }

    fn header(&mut self, end: &LoopEnd<'_>, meaning: PagingHeader, name: &str, value: &str) {
        let value = value.trim();
        let expression = format!("response.headers.\"{name}\"");
        match meaning {
            PagingHeader::Next if value.is_empty() => self.says_end = true,
            PagingHeader::Next if end.follows.trusts_its_pointer() => {}
            PagingHeader::Next => {
                let advice = cursor_advice(&expression, name.trim_start_matches("x-"));
                self.add(4, MoreOffered::yes(format!("the header {name} names a next page"), advice));
            }
            PagingHeader::TotalRows => self.total_rows(end, value.parse().ok(), &expression),
            PagingHeader::TotalPages => {
                if let Ok(pages) = value.parse() {
                    self.total_pages(end, pages, None, &expression);
                }
            }
            PagingHeader::ContentRange => {
                let total = value.rsplit_once('/').and_then(|(_, total)| total.trim().parse().ok());
                self.total_rows(end, total, &expression);
            }
        }
    }

    /// Takes a member that holds the URL or token of the next page.
    fn next(&mut self, end: &LoopEnd<'_>, path: &[&str], value: &Json) {
        let expression = body_expression(path);
        let text = match value {
            Json::String(text) if text.is_empty() => {
                self.says_end = true;
                return;
            }
            Json::String(text) => text.clone(),
            Json::Number(number) => number.to_string(),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
                self.says_end = true;
                return;
            }
        };
        let sign = format!("{expression} names a next page");
        if is_url(&text) {
            let advice =
                format!(r#""paginate": {{"type": "next_url", "value": {}}}"#, Json::from(expression));
            self.add(5, MoreOffered::yes(sign, advice));
        } else if !end.follows.trusts_its_pointer() {
            let name = path.last().copied().unwrap_or_default();
            // An offset in digits is the one of this page.
            if name == "offset" && text.bytes().all(|byte| byte.is_ascii_digit()) {
                return;
            }
            // `cursor` alone may be the one of this page.
            let strength = if name.to_ascii_lowercase().contains("next") { 4 } else { 3 };
            self.add(strength, MoreOffered::yes(sign, cursor_advice(&expression, name)));
        }
    }

    /// Takes a flag about another page.
    fn flag(&mut self, path: &[&str], more: bool) {
        if !more {
            self.says_last = true;
            return;
        }
        let expression = body_expression(path);
        let value = if path.last().is_some_and(|name| name.to_ascii_lowercase().contains("last")) {
            format!("!({expression})")
        } else {
            expression.clone()
        };
        let advice = format!(r#"{PAGE_ADVICE} with "while": {}"#, Json::from(value));
        self.add(2, MoreOffered::yes(format!("{expression} says that more follows"), advice));
    }

    fn total_rows(&mut self, end: &LoopEnd<'_>, total: Option<u64>, expression: &str) {
        let (Some(total), Some(read)) = (total, end.rows_read) else { return };
        if total <= read {
            self.says_end = true;
        } else if read > 0 {
            let sign = format!("{expression} counts {total} rows, and {read} were read");
            self.add(1, MoreOffered::yes(sign, PAGE_ADVICE));
        }
    }

    fn total_pages(&mut self, end: &LoopEnd<'_>, pages: u64, current: Option<u64>, expression: &str) {
        // Pages may be counted from 0, so the number of pages read is compared too.
        if pages <= end.pages || current.is_some_and(|current| current >= pages) {
            self.says_end = true;
        } else if end.rows != Some(0) {
            let sign = format!("{expression} counts {pages} pages, and {} were read", end.pages);
            self.add(2, MoreOffered::yes(sign, PAGE_ADVICE));
        }
    }

    /// Takes a list of links with relations, as in FHIR and other hypermedia.
    fn link_list(&mut self, list: &str) {
        let Ok(Json::Array(links)) = serde_json::from_str(list) else { return };
        let relation = |link: &Json| ["rel", "relation"].iter().any(|name| link[*name] == "next");
        if links.iter().any(relation) {
            let advice = r#""paginate": {"type": "next_url", "value": "…the url of the link whose relation is next…"}"#;
            self.add(5, MoreOffered::yes("a link of the response has the relation next", advice));
        } else if links.iter().any(Json::is_object) {
            self.says_end = true;
        }
    }
}

impl FollowedPages {
    /// Returns whether the plan follows the API's own pointer, so that another token in the
    /// response is not one to follow.
    fn trusts_its_pointer(self) -> bool {
        match self {
            Self::ByPagination => true,
            Self::No | Self::ByMissingPointer | Self::ByCondition => false,
        }
    }
}

fn member_type(json: &str) -> MemberType {
    match json.as_bytes().first() {
        Some(b't' | b'f') => MemberType::Boolean,
        Some(b'"') => MemberType::Text,
        Some(b'n') | None => MemberType::Null,
        Some(_) => MemberType::Number,
    }
}

/// Returns a number that counts something; APIs also write them as text.
fn count(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn cursor_advice(expression: &str, name: &str) -> String {
    // `next_page_token` is usually sent back as `page_token`; `next` alone says no name.
    let param = name.strip_prefix("next_").or_else(|| name.strip_prefix("next-")).unwrap_or(name);
    let param = if param.eq_ignore_ascii_case("next") { "the API's cursor parameter" } else { param };
    let (value, param) = (Json::from(expression), Json::from(param));
    format!(r#""paginate": {{"type": "cursor", "value": {value}, "param": {param}}}"#)
}

/// Returns the page size that the request asks for, if any.
fn requested_size(end: &LoopEnd<'_>) -> Option<u64> {
    let params = end.url.query_pairs().filter(|(name, _)| is_page_size(name));
    let in_url = params.filter_map(|(_, value)| value.parse().ok()).next();
    in_url.or_else(|| {
        let members = EdgeMembers::read(end.sent_body?.as_bytes());
        let mut sizes = members.iter().filter(|(path, _)| path.last().is_some_and(|name| is_page_size(name)));
        sizes.find_map(|(_, json)| json.parse().ok())
    })
}

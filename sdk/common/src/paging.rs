//! The names by which APIs say that another page follows.
//!
//! The command line tool reads them to write the first plan for an API, and the executor reads them
//! to warn of a page that a plan does not follow. Names are compared by their letters and digits
//! alone, in lower case: `next_page_url`, `nextPageUrl` and `next-page-url` are one name.

/// The meaning of a member of a response body, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PagingMember {
    /// The URL of the next page, or a token that requests it. Missing, null or empty at the end.
    Next,
    /// A boolean that is true if another page follows.
    MoreFollows,
    /// A boolean that is true on the last page.
    IsLast,
    /// The number of rows on all pages.
    TotalRows,
    /// The number of pages.
    TotalPages,
    /// The number of this page.
    CurrentPage,
}

/// The type of a member's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberType {
    Boolean,
    Number,
    Text,
    Null,
}

/// The meaning of a response header, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PagingHeader {
    /// A page number or token of the next page. Missing or empty at the end.
    Next,
    /// The number of rows on all pages.
    TotalRows,
    /// The number of pages.
    TotalPages,
    /// The range of rows on this page and the number of all rows: `items 0-24/319`.
    ContentRange,
}

const NEXT: [&str; 28] = [
    "next",
    "nexturl",
    "nexturi",
    "nexthref",
    "nextlink",
    "nextpage",
    "nextpageurl",
    "nextpageuri",
    "nextpagelink",
    "nextrecordsurl",
    "odatanextlink",
    "nextcursor",
    "nextpagecursor",
    "nexttoken",
    "nextpagetoken",
    "nextmarker",
    "nextoffset",
    "nextstart",
    "nextstartingafter",
    "nextpageid",
    "nextid",
    "nextcontinuationtoken",
    "nextbatchid",
    "continue",
    "continuation",
    "continuationtoken",
    "cursor",
    "endcursor",
];
const MORE_FOLLOWS: [&str; 18] = [
    "hasmore",
    "hasnext",
    "hasnextpage",
    "hasmorepages",
    "hasmoreitems",
    "hasmoreresults",
    "hasmorerecords",
    "hasmoredata",
    "more",
    "moreresult",
    "moreresults",
    "morerecords",
    "moreavailable",
    "moreitemsincollection",
    "moredataavailable",
    "istruncated",
    "truncated",
    "exceededtransferlimit",
];
const IS_LAST: [&str; 6] = ["last", "islast", "lastpage", "islastpage", "done", "endofrecords"];
const TOTAL_ROWS: [&str; 21] = [
    "total",
    "count",
    "totalcount",
    "totalresults",
    "totalitems",
    "totalelements",
    "totalentries",
    "totalrecords",
    "totalrows",
    "rowcount",
    "totalsize",
    "totalhits",
    "numfound",
    "nbhits",
    "nhits",
    "found",
    "odatacount",
    "recordstotal",
    "resultstotal",
    "estimatedtotalhits",
    "totalmatches",
];
const TOTAL_PAGES: [&str; 8] =
    ["totalpages", "totalpage", "pages", "pagecount", "numpages", "nbpages", "lastpage", "pagetotal"];
const CURRENT_PAGE: [&str; 6] = ["page", "currentpage", "pagenumber", "pageno", "pageindex", "current"];
/// Names of the query parameters and body members that set the size of a page.
const PAGE_SIZE: [&str; 20] = [
    "limit",
    "perpage",
    "pagesize",
    "pagelimit",
    "pagelength",
    "size",
    "count",
    "first",
    "top",
    "rows",
    "num",
    "maxresults",
    "maxrecords",
    "maxitems",
    "results",
    "resultsperpage",
    "itemsperpage",
    "rowsperpage",
    "recordsperpage",
    "take",
];
/// Sizes of pages that APIs have by default.
const DEFAULT_SIZES: [u64; 27] = [
    10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 150, 200, 250, 300, 400, 500, 750, 800, 1000, 1024,
    1500, 2000, 2500, 5000, 10_000,
];

/// Returns the meaning of the member at a path, outermost name first; `None` if it says nothing
/// about pages.
///
/// The type of the value decides between the meanings of a name such as `last_page`.
pub fn paging_member(path: &[&str], value: MemberType) -> Option<PagingMember> {
    let (last, parents) = path.split_last()?;
    let parent = parents.last().copied().unwrap_or_default();
    let is = |names: &[&str]| names.iter().any(|known| same_name(last, known));
    if value == MemberType::Boolean {
        return match () {
            () if is(&MORE_FOLLOWS) => Some(PagingMember::MoreFollows),
            () if is(&IS_LAST) => Some(PagingMember::IsLast),
            () => None,
        };
    }
    // `paging.next.after`, `_links.next.href`, and every member of a key such as DynamoDB's.
    let below_next = same_name(parent, "next") || same_name(parent, "nextpage");
    let pointer = ["href", "url", "uri", "link", "after", "cursor", "startingafter"];
    let key = parents.iter().any(|name| same_name(name, "lastevaluatedkey"));
    // Reddit's `data.after`; but Facebook's `paging.cursors.after` is there on the last page too.
    let after = same_name(last, "after") && same_name(parent, "data");
    // A number is the offset of this page, but a text is Airtable's token for the next one.
    let offset = value == MemberType::Text && same_name(last, "offset");
    if is(&NEXT) || (below_next && is(&pointer)) || key || after || offset {
        return Some(PagingMember::Next);
    }
    // Elasticsearch's `hits.total.value`.
    if is(&TOTAL_ROWS) || (same_name(last, "value") && same_name(parent, "total")) {
        return Some(PagingMember::TotalRows);
    }
    if is(&TOTAL_PAGES) {
        return Some(PagingMember::TotalPages);
    }
    is(&CURRENT_PAGE).then_some(PagingMember::CurrentPage)
}

/// Returns the meaning of a response header; `None` if it says nothing about pages.
///
/// The `Link` header is not among them: it has a grammar of its own.
pub fn paging_header(name: &str) -> Option<PagingHeader> {
    // Every header of every response is looked up, and few begin with one of these letters.
    if !name.starts_with(['x', 'X', 't', 'T', 'n', 'N', 'c', 'C', 'p', 'P']) {
        return None;
    }
    let name = name.strip_prefix("x-").unwrap_or(name);
    let is = |names: &[&str]| names.iter().any(|known| same_name(name, known));
    match () {
        () if is(&["nextpage", "nextcursor", "nextpagetoken", "continuationtoken", "mscontinuation"]) => {
            Some(PagingHeader::Next)
        }
        () if is(&["total", "totalcount", "totalresults", "wptotal", "paginationtotalcount"]) => {
            Some(PagingHeader::TotalRows)
        }
        () if is(&["totalpages", "pagecount", "wptotalpages", "paginationpagecount"]) => {
            Some(PagingHeader::TotalPages)
        }
        () if is(&["contentrange"]) => Some(PagingHeader::ContentRange),
        () => None,
    }
}

/// Returns whether a query parameter or body member sets the size of a page.
pub fn is_page_size(name: &str) -> bool {
    // JSON:API writes `page[size]`.
    PAGE_SIZE.iter().any(|known| same_name(name, known))
}

/// Returns whether APIs commonly have pages of this size by default.
pub fn is_default_page_size(rows: u64) -> bool {
    DEFAULT_SIZES.binary_search(&rows).is_ok() || (rows > 10_000 && rows.is_multiple_of(10_000))
}

/// Returns whether a text is an absolute or relative URL rather than an opaque token.
pub fn is_url(text: &str) -> bool {
    let starts = ["http://", "https://", "/", "./", "?"];
    let query = text.split_once('?').is_some_and(|(_, query)| query.contains('='));
    query || starts.iter().any(|start| text.starts_with(start))
}

/// Returns the expression that reads the member of a response body at a path.
pub fn body_expression(path: &[&str]) -> String {
    let plain = |name: &str| {
        name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && name.starts_with(|first: char| !first.is_ascii_digit())
    };
    path.iter().fold("response.body".to_owned(), |expression, name| {
        if plain(name) {
            format!("{expression}.{name}")
        } else {
            format!("{expression}.\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
        }
    })
}

/// Compares a name with a known one, which is in lower case and has only letters and digits.
fn same_name(name: &str, known: &str) -> bool {
    let mut letters = name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    known.bytes().all(|byte| letters.next() == Some(byte)) && letters.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_names_are_compared_by_letters_and_digits() {
        for name in ["next_page_url", "nextPageUrl", "next-page-url", "NextPageURL"] {
            assert_eq!(paging_member(&[name], MemberType::Text), Some(PagingMember::Next), "{name}");
        }
        assert_eq!(paging_member(&["@odata.nextLink"], MemberType::Text), Some(PagingMember::Next));
        for name in ["nextpageurls", "nextpag", "", "_"] {
            assert_eq!(paging_member(&[name], MemberType::Text), None, "{name:?}");
        }
    }

    #[test]
    fn type_of_the_value_decides_between_two_meanings() {
        assert_eq!(paging_member(&["meta", "last_page"], MemberType::Text), Some(PagingMember::TotalPages));
        assert_eq!(paging_member(&["meta", "last_page"], MemberType::Boolean), Some(PagingMember::IsLast));
        assert_eq!(paging_member(&["next"], MemberType::Boolean), None);
        assert_eq!(paging_member(&["offset"], MemberType::Text), Some(PagingMember::Next));
        assert_eq!(paging_member(&["offset"], MemberType::Number), None);
    }

    #[test]
    fn parents_decide_where_a_name_alone_says_too_little() {
        assert_eq!(paging_member(&["_links", "next", "href"], MemberType::Text), Some(PagingMember::Next));
        assert_eq!(paging_member(&["_links", "self", "href"], MemberType::Text), None);
        assert_eq!(paging_member(&["paging", "next", "after"], MemberType::Text), Some(PagingMember::Next));
        assert_eq!(paging_member(&["paging", "cursors", "after"], MemberType::Text), None);
        assert_eq!(
            paging_member(&["hits", "total", "value"], MemberType::Text),
            Some(PagingMember::TotalRows)
        );
        assert_eq!(paging_member(&["price", "value"], MemberType::Text), None);
        assert_eq!(
            paging_member(&["LastEvaluatedKey", "id", "S"], MemberType::Text),
            Some(PagingMember::Next)
        );
    }

    #[test]
    fn sizes_are_in_order_for_the_binary_search() {
        assert!(DEFAULT_SIZES.is_sorted());
        assert!(is_default_page_size(100) && is_default_page_size(50_000));
        assert!(!is_default_page_size(0) && !is_default_page_size(99) && !is_default_page_size(10_001));
    }

    #[test]
    fn names_that_are_not_plain_are_quoted() {
        assert_eq!(body_expression(&["meta", "next"]), "response.body.meta.next");
        assert_eq!(body_expression(&["@odata.nextLink"]), "response.body.\"@odata.nextLink\"");
        assert_eq!(body_expression(&["a\"b"]), "response.body.\"a\\\"b\"");
    }
}

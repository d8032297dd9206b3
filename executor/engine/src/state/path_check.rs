//! Detects paths that never lead anywhere. A wrong path reads as null and looks like the end of the
//! data, so a plan with a typo would succeed without data.
//!
//! It looks at the body of each response. For each watched expression whose member was in none of
//! them, it creates a warning that names the members found instead.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use orchid_common::suggest::most_similar;
use orchid_plan::{PaginationKind, RawMembers, RowSelector, Step, ValueError};

use crate::body::Body;
use crate::checkpoint::path_observations::{BrokenPath, PathObservation, PathObservations};
use crate::progress::Warning;

/// Most members that a warning names.
const MEMBERS_MAX: usize = 12;

/// The depth of a broken path if the missing member is unknown, as for streamed rows.
const UNKNOWN_DEPTH: usize = usize::MAX;

/// Members of the objects on the way, by path, so that a common prefix of several paths is parsed
/// once.
type ParsedLevels<'b, 'p> = BTreeMap<&'p [String], BTreeMap<Cow<'b, str>, &'b [u8]>>;

/// An expression with the body paths that it reads.
#[derive(Debug, Clone)]
struct WatchedExpr {
    pointer: String,
    /// Paths below `response.body`; never empty.
    paths: Vec<Vec<String>>,
    /// True if a missing member ends the loop.
    ends_loop: bool,
}

/// The watched expressions of one step.
#[derive(Debug, Clone)]
pub(crate) struct PathCheck {
    watched: Vec<WatchedExpr>,
    /// Pointer of an `iterate_over` with a filter.
    filter: Option<String>,
    /// Pointer of `stop_on`.
    stop_on: Option<String>,
    /// The path of `paginate.value` and its pointer in the plan, if pages are compared: those
    /// without `iterate_over`, which has a check of its own.
    pointer_path: Option<(Vec<String>, String)>,
    seen: PathObservations,
}

impl PathCheck {
    /// Creates the check of a step with the observations of earlier attempts.
    pub(crate) fn new(step: &Step, mut seen: PathObservations) -> Self {
        let watched = watched(step);
        // Observations of another length belong to another plan revision.
        if seen.paths.len() != watched.len() {
            seen.paths = vec![PathObservation::default(); watched.len()];
        }
        let filtered = step.rows.as_ref().is_some_and(|rows| rows.unfiltered.is_some());
        let stops = |paginate: &orchid_plan::Pagination| paginate.stop_on.empty || paginate.stop_on.short;
        let stop_on = step.paginate.as_ref().filter(|paginate| stops(paginate));
        Self {
            watched,
            filter: filtered.then(|| format!("{}/iterate_over", step.pointer)),
            stop_on: stop_on.map(|paginate| format!("{}/stop_on", paginate.pointer)),
            pointer_path: pointer_path(step).filter(|_| step.rows.is_none()),
            seen,
        }
    }

    /// Returns the observations for a checkpoint, or `None` if there are none.
    pub(crate) fn seen(&self) -> Option<&PathObservations> {
        let nothing = PathObservations {
            paths: vec![PathObservation::default(); self.watched.len()],
            ..PathObservations::default()
        };
        (self.seen != nothing).then_some(&self.seen)
    }

    /// Records whether streamed rows were found at their path.
    pub(crate) fn streamed(&mut self, found: bool) {
        for (watched, seen) in self.watched.iter().zip(&mut self.seen.paths) {
            // A stream is never parsed as a whole, so only the rows' own path is known.
            if watched.pointer.ends_with("/iterate_over") {
                seen.found |= found;
                if !found {
                    seen.broken.get_or_insert(BrokenPath {
                        depth: UNKNOWN_DEPTH,
                        members: Vec::new(),
                        shape: None,
                    });
                }
            }
        }
    }

    /// Records the number of rows of a page. `candidates` is their number before the filter, if
    /// known.
    pub(crate) fn page(&mut self, rows: u64, candidates: Option<u64>) {
        self.seen.rows |= rows > 0;
        self.seen.all_filtered |= rows == 0 && candidates.is_some_and(|candidates| candidates > 0);
    }

    /// Records the size of a page that is the only one of its step. `full` says that its size is
    /// usual, and nothing says that it is the last one.
    pub(crate) fn page_size(&mut self, rows: u64, full: bool) {
        self.seen.page_sizes.get_or_insert_default().add(rows, full);
    }

    /// Returns the number of pages whose size was recorded.
    pub(crate) fn sized_pages(&self) -> u64 {
        self.seen.page_sizes.map_or(0, |sizes| sizes.pages)
    }

    /// Returns the rows of the largest page if the API seems to cut pages off at that size.
    pub(crate) fn cut_off_at(&self) -> Option<u64> {
        self.seen.page_sizes.filter(|sizes| sizes.cut_off()).map(|sizes| sizes.largest)
    }

    /// Returns whether the pointer to the next page was in no response.
    pub(crate) fn pointer_missing(&self) -> bool {
        let pointers = self.watched.iter().zip(&self.seen.paths);
        pointers.into_iter().any(|(watched, seen)| {
            watched.ends_loop && watched.pointer.ends_with("/paginate/value") && !seen.found
        })
    }

    /// Records the end of a loop after `passes` pages, and whether only `stop_on` ended it.
    pub(crate) fn loop_ended(&mut self, passes: u64, by_stop_on: bool) {
        self.seen.several_pages |= passes > 1;
        self.seen.stop_on_needed |= by_stop_on;
        self.seen.ended_without_stop_on |= !by_stop_on;
    }

    /// Checks the watched paths in a body of any kind. Paths that were found before are skipped.
    pub(crate) fn look(&mut self, body: &Body) {
        if self.pointer_path.is_some() && self.seen.members.is_empty() {
            self.seen.members = names_of(body);
        }
        let Some(json) = body.json_text() else {
            for seen in self.seen.paths.iter_mut().filter(|seen| !seen.found) {
                let shape = Some(shape_of(body));
                seen.broken.get_or_insert(BrokenPath { depth: 0, members: Vec::new(), shape });
            }
            return;
        };
        let mut levels = ParsedLevels::new();
        for (watched, seen) in self.watched.iter().zip(&mut self.seen.paths) {
            if seen.found {
                continue;
            }
            // An expression may read several paths, e.g. `a || b`: one that is found is enough.
            let mut broken = None;
            for path in &watched.paths {
                match follow(json, path, &mut levels) {
                    // An unreadable body is reported elsewhere; it says nothing about paths.
                    Err(_) => return,
                    Ok(None) => seen.found = true,
                    Ok(Some(here)) => broken = broken.or(Some(here)),
                }
            }
            if !seen.found && seen.broken.is_none() {
                seen.broken = broken;
            }
        }
    }

    /// Returns a warning if the last page of a loop has neither the pointer to a next page nor any
    /// other member that the first page had: it may be an error that was sent as a success.
    pub(crate) fn last_page(&self, page: &str, body: &Body) -> Option<Warning> {
        let (path, pointer) = self.pointer_path.as_ref().filter(|_| !self.seen.members.is_empty())?;
        let broken = follow(body.json_text()?, path, &mut ParsedLevels::new()).ok().flatten();
        let found = names_of(body);
        if broken.is_none() || found.is_empty() || found.iter().any(|name| self.seen.members.contains(name)) {
            return None;
        }
        Some(Warning {
            code: "PAGE_CHANGED".to_owned(),
            pointer: pointer.clone(),
            message: format!(
                "the loop ended at {page}, whose members were {}, and not {} as in the pages before it; if it \
                 is an error, add abort_when or retry_when",
                found.join(", "),
                self.seen.members.join(", ")
            ),
        })
    }

    /// Returns the warnings at the end of the execution.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        // Several loops may run, e.g. one per row: one that went further shows that the path can be
        // right.
        let first_page = self.seen.ended_without_stop_on && !self.seen.several_pages;
        for (watched, seen) in self.watched.iter().zip(&self.seen.paths) {
            let (false, Some(broken), Some(path)) = (seen.found, &seen.broken, watched.paths.first()) else {
                continue;
            };
            warnings.push(Warning {
                code: "PATH_NEVER_FOUND".to_owned(),
                pointer: watched.pointer.clone(),
                message: describe(path, broken),
            });
            if first_page && watched.ends_loop {
                warnings.push(Warning {
                    code: "LOOP_ENDED_AT_FIRST_PAGE".to_owned(),
                    pointer: watched.pointer.clone(),
                    message: format!(
                        "the loop ended at its first page, because response.body.{} never stood there",
                        path.join(".")
                    ),
                });
            }
        }
        if let (Some(pointer), true, false) = (&self.filter, self.seen.all_filtered, self.seen.rows) {
            warnings.push(Warning {
                code: "FILTER_DROPPED_EVERY_ROW".to_owned(),
                pointer: pointer.clone(),
                message: "there were rows, and the filter of iterate_over let none of them through"
                    .to_owned(),
            });
        }
        if let (Some(pointer), true, false) =
            (&self.stop_on, self.seen.ended_without_stop_on, self.seen.stop_on_needed)
        {
            warnings.push(Warning {
                code: "STOP_ON_NEVER_NEEDED".to_owned(),
                pointer: pointer.clone(),
                message: "every loop ended without the help of stop_on".to_owned(),
            });
        }
        warnings
    }
}

/// Returns the path below the body of the pointer that the pages of a step's loop hold, and the
/// place of its expression in the plan.
fn pointer_path(step: &Step) -> Option<(Vec<String>, String)> {
    let paginate = step.paginate.as_ref()?;
    let (PaginationKind::Cursor { value, .. } | PaginationKind::NextUrl { value }) = &paginate.kind else {
        return None;
    };
    let paths = value.reads().below(&["response", "body"])?;
    Some((paths.first()?.to_vec(), format!("{}/value", paginate.pointer)))
}

/// Returns the expressions of a step whose missing members would go unnoticed.
fn watched(step: &Step) -> Vec<WatchedExpr> {
    let counts_rows = step.paginate.as_ref().is_some_and(|paginate| match paginate.kind {
        PaginationKind::Page { .. } | PaginationKind::Offset { .. } => true,
        PaginationKind::Cursor { .. } | PaginationKind::NextUrl { .. } | PaginationKind::LinkHeader => {
            paginate.stop_on.empty
        }
    });
    let mut watched = Vec::new();
    let mut add = |pointer: String, expr: &orchid_plan::Expr, ends_loop: bool| {
        let paths: Vec<Vec<String>> = match expr.reads().below(&["response", "body"]) {
            Some(paths) => paths.into_iter().map(<[String]>::to_vec).collect(),
            None => Vec::new(),
        };
        if !paths.is_empty() {
            watched.push(WatchedExpr { pointer, paths, ends_loop });
        }
    };
    if let Some(RowSelector { expr, .. }) = &step.rows {
        add(format!("{}/iterate_over", step.pointer), expr, counts_rows);
    }
    if let Some(paginate) = &step.paginate {
        match &paginate.kind {
            PaginationKind::Cursor { value, .. } | PaginationKind::NextUrl { value } => {
                add(format!("{}/value", paginate.pointer), value, true);
            }
            PaginationKind::Page { .. } | PaginationKind::Offset { .. } | PaginationKind::LinkHeader => {}
        }
    }
    if let Some(cursor) = &step.cursor {
        add(format!("{}/value", cursor.pointer), &cursor.value, false);
    }
    for (field, list) in [("extract", &step.extract), ("set_context", &step.set_context)] {
        for (name, expr) in list {
            add(format!("{}/{field}/{}", step.pointer, escaped(name)), expr, false);
        }
    }
    watched
}

/// Escapes a name for a JSON pointer (RFC 6901).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Follows a path in a body. Returns `None` if its last member exists, even as null.
///
/// # Errors
/// If an object on the way is not valid JSON.
fn follow<'b, 'p>(
    body: &'b [u8],
    path: &'p [String],
    levels: &mut ParsedLevels<'b, 'p>,
) -> Result<Option<BrokenPath>, ValueError> {
    let mut at = body.trim_ascii_start();
    for (depth, name) in path.iter().enumerate() {
        if at.first() != Some(&b'{') {
            let shape = (at.first() == Some(&b'[')).then(|| "a list".to_owned());
            return Ok(Some(BrokenPath { depth, members: Vec::new(), shape }));
        }
        let members = match levels.entry(&path[..depth]) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(members_of(at)?),
        };
        match members.get(name.as_str()) {
            Some(member) => at = member,
            None => {
                let members = members.keys().take(MEMBERS_MAX).map(|name| name.to_string()).collect();
                return Ok(Some(BrokenPath { depth, members, shape: None }));
            }
        }
    }
    Ok(None)
}

/// Returns the members of an object as text: no tree of a large body is built for this check.
fn members_of(object: &[u8]) -> Result<BTreeMap<Cow<'_, str>, &[u8]>, ValueError> {
    let mut members = BTreeMap::new();
    for member in RawMembers::of(object) {
        let (name, value) = member?;
        members.insert(name.decode().unwrap_or_default(), value);
    }
    Ok(members)
}

/// Returns the names of a body's members, the first of them.
fn names_of(body: &Body) -> Vec<String> {
    let members = body.json_text().and_then(|text| members_of(text.trim_ascii_start()).ok());
    members.unwrap_or_default().into_keys().take(MEMBERS_MAX).map(Cow::into_owned).collect()
}

/// Returns what a body is that has no members.
fn shape_of(body: &Body) -> String {
    match body {
        Body::Json { .. } => "JSON".to_owned(),
        Body::Text(_) => "text".to_owned(),
        Body::Binary { content_type, .. } => format!("bytes ({content_type})"),
        Body::Empty => "empty".to_owned(),
    }
}

/// Creates the warning about a page without a list where its rows should be.
///
/// `body` is `None` if it was streamed, so that nothing of it is known.
pub(crate) fn rows_missing(step: &Step, page: &str, body: Option<&Body>) -> Option<Warning> {
    let rows = step.rows.as_ref().filter(|rows| !rows.may_be_absent)?;
    let path = rows.expr.reads().below(&["response", "body"]).and_then(|paths| paths.first().copied());
    let path = path.unwrap_or_default();
    let instead = body.map(|body| {
        let found = body.json_text().and_then(|text| follow(text, path, &mut ParsedLevels::new()).ok());
        match found {
            Some(Some(broken)) => format!(": {}", described_end(path, &broken)),
            Some(None) => ": it was null".to_owned(),
            None => format!(": response.body was {}", shape_of(body)),
        }
    });
    let text = rows.expr.text();
    Some(Warning {
        code: "ROWS_MISSING".to_owned(),
        pointer: format!("{}/iterate_over", step.pointer),
        message: format!(
            "{page} had no list at {text}{}; if that means no rows, write {text} || `[]`, and if it \
             is an error, add abort_when or retry_when",
            instead.unwrap_or_default()
        ),
    })
}

/// Describes a broken path.
fn describe(path: &[String], broken: &BrokenPath) -> String {
    let whole = format!("response.body.{}", path.join("."));
    if broken.depth == UNKNOWN_DEPTH {
        return format!("no response had {whole}");
    }
    format!("no response had {whole}: {}", described_end(path, broken))
}

/// Describes what stood at the point where a path led no further.
fn described_end(path: &[String], broken: &BrokenPath) -> String {
    let parent = ["response", "body"].into_iter().chain(path.iter().take(broken.depth).map(String::as_str));
    let parent = parent.collect::<Vec<_>>().join(".");
    if let Some(shape) = &broken.shape {
        return format!("{parent} was {shape}");
    }
    if broken.members.is_empty() {
        return format!("{parent} had no members");
    }
    let members = broken.members.iter().map(String::as_str);
    let similar = path.get(broken.depth).and_then(|wanted| most_similar(wanted, members));
    let hint = similar.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
    format!("the members of {parent} were {}{hint}", broken.members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn broken(text: &str) -> Option<BrokenPath> {
        let body = br#"{"data":{"items":[{"id":1}],"total":1},"next_cursor":null,"meta":"x"}"#;
        follow(body, &path(text), &mut ParsedLevels::new()).unwrap()
    }

    #[test]
    fn null_member_is_found() {
        assert_eq!(broken("next_cursor"), None);
        assert_eq!(broken("data.items"), None);
    }

    #[test]
    fn list_has_no_members() {
        let list = broken("data.items.id").unwrap();
        assert_eq!(
            describe(&path("data.items.id"), &list),
            "no response had response.body.data.items.id: response.body.data.items was a list"
        );
    }

    #[test]
    fn broken_path_names_the_members_found_instead() {
        let typo = broken("data.itmes").unwrap();
        assert_eq!(
            describe(&path("data.itmes"), &typo),
            "no response had response.body.data.itmes: the members of response.body.data were items, total; \
             did you mean \"items\"?"
        );
        let scalar = broken("meta.next").unwrap();
        assert_eq!(
            describe(&path("meta.next"), &scalar),
            "no response had response.body.meta.next: response.body.meta had no members"
        );
    }
}

//! Notices paths that never led anywhere: a wrong path reads as null and looks like the end of the data.
//!
//! In: the body of each answer of a step. Out: for each watched expression whose member stood in none of them, a warning
//! that says what did stand there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use orchid_common::suggest::most_similar;
use orchid_plan::{PaginationKind, RowSelector, Step};
use serde_json::value::RawValue;

use crate::checkpoint::path_observations::{BrokenPath, PathObservation, PathObservations};
use crate::progress::Warning;

/// Members that a warning names at most.
const NAMED: usize = 12;

/// The depth of a path that broke off nobody knows where.
const UNKNOWN: usize = usize::MAX;

/// Members of the objects that were looked into, by the path to each: paths that begin alike are read once.
type Levels<'b, 'p> = BTreeMap<&'p [String], BTreeMap<String, &'b RawValue>>;

/// An expression that is watched, by what it reads of the body.
#[derive(Debug, Clone)]
struct WatchedExpr {
    pointer: String,
    /// Below `response.body`; never empty.
    paths: Vec<Vec<String>>,
    ends_loop: bool,
}

/// The watched expressions of one step.
#[derive(Debug, Clone)]
pub(crate) struct PathCheck {
    watched: Vec<WatchedExpr>,
    /// Pointers of a filtered `iterate_over` and of `stop_on`, where the step has them.
    filter: Option<String>,
    stop_on: Option<String>,
    seen: PathObservations,
}

impl PathCheck {
    /// `seen` is what a checkpoint kept; anything of another length is of another plan and begins anew.
    pub(crate) fn new(step: &Step, mut seen: PathObservations) -> PathCheck {
        let watched = watched(step);
        if seen.paths.len() != watched.len() {
            seen.paths = vec![PathObservation::default(); watched.len()];
        }
        let filtered = step.rows.as_ref().is_some_and(|rows| rows.unfiltered.is_some());
        let stops = |paginate: &orchid_plan::Pagination| paginate.stop_on.empty || paginate.stop_on.short;
        let stop_on = step.paginate.as_ref().filter(|paginate| stops(paginate));
        PathCheck {
            watched,
            filter: filtered.then(|| format!("{}/iterate_over", step.pointer)),
            stop_on: stop_on.map(|paginate| format!("{}/stop_on", paginate.pointer)),
            seen,
        }
    }

    /// For a place; none before anything was seen.
    pub(crate) fn seen(&self) -> Option<&PathObservations> {
        let nothing = PathObservations {
            paths: vec![PathObservation::default(); self.watched.len()],
            ..PathObservations::default()
        };
        (self.seen != nothing).then_some(&self.seen)
    }

    /// Whether rows that were taken one by one stood where they should. What stood there instead is not known.
    pub(crate) fn streamed(&mut self, found: bool) {
        for (watched, seen) in self.watched.iter().zip(&mut self.seen.paths) {
            if watched.pointer.ends_with("/iterate_over") {
                seen.found |= found;
                if !found {
                    seen.broken.get_or_insert(BrokenPath { depth: UNKNOWN, members: Vec::new() });
                }
            }
        }
    }

    /// A page with this many rows. `candidates`: how many there were before the filter, where it has one and it is known.
    pub(crate) fn page(&mut self, rows: u64, candidates: Option<u64>) {
        self.seen.rows |= rows > 0;
        self.seen.all_filtered |= rows == 0 && candidates.is_some_and(|candidates| candidates > 0);
    }

    /// A loop ended after so many passes, because of `stop_on` alone or without it.
    pub(crate) fn loop_ended(&mut self, passes: u64, by_stop_on: bool) {
        self.seen.several_pages |= passes > 1;
        self.seen.stop_on_needed |= by_stop_on;
        self.seen.ended_without_stop_on |= !by_stop_on;
    }

    /// Looks at the JSON of an answer, as text: no tree is made of it. Not at all once each member was found.
    pub(crate) fn look(&mut self, json: &[u8]) {
        let mut levels = Levels::new();
        for (watched, seen) in self.watched.iter().zip(&mut self.seen.paths) {
            if seen.found {
                continue;
            }
            let mut broke = None;
            for path in &watched.paths {
                match follow(json, path, &mut levels) {
                    Err(_) => return,
                    Ok(None) => seen.found = true,
                    Ok(Some(here)) => broke = broke.or(Some(here)),
                }
            }
            if !seen.found && seen.broken.is_none() {
                seen.broken = broke;
            }
        }
    }

    /// What the run's end has to warn of.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let first_page = self.seen.ended_without_stop_on && !self.seen.several_pages;
        for (watched, seen) in self.watched.iter().zip(&self.seen.paths) {
            let (false, Some(broke), Some(path)) = (seen.found, &seen.broken, watched.paths.first()) else {
                continue;
            };
            warnings.push(Warning {
                code: "PATH_NEVER_FOUND".to_owned(),
                pointer: watched.pointer.clone(),
                message: words(path, broke),
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

/// A name as part of a JSON pointer (RFC 6901).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// None if the path's last member stands there, be it null. A list on the way, or nothing to look into, decides nothing
/// against it either: what is read there is no member that could be misspelt.
fn follow<'b, 'p>(
    body: &'b [u8],
    path: &'p [String],
    levels: &mut Levels<'b, 'p>,
) -> Result<Option<BrokenPath>, serde_json::Error> {
    let mut at = body.trim_ascii_start();
    for (depth, name) in path.iter().enumerate() {
        match at.first() {
            Some(b'{') => {}
            Some(b'[') => return Ok(None),
            Some(_) | None => return Ok(Some(BrokenPath { depth, members: Vec::new() })),
        }
        let members = match levels.entry(&path[..depth]) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(serde_json::from_slice(at)?),
        };
        match members.get(name) {
            Some(member) => at = member.get().as_bytes(),
            None => {
                let members = members.keys().take(NAMED).cloned().collect();
                return Ok(Some(BrokenPath { depth, members }));
            }
        }
    }
    Ok(None)
}

fn words(path: &[String], broke: &BrokenPath) -> String {
    let whole = format!("response.body.{}", path.join("."));
    if broke.depth == UNKNOWN {
        return format!("no response had {whole}");
    }
    let parent = ["response", "body"].into_iter().chain(path.iter().take(broke.depth).map(String::as_str));
    let parent = parent.collect::<Vec<_>>().join(".");
    if broke.members.is_empty() {
        return format!("no response had {whole}: {parent} had no members");
    }
    let members = broke.members.iter().map(String::as_str);
    let similar = path.get(broke.depth).and_then(|wanted| most_similar(wanted, members));
    let hint = similar.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
    format!("no response had {whole}: the members of {parent} were {}{hint}", broke.members.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn broke(text: &str) -> Option<BrokenPath> {
        let body = br#"{"data":{"items":[{"id":1}],"total":1},"next_cursor":null,"meta":"x"}"#;
        follow(body, &path(text), &mut Levels::new()).unwrap()
    }

    #[test]
    fn a_member_that_is_null_stands_there() {
        assert_eq!(broke("next_cursor"), None);
        assert_eq!(broke("data.items"), None);
        assert_eq!(broke("data.items.id"), None);
    }

    #[test]
    fn a_path_that_breaks_says_where_and_what_stood_there() {
        let typo = broke("data.itmes").unwrap();
        assert_eq!(
            words(&path("data.itmes"), &typo),
            "no response had response.body.data.itmes: the members of response.body.data were items, total; \
             did you mean \"items\"?"
        );
        let scalar = broke("meta.next").unwrap();
        assert_eq!(
            words(&path("meta.next"), &scalar),
            "no response had response.body.meta.next: response.body.meta had no members"
        );
    }
}

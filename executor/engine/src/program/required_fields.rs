//! The parts of a step's responses and rows that any expression reads, known before the execution.
//!
//! Only these parts are built as values, and only what a later page or step reads is saved in a
//! checkpoint. This keeps large bodies cheap.

use orchid_plan::{Definition, PaginationKind, PathSelection, ReadPaths, ReadSegment, RequestTemplate, Step};

/// Paths that are followed into lists; `None` means everything.
pub(crate) type ElementPaths = Option<Vec<Vec<ReadSegment>>>;

/// The parts that are read of the responses of one step.
#[derive(Debug, Clone)]
pub(crate) struct RequiredFields {
    /// The parts of the body.
    pub(crate) body: PathSelection,
    /// True if any expression reads the names of an archive's files.
    pub(crate) files: bool,
    /// True if an expression reads members of the body, or takes its rows from it.
    pub(crate) members: bool,
    /// True if any expression reads the headers.
    pub(crate) headers: bool,
    /// The parts of a response that rendering the next page reads, relative to `response`.
    pub(crate) carried: ElementPaths,
    /// The parts of the last response that later steps read, relative to `steps.<id>`.
    pub(crate) finished: ElementPaths,
    /// The parts of a row or item that its sub-steps read.
    pub(crate) item: PathSelection,
    /// True if any expression reads `meta`.
    pub(crate) meta: bool,
    /// True if any expression reads `page`.
    pub(crate) page: bool,
    /// True if any expression reads the status of a response.
    pub(crate) status: bool,
    /// True if any expression reads the final URL of a response.
    pub(crate) url: bool,
}

impl RequiredFields {
    /// Collects the reads of a step's responses.
    ///
    /// `readers` are reads by others that see the response as `response`; `known_as` are further
    /// ids under which later steps read it.
    pub(crate) fn of(
        step: &Step,
        definition: &Definition,
        readers: &[&ReadPaths],
        known_as: &[&str],
    ) -> RequiredFields {
        let mut own = own_reads(step);
        own.extend(readers);
        let names: Vec<&str> = [&*step.id].into_iter().chain(known_as.iter().copied()).collect();
        let below: Vec<ReadPaths> = step.below().map(|step| step.all_reads()).collect();
        let reads_of = |part: &[&str]| {
            let below_root = |reads: &ReadPaths, root: &str| elements(reads, &[&[root], part].concat());
            let mut all: Vec<ElementPaths> = Vec::new();
            for reads in &own {
                all.push(below_root(reads, "response"));
                all.push(below_root(reads, "prev"));
            }
            all.extend(below.iter().map(|reads| below_root(reads, "parent")));
            all.extend(names.iter().map(|id| answer_parts(definition, id, part)));
            all
        };
        let response = |part: &[&str]| union(reads_of(part));
        let is_part = |path: &Vec<ReadSegment>| {
            path.first().is_some_and(|segment| !matches!(segment, ReadSegment::Size))
        };
        let is_member = |paths: &ElementPaths| paths.iter().flatten().any(is_part);
        let rows = step.rows.as_ref().map(|rows| rows.expr.reads());
        let members = reads_of(&["body"]).iter().any(is_member) || rows.is_some_and(ReadPaths::includes_body);
        // Only rendering and `prev` see an earlier response: nothing else must survive a
        // checkpoint.
        let rendering = step.request().map(RequestTemplate::reads);
        let mut carried: Vec<ElementPaths> =
            rendering.map(|reads| elements(reads, &["response"])).into_iter().collect();
        carried.extend(own.iter().map(|reads| elements(reads, &["prev"])));
        RequiredFields {
            body: parts(response(&["body"])),
            files: is_read(&response(&["files"])),
            members,
            headers: is_read(&response(&["headers"])),
            status: is_read(&response(&["status_code"])),
            url: is_read(&response(&["url"])),
            carried: union(carried),
            finished: elements(&definition.reads, &["steps", &step.id]),
            item: parts(items(step, &below)),
            meta: step.reads.overlaps(&["meta"]),
            page: step.reads.overlaps(&["page"]),
        }
    }
}

/// Returns the paths that are read of the innermost row or item: by sub-steps, and for a `for_each`
/// item by the step itself.
fn items(step: &Step, below: &[ReadPaths]) -> ElementPaths {
    let own = step.for_each.is_some().then_some(&step.reads);
    let all = below.iter().chain(own);
    // An expression that reads `items` may read any part of any item.
    union(all.flat_map(|reads| [elements(reads, &["item"]), any(reads, "items")]).collect())
}

fn any(reads: &ReadPaths, name: &str) -> ElementPaths {
    if reads.overlaps(&[name]) { None } else { Some(Vec::new()) }
}

/// Returns the reads of the step's own expressions. An `iterate_over` with a plain path is left
/// out: its rows are copied as bytes and need no values.
fn own_reads(step: &Step) -> Vec<&ReadPaths> {
    let conditions = [
        &step.outcome.abort_when,
        &step.outcome.ignore_when,
        &step.outcome.retry_when,
        &step.retry.wait,
        &step.while_expr,
        &step.break_when,
    ];
    let mut reads: Vec<&ReadPaths> = step.request().map(RequestTemplate::reads).into_iter().collect();
    reads.extend(conditions.into_iter().flatten().map(|expr| expr.reads()));
    reads.extend(step.set_context.iter().chain(&step.extract).map(|(_, expr)| expr.reads()));
    if let Some(paginate) = &step.paginate {
        match &paginate.kind {
            PaginationKind::Cursor { value, .. } | PaginationKind::NextUrl { value } => {
                reads.push(value.reads())
            }
            PaginationKind::Page { .. } | PaginationKind::Offset { .. } | PaginationKind::LinkHeader => {}
        }
    }
    if let Some(rows) = &step.rows
        && rows.plain.is_none()
    {
        reads.push(rows.expr.reads());
        reads.extend(rows.unfiltered.as_ref().map(|expr| expr.reads()));
    }
    reads.extend(step.cursor.as_ref().map(|cursor| cursor.value.reads()));
    reads
}

/// Returns the paths below a part of the step's answers that later steps read as `steps.<id>`.
fn answer_parts(definition: &Definition, id: &str, part: &[&str]) -> ElementPaths {
    let is_name = |(segment, name): (&ReadSegment, &&str)| matches!(segment, ReadSegment::Member(member) if member == name);
    let mut below = Vec::new();
    for path in elements(&definition.reads, &["steps", id])? {
        // The answers of a `for_each` are a list.
        let answer = match path.split_first()? {
            (ReadSegment::Every | ReadSegment::Index(_), answer) => answer,
            (ReadSegment::Member(_) | ReadSegment::Size, _) => &path,
        };
        if !answer.iter().zip(part).all(is_name) {
            continue;
        }
        if answer.len() <= part.len() {
            return None;
        }
        below.push(answer[part.len()..].to_vec());
    }
    Some(below)
}

/// Returns the paths below a prefix, followed into lists.
pub(crate) fn elements(reads: &ReadPaths, prefix: &[&str]) -> ElementPaths {
    Some(reads.exact_below(prefix)?.into_iter().map(<[ReadSegment]>::to_vec).collect())
}

fn is_read(paths: &ElementPaths) -> bool {
    paths.as_ref().is_none_or(|paths| !paths.is_empty())
}

fn parts(paths: ElementPaths) -> PathSelection {
    paths.map_or(PathSelection::ALL, |paths| PathSelection::of(paths.iter().map(Vec::as_slice)))
}

fn union(all: Vec<ElementPaths>) -> ElementPaths {
    // One `None` among the paths means everything: it makes the whole union `None`.
    let mut together: Vec<Vec<ReadSegment>> = all.into_iter().collect::<Option<Vec<_>>>()?.concat();
    together.sort();
    together.dedup();
    Some(together)
}

//! Which parts of an answer somebody looks at, known before it runs: only those are built as values, and only what a
//! later pass looks at goes into a checkpoint.

use orchid_plan::{Definition, PaginationKind, PathSelection, ReadPaths, RequestTemplate, Step};

/// Paths of member names; none: everything.
pub(crate) type FieldPaths = Option<Vec<Vec<String>>>;

/// What is kept of the answers of one step.
#[derive(Debug, Clone)]
pub(crate) struct RequiredFields {
    /// PathSelection of a body that expressions read, from its top.
    pub(crate) body: PathSelection,
    /// Whether anybody reads headers.
    pub(crate) headers: bool,
    /// PathSelection of a response that the next pass reads, from `response`.
    pub(crate) carried: FieldPaths,
    /// PathSelection of the last response that later steps read, from `steps.<id>`.
    pub(crate) finished: FieldPaths,
    /// PathSelection of a row, or of an item, that the steps below look at.
    pub(crate) item: PathSelection,
    /// Whether anybody reads `meta`.
    pub(crate) meta: bool,
    /// Whether anybody reads `page`.
    pub(crate) page: bool,
    /// Whether anybody reads the status or the url of an answer.
    pub(crate) status: bool,
    pub(crate) url: bool,
}

impl RequiredFields {
    /// `readers`: more that reads the step's answers as `response`. `known_as`: other ids whose `steps.<id>` it is.
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
        let answer = |part: &[&str]| {
            let below_root = |reads: &ReadPaths, root: &str| paths(reads, &[&[root], part].concat());
            let mut all: Vec<FieldPaths> = Vec::new();
            for reads in &own {
                all.push(below_root(reads, "response"));
                all.push(below_root(reads, "prev"));
            }
            all.extend(below.iter().map(|reads| below_root(reads, "parent")));
            all.extend(names.iter().map(|id| paths(&definition.reads, &[&["steps", *id], part].concat())));
            union(all)
        };
        let rendering = step.request().map(RequestTemplate::reads);
        let mut carried: Vec<FieldPaths> =
            rendering.map(|reads| paths(reads, &["response"])).into_iter().collect();
        carried.extend(own.iter().map(|reads| paths(reads, &["prev"])));
        RequiredFields {
            body: parts(answer(&["body"])),
            headers: is_read(&answer(&["headers"])),
            status: is_read(&answer(&["status_code"])),
            url: is_read(&answer(&["url"])),
            carried: union(carried),
            finished: paths(&definition.reads, &["steps", &step.id]),
            item: parts(items(step, &below)),
            meta: step.reads.overlaps(&["meta"]),
            page: step.reads.overlaps(&["page"]),
        }
    }
}

/// What is read of the innermost row or item: by the steps below, and of a `for_each` item by the step itself. Who reads
/// `items` may mean any of them.
fn items(step: &Step, below: &[ReadPaths]) -> FieldPaths {
    let own = step.for_each.is_some().then_some(&step.reads);
    let all = below.iter().chain(own);
    union(all.flat_map(|reads| [paths(reads, &["item"]), any(reads, "items")]).collect())
}

fn any(reads: &ReadPaths, name: &str) -> FieldPaths {
    if reads.overlaps(&[name]) { None } else { Some(Vec::new()) }
}

/// What the step's expressions read, without an `iterate_over` whose rows are copied as bytes.
fn own_reads(step: &Step) -> Vec<&ReadPaths> {
    let conditions = [
        &step.outcome.abort_when,
        &step.outcome.ignore_when,
        &step.outcome.retry_when,
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

fn paths(reads: &ReadPaths, prefix: &[&str]) -> FieldPaths {
    Some(reads.below(prefix)?.into_iter().map(<[String]>::to_vec).collect())
}

fn is_read(paths: &FieldPaths) -> bool {
    paths.as_ref().is_none_or(|paths| !paths.is_empty())
}

fn parts(paths: FieldPaths) -> PathSelection {
    paths.map_or(PathSelection::ALL, |paths| PathSelection::of(paths.iter().map(Vec::as_slice)))
}

fn union(all: Vec<FieldPaths>) -> FieldPaths {
    let mut together: Vec<Vec<String>> = all.into_iter().collect::<Option<Vec<_>>>()?.concat();
    together.sort();
    together.dedup();
    Some(together)
}

//! Which parts of an answer a step looks at, known before it runs: only those are built as values, and only what a later
//! pass looks at goes into a checkpoint.

use orchid_plan::{Definition, PaginateKind, Reads, RequestTemplate, Step};

/// Paths of member names; none: everything.
pub(crate) type Paths = Option<Vec<Vec<String>>>;

/// What is kept of the answers of one step.
#[derive(Debug, Clone)]
pub(crate) struct Needs {
    /// Parts of a body that expressions read, from its top.
    pub(crate) body: Paths,
    /// Whether anybody reads headers.
    pub(crate) headers: bool,
    /// Parts of a response that the next pass reads, from `response`.
    pub(crate) carried: Paths,
    /// Parts of the last response that later steps read, from `steps.<id>`.
    pub(crate) finished: Paths,
    /// Whether anybody reads `meta`.
    pub(crate) meta: bool,
}

impl Needs {
    pub(crate) fn of(step: &Step, definition: &Definition) -> Needs {
        let own = own_reads(step);
        let answer = |part: &[&str]| {
            let below = |reads: &Reads, root: &str| paths(reads, &[&[root], part].concat());
            let mut all: Vec<Paths> = Vec::new();
            for reads in &own {
                all.push(below(reads, "response"));
                all.push(below(reads, "prev"));
            }
            all.push(paths(&definition.reads, &[&["steps", &step.id], part].concat()));
            union(all)
        };
        let rendering = step.request().map(RequestTemplate::reads);
        let mut carried: Vec<Paths> =
            rendering.map(|reads| paths(reads, &["response"])).into_iter().collect();
        carried.extend(own.iter().map(|reads| paths(reads, &["prev"])));
        Needs {
            body: answer(&["body"]),
            headers: answer(&["headers"]).is_none_or(|paths| !paths.is_empty()),
            carried: union(carried),
            finished: paths(&definition.reads, &["steps", &step.id]),
            meta: step.reads.touches(&["meta"]),
        }
    }
}

/// What the step's expressions read, without an `iterate_over` whose rows are copied as bytes.
fn own_reads(step: &Step) -> Vec<&Reads> {
    let conditions = [
        &step.outcome.abort_when,
        &step.outcome.ignore_when,
        &step.outcome.retry_when,
        &step.while_expr,
        &step.break_when,
    ];
    let mut reads: Vec<&Reads> = step.request().map(RequestTemplate::reads).into_iter().collect();
    reads.extend(conditions.into_iter().flatten().map(|expr| expr.reads()));
    reads.extend(step.set_context.iter().chain(&step.extract).map(|(_, expr)| expr.reads()));
    if let Some(paginate) = &step.paginate {
        match &paginate.kind {
            PaginateKind::Cursor { value, .. } | PaginateKind::NextUrl { value } => reads.push(value.reads()),
            PaginateKind::Page { .. } | PaginateKind::Offset { .. } | PaginateKind::LinkHeader => {}
        }
    }
    if let Some(rows) = &step.rows
        && rows.plain.is_none()
    {
        reads.push(rows.expr.reads());
    }
    reads
}

fn paths(reads: &Reads, prefix: &[&str]) -> Paths {
    Some(reads.below(prefix)?.into_iter().map(<[String]>::to_vec).collect())
}

fn union(all: Vec<Paths>) -> Paths {
    let mut together: Vec<Vec<String>> = all.into_iter().collect::<Option<Vec<_>>>()?.concat();
    together.sort();
    together.dedup();
    Some(together)
}

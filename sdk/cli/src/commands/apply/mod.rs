//! `orchid apply`: creates or updates the integrations, configs and plans that files declare.
//!
//! Compares every document with the control plane's state, then creates it, updates it or leaves it
//! alone, and prints which. It deletes nothing.

mod changes;
mod diff;
mod outcome;
mod put;

use std::env;
use std::path::PathBuf;

use orchid_plan::{Warning, WarningCode};
use orchid_sdk::{Client, v1};

use self::outcome::ApplyOutcome;
use crate::connect::ConnectionTarget;
use crate::console::{Console, TextStyle};
use crate::exit::ExitReason;
use crate::files::document::{self, Document, DocumentError, Source};
use crate::files::report::{self, DiagnosticView};

/// Reads and checks all files, then applies them in order.
///
/// # Errors
/// When a file cannot be read, or the control plane is unreachable or refuses a document.
pub(crate) async fn run(
    target: &ConnectionTarget,
    paths: &[PathBuf],
    dry_run: bool,
    console: Console,
) -> anyhow::Result<ExitReason> {
    let sources = document::read(paths)?;
    let Some(documents) = parse_all(&sources, target, console) else { return Ok(ExitReason::Failed) };
    let client = target.client().await?;
    for (document, source) in &documents {
        let (outcome, warnings) = put::put(&client, document, dry_run)
            .await
            .map_err(|error| anyhow::Error::from(error).context(source.file.clone()))?;
        console.print(line(document, &outcome, console));
        // A dry run writes nothing that the control plane could warn about.
        let warnings = if dry_run { local_warnings(document, source) } else { warnings };
        for v1::Warning { code, pointer, message } in &warnings {
            console.notice(report::warning(&source.file, &source.text, code, pointer, message, console));
        }
    }
    if dry_run {
        console.notice("dry run: nothing was changed");
    }
    Ok(ExitReason::Done)
}

/// Applies valid documents without printing anything.
///
/// # Errors
/// When the control plane is unreachable or refuses a document.
pub(crate) async fn put_all(client: &Client, documents: &[Document]) -> Result<(), orchid_sdk::Error> {
    for document in documents {
        put::put(client, document, false).await?;
    }
    Ok(())
}

/// Parses all documents and sorts them in the order of applying them; `None` if any is invalid,
/// after printing every problem.
fn parse_all<'s>(
    sources: &'s [Source],
    target: &ConnectionTarget,
    console: Console,
) -> Option<Vec<(Document, &'s Source)>> {
    let variable = |name: &str| {
        let from_environment = env::var_os(name).and_then(|value| value.into_string().ok());
        from_environment.or_else(|| target.variable(name))
    };
    let mut invalid = false;
    let mut documents = Vec::new();
    for source in sources {
        match document::parse(source, variable) {
            Ok(document) => documents.push((document, source)),
            Err(error) => {
                invalid = true;
                console.notice(describe(&error, console));
            }
        }
    }
    documents.sort_by_key(|(document, _)| rank(document));
    (!invalid).then_some(documents)
}

/// Returns the warnings about a plan that need no control plane.
fn local_warnings(document: &Document, source: &Source) -> Vec<v1::Warning> {
    let Document::Plan(_) = document else { return Vec::new() };
    let warnings = document::parse_plan(source).map(|(_, warnings)| warnings).unwrap_or_default();
    let to_message = |Warning { code, pointer, message }| v1::Warning {
        code: WarningCode::as_str(code).to_owned(),
        pointer,
        message,
    };
    warnings.into_iter().map(to_message).collect()
}

/// Renders an error of a document, with an excerpt for each diagnostic.
pub(crate) fn describe(error: &DocumentError, console: Console) -> String {
    match error {
        DocumentError::Plan { source_file: Source { file, text }, faults } => faults
            .iter()
            .map(|found| report::diagnostic(file, text, &DiagnosticView::from(found), console))
            .collect::<Vec<_>>()
            .join("\n"),
        DocumentError::Unreadable { .. } => error.to_string(),
    }
}

/// Returns the order of applying: a config needs its integration, a plan its configs.
fn rank(document: &Document) -> u8 {
    match document {
        Document::Integration { .. } => 0,
        Document::Config(_) => 1,
        Document::Plan(_) => 2,
    }
}

fn line(document: &Document, outcome: &ApplyOutcome, console: Console) -> String {
    let name = match document {
        Document::Integration { integration, .. } => format!("integration {}", integration.key),
        Document::Config(config) => format!("config      {}/{}", config.integration, config.key),
        Document::Plan(plan) => format!("plan        {}", plan.key),
    };
    match outcome {
        ApplyOutcome::Created => format!("{} {name}  created\n", console.paint(TextStyle::Green, "+")),
        ApplyOutcome::Unchanged => format!("{} {name}  unchanged\n", console.paint(TextStyle::Dim, "=")),
        ApplyOutcome::Changed { fields, diff } => {
            let mark = console.paint(TextStyle::Yellow, "~");
            format!("{mark} {name}  changed: {}\n{diff}", fields.join(", "))
        }
    }
}

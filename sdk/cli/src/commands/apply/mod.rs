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

use orchid_sdk::Client;

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
    for (document, source) in documents.iter().zip(&sources) {
        let outcome = put::put(&client, document, dry_run)
            .await
            .map_err(|error| anyhow::Error::from(error).context(source.file.clone()))?;
        console.print(line(document, &outcome, console));
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
fn parse_all(sources: &[Source], target: &ConnectionTarget, console: Console) -> Option<Vec<Document>> {
    let variable = |name: &str| {
        let from_environment = env::var_os(name).and_then(|value| value.into_string().ok());
        from_environment.or_else(|| target.variable(name))
    };
    let parsed: Vec<_> = sources.iter().map(|source| document::parse(source, variable)).collect();
    let mut invalid = false;
    let mut documents = Vec::new();
    for result in parsed {
        match result {
            Ok(document) => documents.push(document),
            Err(error) => {
                invalid = true;
                console.notice(describe(&error, console));
            }
        }
    }
    documents.sort_by_key(rank);
    (!invalid).then_some(documents)
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

//! `orchid apply`: makes what stands in files true, and says what it changed. In come documents; each is compared with what the control
//! plane has, and created, updated or left alone. It deletes nothing.

mod changes;
mod diff;
mod put;

use std::{env, path::PathBuf};

use orchid_sdk::Client;

use crate::{
    connect::Target,
    console::{Console, Style},
    exit::Exit,
    files::{
        document::{self, Document, DocumentError, Source},
        report::{self, Shown},
    },
};

/// What happened, or with a dry run would happen, to one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not there.
    Created,
    /// These fields were different.
    Changed {
        /// Their names.
        fields: Vec<&'static str>,
        /// The lines of the definition or schema that are different.
        diff: String,
    },
    /// It was as the file says.
    Unchanged,
}

/// Reads the files, checks all of them, then applies them in order.
pub(crate) async fn run(
    target: &Target,
    paths: &[PathBuf],
    dry_run: bool,
    console: Console,
) -> anyhow::Result<Exit> {
    let sources = document::read(paths)?;
    let Some(documents) = parse_all(&sources, target, console) else { return Ok(Exit::Failed) };
    let client = target.client().await?;
    for (document, source) in documents.iter().zip(&sources) {
        let outcome = put::put(&client, document, dry_run)
            .await
            .map_err(|error| anyhow::Error::from(error).context(source.file.clone()))?;
        console.print(line(document, &outcome, console));
    }
    if dry_run {
        console.notice("nothing was written: this was a dry run");
    }
    Ok(Exit::Done)
}

/// Applies documents that are known to be right, in silence.
pub(crate) async fn put_all(client: &Client, documents: &[Document]) -> Result<(), orchid_sdk::Error> {
    for document in documents {
        put::put(client, document, false).await?;
    }
    Ok(())
}

/// All documents in the order of applying them; `None` after all that is wrong was printed.
fn parse_all(sources: &[Source], target: &Target, console: Console) -> Option<Vec<Document>> {
    let variable = |name: &str| {
        let own = env::var_os(name).and_then(|value| value.into_string().ok());
        own.or_else(|| target.variable(name))
    };
    let parsed: Vec<_> = sources.iter().map(|source| document::parse(source, variable)).collect();
    let mut wrong = false;
    let mut documents = Vec::new();
    for result in parsed {
        match result {
            Ok(document) => documents.push(document),
            Err(error) => {
                wrong = true;
                console.notice(describe(&error, console));
            }
        }
    }
    documents.sort_by_key(rank);
    (!wrong).then_some(documents)
}

/// An error of a document, with the excerpt of each fault.
pub(crate) fn describe(error: &DocumentError, console: Console) -> String {
    match error {
        DocumentError::Plan { source_file: Source { file, text }, faults } => faults
            .iter()
            .map(|fault| report::fault(file, text, &Shown::from(fault), console))
            .collect::<Vec<_>>()
            .join("\n"),
        DocumentError::Unreadable { .. } => error.to_string(),
    }
}

fn rank(document: &Document) -> u8 {
    match document {
        Document::Integration { .. } => 0,
        Document::Config(_) => 1,
        Document::Plan(_) => 2,
    }
}

fn line(document: &Document, outcome: &Outcome, console: Console) -> String {
    let name = match document {
        Document::Integration { integration, .. } => format!("integration {}", integration.key),
        Document::Config(config) => format!("config      {}/{}", config.integration, config.key),
        Document::Plan(plan) => format!("plan        {}", plan.key),
    };
    match outcome {
        Outcome::Created => format!("{} {name}  created\n", console.paint(Style::Green, "+")),
        Outcome::Unchanged => format!("{} {name}  unchanged\n", console.paint(Style::Dim, "=")),
        Outcome::Changed { fields, diff } => {
            let mark = console.paint(Style::Yellow, "~");
            format!("{mark} {name}  changed: {}\n{diff}", fields.join(", "))
        }
    }
}

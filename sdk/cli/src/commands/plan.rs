//! `orchid plan`: validates a plan with or without a control plane, prints the schema, triggers.

use std::path::Path;

use orchid_plan::{Diagnostic, DiagnosticCode, Warning};
use orchid_sdk::v1::{self, Execution, Plan, TriggerPlanRequest, ValidatePlanRequest};
use orchid_sdk::{Client, Error};

use super::{apply, executions, watch};
use crate::args::{OutputFormat, PlanCommand};
use crate::connect::ConnectionTarget;
use crate::console::{Console, TextStyle};
use crate::exit::ExitReason;
use crate::files::document::{self, Source};
use crate::files::report::{self, DiagnosticView};
use crate::output::json;

/// Runs one of the subcommands.
///
/// # Errors
/// When the file cannot be read, or the control plane is unreachable or refuses the request.
pub(crate) async fn run(
    command: PlanCommand,
    target: &ConnectionTarget,
    output: OutputFormat,
    console: Console,
) -> anyhow::Result<ExitReason> {
    match command {
        PlanCommand::Validate { file, server: false } => validate(&file, None, console).await,
        PlanCommand::Validate { file, server: true } => {
            validate(&file, Some(&target.client().await?), console).await
        }
        PlanCommand::Schema => {
            console.line(serde_json::to_string_pretty(&orchid_plan::plan_schema())?);
            Ok(ExitReason::Done)
        }
        PlanCommand::Trigger { key, config, watch } => {
            let client = target.client().await?;
            let config = config.unwrap_or_default();
            let request = TriggerPlanRequest { key, config, ..TriggerPlanRequest::default() };
            let execution = client.plans().trigger_plan(request).await.map_err(Error::from)?.into_inner();
            triggered(&client, execution, watch, output, console).await
        }
    }
}

async fn validate(file: &Path, server: Option<&Client>, console: Console) -> anyhow::Result<ExitReason> {
    let source = document::read_one(file)?;
    let (plan, warnings) = match document::parse_plan(&source) {
        Ok(parsed) => parsed,
        Err(error) => {
            console.notice(apply::describe(&error, console));
            return Ok(ExitReason::Failed);
        }
    };
    match server {
        // The control plane repeats the local checks, so its warnings include the local ones.
        Some(client) if !accepted(client, &source, &plan, console).await? => return Ok(ExitReason::Failed),
        Some(_) => {}
        None => warnings.iter().for_each(|Warning { code, pointer, message }| {
            console.notice(report::warning(
                &source.file,
                &source.text,
                code.as_str(),
                pointer,
                message,
                console,
            ));
        }),
    }
    console.line(format!("{} {} is valid", console.paint(TextStyle::Green, "✓"), source.file));
    Ok(ExitReason::Done)
}

/// Returns whether the control plane accepts the plan; prints its warnings and diagnostics.
async fn accepted(client: &Client, source: &Source, plan: &Plan, console: Console) -> Result<bool, Error> {
    let request = ValidatePlanRequest { plan: Some(plan.clone()) };
    let response = client.plans().validate_plan(request).await?.into_inner();
    for v1::Warning { code, pointer, message } in &response.warnings {
        console.notice(report::warning(&source.file, &source.text, code, pointer, message, console));
    }
    for diagnostic in &response.diagnostics {
        console.notice(report::diagnostic(
            &source.file,
            &source.text,
            &DiagnosticView::from(diagnostic),
            console,
        ));
    }
    Ok(response.diagnostics.is_empty())
}

async fn triggered(
    client: &Client,
    execution: Execution,
    follow: bool,
    output: OutputFormat,
    console: Console,
) -> anyhow::Result<ExitReason> {
    if !follow {
        match output {
            OutputFormat::Json => console.line(json::execution(&execution).to_string()),
            OutputFormat::Table => {
                console.line(format!("{} {}", execution.id, watch::state(execution.state())));
            }
        }
        return Ok(ExitReason::Done);
    }
    console.notice(format!(
        "execution {} of plan {} for config {}",
        execution.id, execution.plan, execution.config
    ));
    let ended = watch::watch(client, &execution.id, output, console).await?;
    Ok(executions::show_ended(&ended, output, console))
}

impl<'f> From<&'f Diagnostic> for DiagnosticView<'f> {
    fn from(diagnostic: &'f Diagnostic) -> Self {
        Self {
            code: DiagnosticCode::as_str(diagnostic.code),
            pointer: &diagnostic.pointer,
            position: diagnostic.position,
            message: &diagnostic.message,
            suggestion: diagnostic.suggestion.as_deref(),
            in_scope: &diagnostic.in_scope,
        }
    }
}

impl<'f> From<&'f v1::Diagnostic> for DiagnosticView<'f> {
    fn from(diagnostic: &'f v1::Diagnostic) -> Self {
        let v1::Diagnostic { code, pointer, message, suggestion, position, in_scope } = diagnostic;
        Self {
            code,
            pointer,
            position: position.and_then(|position| usize::try_from(position).ok()),
            message,
            suggestion: Some(suggestion.as_str()).filter(|suggestion| !suggestion.is_empty()),
            in_scope,
        }
    }
}

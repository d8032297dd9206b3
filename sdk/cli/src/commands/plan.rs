//! `orchid plan`: check a plan without and with a control plane, run one now.

use std::path::Path;

use orchid_plan::{Diagnostic, DiagnosticCode, Warning};
use orchid_sdk::{
    Client, Error,
    v1::{self, Execution, ExecutionState, Plan, TriggerPlanRequest, ValidatePlanRequest},
};

use super::{apply, watch};
use crate::{
    args::{Output, PlanCommand},
    connect::Target,
    console::{Console, Style},
    exit::Exit,
    files::{
        document::{self, Source},
        report::{self, Shown},
    },
    output::json,
};

/// Runs one of the commands.
pub(crate) async fn run(
    command: PlanCommand,
    target: &Target,
    output: Output,
    console: Console,
) -> anyhow::Result<Exit> {
    match command {
        PlanCommand::Validate { file, server: false } => validate(&file, None, console).await,
        PlanCommand::Validate { file, server: true } => {
            validate(&file, Some(&target.client().await?), console).await
        }
        PlanCommand::Schema => {
            console.line(serde_json::to_string_pretty(&orchid_plan::plan_schema())?);
            Ok(Exit::Done)
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

async fn validate(file: &Path, server: Option<&Client>, console: Console) -> anyhow::Result<Exit> {
    let source = document::read_one(file)?;
    let (plan, warnings) = match document::parse_plan(&source) {
        Ok(parsed) => parsed,
        Err(error) => {
            console.notice(apply::describe(&error, console));
            return Ok(Exit::Failed);
        }
    };
    match server {
        // It knows all that is known here, and says it too.
        Some(client) if !accepted(client, &source, &plan, console).await? => return Ok(Exit::Failed),
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
    console.line(format!("{} {} is valid", console.paint(Style::Green, "✓"), source.file));
    Ok(Exit::Done)
}

/// Whether the control plane would take it; says everything that it does not like.
async fn accepted(client: &Client, source: &Source, plan: &Plan, console: Console) -> Result<bool, Error> {
    let request = ValidatePlanRequest { plan: Some(plan.clone()) };
    let answer = client.plans().validate_plan(request).await?.into_inner();
    for v1::Warning { code, pointer, message } in &answer.warnings {
        console.notice(report::warning(&source.file, &source.text, code, pointer, message, console));
    }
    for fault in &answer.diagnostics {
        console.notice(report::fault(&source.file, &source.text, &Shown::from(fault), console));
    }
    Ok(answer.diagnostics.is_empty())
}

async fn triggered(
    client: &Client,
    execution: Execution,
    follow: bool,
    output: Output,
    console: Console,
) -> anyhow::Result<Exit> {
    if !follow {
        match output {
            Output::Json => console.line(json::execution(&execution).to_string()),
            Output::Table => {
                console.line(format!("{} {}", execution.id, watch::state(execution.state())));
            }
        }
        return Ok(Exit::Done);
    }
    console.notice(format!("{} of {} for {}", execution.id, execution.plan, execution.config));
    ended(&watch::watch(client, &execution.id, output, console).await?, output, console)
}

/// Shows an execution that has ended; one that did not end well is a failure.
pub(crate) fn ended(execution: &Execution, output: Output, console: Console) -> anyhow::Result<Exit> {
    match output {
        Output::Json => console.line(json::execution(execution).to_string()),
        Output::Table => console.print(super::executions::details(execution, console)),
    }
    Ok(if execution.state() == ExecutionState::Succeeded { Exit::Done } else { Exit::Failed })
}

impl<'f> From<&'f Diagnostic> for Shown<'f> {
    fn from(fault: &'f Diagnostic) -> Self {
        Self {
            code: DiagnosticCode::as_str(fault.code),
            pointer: &fault.pointer,
            position: fault.position,
            message: &fault.message,
            suggestion: fault.suggestion.as_deref(),
            in_scope: &fault.in_scope,
        }
    }
}

impl<'f> From<&'f v1::Diagnostic> for Shown<'f> {
    fn from(fault: &'f v1::Diagnostic) -> Self {
        let v1::Diagnostic { code, pointer, message, suggestion, position, in_scope } = fault;
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

//! `orchid executions`: lists, shows, follows, explains and cancels executions.

use orchid_sdk::Error;
use orchid_sdk::v1::{
    CancelExecutionRequest, Execution, ExecutionState, ExplainExecutionRequest, ExplainExecutionResponse,
    GetExecutionRequest, ListExecutionsRequest,
};
use serde_json::{Value, json};

use super::watch;
use crate::args::{ExecutionsCommand, OutputFormat};
use crate::connect::ConnectionTarget;
use crate::console::{Console, TextStyle};
use crate::exit::ExitReason;
use crate::output::table::Table;
use crate::output::{json as as_json, text};

/// Runs one of the subcommands.
///
/// # Errors
/// When the control plane is unreachable or refuses the request.
pub(crate) async fn run(
    command: ExecutionsCommand,
    target: &ConnectionTarget,
    output: OutputFormat,
    console: Console,
) -> anyhow::Result<ExitReason> {
    let client = target.client().await?;
    let mut service = client.executions();
    match command {
        ExecutionsCommand::List { plan, config, limit } => {
            let request = ListExecutionsRequest {
                plan: plan.unwrap_or_default(),
                config: config.unwrap_or_default(),
                page_size: limit,
                ..ListExecutionsRequest::default()
            };
            let found = service.list_executions(request).await.map_err(Error::from)?.into_inner().executions;
            show_list(&found, output, console);
        }
        ExecutionsCommand::Get { id } => {
            let request = GetExecutionRequest { id };
            let found = service.get_execution(request).await.map_err(Error::from)?.into_inner();
            show_one(&found, output, console);
        }
        ExecutionsCommand::Watch { id } => {
            return Ok(show_ended(&watch::watch(&client, &id, output, console).await?, output, console));
        }
        ExecutionsCommand::Explain { id } => {
            let request = ExplainExecutionRequest { id };
            let found = service.explain_execution(request).await.map_err(Error::from)?.into_inner();
            show_explained(&found, output, console);
        }
        ExecutionsCommand::Cancel { id, reason } => {
            let request = CancelExecutionRequest { id, reason };
            let found = service.cancel_execution(request).await.map_err(Error::from)?.into_inner();
            show_cancelled(&found, output, console);
        }
    }
    Ok(ExitReason::Done)
}

fn show_list(executions: &[Execution], output: OutputFormat, console: Console) {
    if output == OutputFormat::Json {
        return console.line(Value::from_iter(executions.iter().map(as_json::execution)).to_string());
    }
    if executions.is_empty() {
        return console.notice("no executions");
    }
    let mut table = Table::titled(["ID", "PLAN", "CONFIG", "STATE", "ATTEMPT", "PAGES", "ROWS", "CREATED"]);
    for execution in executions {
        let counts = execution.counts.unwrap_or_default();
        table.row([
            execution.id.clone(),
            execution.plan.clone(),
            execution.config.clone(),
            watch::state(execution.state()),
            execution.attempt.to_string(),
            text::number(counts.pages),
            text::number(counts.rows),
            text::time(execution.create_time.as_ref()),
        ]);
    }
    console.print(table.render());
}

fn show_one(execution: &Execution, output: OutputFormat, console: Console) {
    match output {
        OutputFormat::Json => console.line(as_json::execution(execution).to_string()),
        OutputFormat::Table => console.print(details(execution, console)),
    }
}

/// Shows an execution that has ended; the exit is a failure unless it succeeded.
pub(crate) fn show_ended(execution: &Execution, output: OutputFormat, console: Console) -> ExitReason {
    show_one(execution, output, console);
    if execution.state() == ExecutionState::Succeeded { ExitReason::Done } else { ExitReason::Failed }
}

/// Returns a table with the fields of an execution.
fn details(execution: &Execution, console: Console) -> String {
    let mut table = Table::untitled();
    table.row(["execution", &execution.id]);
    table.row(["plan", &format!("{} (revision {})", execution.plan, execution.plan_revision)]);
    table.row(["config", &format!("{}/{}", execution.integration, execution.config)]);
    table.row(["state", &watch::painted(execution, console)]);
    table.row(["attempt", &execution.attempt.to_string()]);
    table.row(["created", &text::time(execution.create_time.as_ref())]);
    table.row(["started", &text::time(execution.start_time.as_ref())]);
    table.row(["ended", &text::time(execution.end_time.as_ref())]);
    if !execution.continues_execution_id.is_empty() {
        table.row(["continues", &execution.continues_execution_id]);
    }
    if let Some(not_before) = &execution.not_before {
        table.row(["resumes", &text::time(Some(not_before))]);
    }
    if !execution.waiting_for.is_empty() {
        table.row(["waiting for", &execution.waiting_for]);
    }
    if let Some(counts) = &execution.counts {
        let retries = text::count(counts.retries, "retry", "retries");
        let errors = text::count(counts.errors, "error", "errors");
        table.row(["requests", &format!("{}, with {retries}", text::number(counts.requests))]);
        table.row(["pages", &text::number(counts.pages)]);
        table.row(["rows", &text::number(counts.rows)]);
        table.row(["messages", &format!("{}, and {errors}", text::number(counts.messages))]);
    }
    if let Some(error) = &execution.error {
        table.row(["error", &format!("{} {}: {}", error.class, error.code, error.message)]);
        table.row(["at", &error.pointer]);
        if !error.response_excerpt.is_empty() {
            table.row(["response", &error.response_excerpt]);
        }
    }
    for warning in &execution.warnings {
        table.row(["warning", &format!("{} at {}: {}", warning.code, warning.pointer, warning.message)]);
    }
    table.render()
}

fn show_explained(explained: &ExplainExecutionResponse, output: OutputFormat, console: Console) {
    let ExplainExecutionResponse { execution, summary, events, attempts } = explained;
    if output == OutputFormat::Json {
        let explanation = json!({
            "execution": execution.as_ref().map(as_json::execution),
            "summary": summary,
            "events": events.iter().map(as_json::event).collect::<Vec<_>>(),
            "attempts": attempts.iter().map(as_json::attempt).collect::<Vec<_>>(),
        });
        return console.line(explanation.to_string());
    }
    console.line(summary);
    let mut history = Table::titled(["TIME", "STATE", "ATTEMPT", "CAUSE", "DETAIL"]);
    for event in events {
        history.row([
            text::time(event.time.as_ref()),
            watch::state(event.state()),
            event.attempt.to_string(),
            event.cause.clone(),
            event.detail.clone(),
        ]);
    }
    let mut attempt_rows =
        Table::titled(["ATTEMPT", "EXECUTOR", "GRANTED", "ENDED", "END REASON", "LAST REQUEST"]);
    for attempt in attempts {
        attempt_rows.row([
            attempt.attempt.to_string(),
            attempt.executor.clone(),
            text::time(attempt.grant_time.as_ref()),
            text::time(attempt.end_time.as_ref()),
            attempt.end_reason.clone(),
            text::shortened(&attempt.last_request, 60),
        ]);
    }
    for (title, table) in [("History", history), ("Attempts", attempt_rows)] {
        if !table.is_empty() {
            console.print(format!("\n{}\n{}", console.paint(TextStyle::Bold, title), table.render()));
        }
    }
}

fn show_cancelled(execution: &Execution, output: OutputFormat, console: Console) {
    if output == OutputFormat::Json {
        return console.line(as_json::execution(execution).to_string());
    }
    let state = watch::state(execution.state());
    console.line(match execution.state() {
        ExecutionState::Cancelled => format!("{} is cancelled", execution.id),
        ended if watch::has_ended(ended) => format!("{} has already ended: {state}", execution.id),
        _ => format!("{} is {state}; its executor is being told to stop", execution.id),
    });
}

#[cfg(test)]
mod tests {
    use orchid_sdk::v1::{ExecutionError, Warning};

    use super::*;

    #[test]
    fn details_show_the_response_and_every_warning() {
        let error =
            ExecutionError { response_excerpt: "quota is used up".to_owned(), ..ExecutionError::default() };
        let warning = |code: &str, message: &str| Warning {
            code: code.to_owned(),
            pointer: "/definition/step".to_owned(),
            message: message.to_owned(),
        };
        let execution = Execution {
            error: Some(error),
            warnings: vec![warning("CURSOR_HELD", "orders#0[1] failed"), warning("LIMIT_NEAR", "8 of 9")],
            ..Execution::default()
        };
        let details = details(&execution, Console::plain());
        for words in [
            "quota is used up",
            "CURSOR_HELD at /definition/step: orders#0[1] failed",
            "LIMIT_NEAR at /definition/step: 8 of 9",
        ] {
            assert!(details.contains(words), "{words}:\n{details}");
        }
    }
}

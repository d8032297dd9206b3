//! `orchid dev`: runs all of Orchid on this machine with one command, and stops all of it again.

mod broker;
mod child_settings;
mod logs;
pub(crate) mod programs;
mod secrets;
mod service;
mod stack;
pub(crate) mod state;
pub(crate) mod upstream;

use std::time::Instant;

use orchid_kit::clock;
use orchid_kit::shutdown::ShutdownSignals;

use crate::console::{Console, TextStyle};
use crate::exit::ExitReason;
use crate::output::table::Table;
use crate::output::text;

pub(crate) use stack::{DevStack, StackOptions};

/// Starts the stack, prints its addresses and keeps it running until a signal arrives.
///
/// # Errors
/// When a part of the stack does not start.
pub(crate) async fn run(
    options: &StackOptions,
    exit_when_ready: bool,
    console: Console,
) -> anyhow::Result<ExitReason> {
    let mut signals = ShutdownSignals::install()?;
    let began = clock::monotonic();
    let mut stack = tokio::select! {
        started = DevStack::start(options, console) => started?,
        signal = signals.next() => {
            console.notice(format!("{signal}: stopped before everything had started"));
            return Ok(ExitReason::Failed);
        }
    };
    console.print(welcome(&stack, began, console));
    if !exit_when_ready {
        until_signal(&mut stack, &mut signals).await;
    }
    stop(stack, &mut signals, console).await;
    Ok(ExitReason::Done)
}

/// Supervises the stack until a signal arrives.
pub(crate) async fn until_signal(stack: &mut DevStack, signals: &mut ShutdownSignals) {
    tokio::select! {
        () = stack.supervise() => {}
        _ = signals.next() => {}
    }
}

/// Stops the stack in order. A second signal stops waiting; dropping the stack then kills it.
pub(crate) async fn stop(stack: DevStack, signals: &mut ShutdownSignals, console: Console) {
    if console.is_terminal() {
        console.notice("stopping; press Ctrl-C again to stop at once");
    }
    tokio::select! {
        () = stack.stop() => {}
        _ = signals.next() => {}
    }
}

/// Returns the table of addresses and the commands to try next.
fn welcome(stack: &DevStack, began: Instant, console: Console) -> String {
    let state = stack.state();
    let took = text::duration(clock::monotonic() - began);
    let executors: Vec<&str> = stack.services().iter().skip(1).map(|service| service.name()).collect();
    let mut table = Table::untitled();
    table.row(["  control plane", &format!("{}   gRPC with reflection", state.grpc)]);
    table.row(["  executors", &executors.join(", ")]);
    table.row(["  postgres", &state.postgres]);
    table.row(["  redis", &state.redis]);
    table.row(["  kafka", &format!("{}   topics {}", state.kafka.brokers, state.kafka.topics().join(", "))]);
    table.row(["  upstream", &format!("{}/orders", state.upstream)]);
    table.row(["  tenant", &format!("{}   x-tenant-id", state.tenant)]);
    table.row(["  logs", &state.logs.display().to_string()]);
    let orchid = programs::invocation(stack.folder());
    format!(
        "{}\n\n{}\nTry next\n  {orchid} apply -f docs/examples/orders\n  {orchid} plan trigger orders-sync --watch\n  \
         {orchid} tail orders-sync --from-beginning\n\n",
        console.paint(TextStyle::Bold, format!("orchid is ready after {took}; press Ctrl-C to stop it")),
        table.render(),
    )
}

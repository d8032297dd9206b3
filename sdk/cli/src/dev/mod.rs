//! `orchid dev`: the whole of Orchid on this machine, from one command, leaving nothing behind.

mod broker;
mod logs;
pub(crate) mod programs;
mod recipes;
mod secrets;
mod service;
mod stack;
pub(crate) mod state;
pub(crate) mod upstream;

use std::time::Instant;

use orchid_kit::{clock, shutdown::ShutdownSignals};

pub(crate) use stack::{Stack, StackOptions};

use crate::{
    console::{Console, Style},
    exit::Exit,
    output::{table::Table, text},
};

/// Starts the stack, says where everything is, and keeps it running until a signal comes.
pub(crate) async fn run(
    options: &StackOptions,
    exit_when_ready: bool,
    console: Console,
) -> anyhow::Result<Exit> {
    let mut signals = ShutdownSignals::install()?;
    let began = clock::monotonic();
    let mut stack = tokio::select! {
        started = Stack::start(options, console) => started?,
        signal = signals.next() => {
            console.notice(format!("{signal}: stopped before everything had started"));
            return Ok(Exit::Failed);
        }
    };
    console.print(welcome(&stack, began, console));
    if !exit_when_ready {
        until_signal(&mut stack, &mut signals).await;
    }
    stop(stack, &mut signals, console).await;
    Ok(Exit::Done)
}

/// Tends the stack until somebody wants it to end.
pub(crate) async fn until_signal(stack: &mut Stack, signals: &mut ShutdownSignals) {
    tokio::select! {
        () = stack.tend() => {}
        _ = signals.next() => {}
    }
}

/// Stops the stack in order; a second signal kills what is left.
pub(crate) async fn stop(stack: Stack, signals: &mut ShutdownSignals, console: Console) {
    if console.is_terminal() {
        console.notice("stopping; Ctrl-C again to stop at once");
    }
    tokio::select! {
        () = stack.stop() => {}
        _ = signals.next() => {}
    }
}

fn welcome(stack: &Stack, began: Instant, console: Console) -> String {
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
        "{}\n\n{}\nTry\n  {orchid} apply -f docs/examples/orders\n  {orchid} plan trigger orders-sync --watch\n  \
         {orchid} tail orders-sync --from-beginning\n\n",
        console.paint(Style::Bold, format!("orchid is ready after {took}; Ctrl-C stops it")),
        table.render(),
    )
}

//! The `orchid` command: parses the arguments, runs the command and maps its result to an exit
//! code.

mod args;
mod commands;
mod connect;
mod console;
mod demo;
mod dev;
mod exit;
mod files;
mod kafka;
mod output;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{ApplyArgs, Args, Command, GlobalArgs, StackArgs};
use crate::commands::{apply, executions, plan, tail, tenants};
use crate::connect::ConnectionTarget;
use crate::console::Console;
use crate::demo::ApiOptions;
use crate::dev::StackOptions;
use crate::exit::ExitReason;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let console = Console::new();
    let exit = match run(args, console).await {
        Ok(exit) => exit,
        Err(error) => {
            console.notice(format!("orchid: {}", exit::error_chain(&error)));
            ExitReason::from_error(&error)
        }
    };
    exit.into()
}

async fn run(Args { command, global }: Args, console: Console) -> anyhow::Result<ExitReason> {
    match command {
        Command::Dev(args) => {
            dev::run(&stack_options(args.stack, &global), args.exit_when_ready, console).await
        }
        Command::Demo(args) => {
            let api = ApiOptions { url: args.api, headers: args.header };
            demo::run(&stack_options(args.stack, &global), &api, console).await
        }
        Command::Apply(ApplyArgs { files, dry_run }) => {
            apply::run(&ConnectionTarget::resolve(&global)?, &files, dry_run, console).await
        }
        Command::Plan(command) => {
            plan::run(command, &ConnectionTarget::resolve(&global)?, global.output, console).await
        }
        Command::Executions(command) => {
            executions::run(command, &ConnectionTarget::resolve(&global)?, global.output, console).await
        }
        Command::Tail(args) => {
            tail::run(args, &ConnectionTarget::resolve(&global)?, global.output, console).await
        }
        Command::Tenants(command) => {
            tenants::run(command, &ConnectionTarget::resolve(&global)?, global.output, console).await
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "orchid", &mut text);
            console.print(String::from_utf8_lossy(&text));
            Ok(ExitReason::Done)
        }
    }
}

fn stack_options(args: StackArgs, global: &GlobalArgs) -> StackOptions {
    let StackArgs { port, executors, kafka, allow_private, logs, fresh } = args;
    let data = global.data.clone();
    StackOptions { port, data, executors: executors.into(), kafka, allow_private, fresh, logs }
}

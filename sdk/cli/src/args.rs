//! The command line: commands, flags and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use uuid::Uuid;

/// The default data folder of a development stack.
pub(crate) const DATA_FOLDER: &str = ".orchid/dev";

const EXIT_CODES: &str =
    "Exit codes: 0 success · 1 failure · 2 invalid usage · 3 control plane or broker unreachable";

/// Polls HTTP APIs from declarative plans and writes their responses to Kafka.
#[derive(Debug, Parser)]
#[command(name = "orchid", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: GlobalArgs,
}

/// Flags that every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Control plane address, host:port or https://host:port [default: the running `orchid dev`]
    #[arg(long, global = true, env = "ORCHID_ENDPOINT", value_name = "ADDRESS")]
    pub endpoint: Option<String>,
    /// Tenant to act for [default: the tenant of the running `orchid dev`]
    #[arg(long, global = true, env = "ORCHID_TENANT", value_name = "UUID")]
    pub tenant: Option<Uuid>,
    /// Data folder of `orchid dev`
    #[arg(long, global = true, default_value = DATA_FOLDER, value_name = "FOLDER")]
    pub data: PathBuf,
    /// Output format
    #[arg(long, short, global = true, default_value = "table")]
    pub output: OutputFormat,
}

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Tables and text for people.
    Table,
    /// JSON for programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all of Orchid on this machine until Ctrl-C: Postgres, Redis, a Kafka broker, a control
    /// plane, executors and a demo API
    Dev(DevArgs),
    /// Start all of Orchid, poll the demo API (or yours) once and show the messages in Kafka
    Demo(DemoArgs),
    /// Create or update the integrations, configs and plans that files declare; deletes nothing
    Apply(ApplyArgs),
    /// Validate and trigger plans
    #[command(subcommand)]
    Plan(PlanCommand),
    /// List, show, follow, explain and cancel executions
    #[command(subcommand)]
    Executions(ExecutionsCommand),
    /// Print a plan's messages as they arrive in Kafka
    Tail(TailArgs),
    /// Create and list tenants (for operators)
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Print a shell completion script
    Completions {
        /// Shell that the script is for
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    /// JSON file, or folder that is searched for .json files; can be repeated
    #[arg(long = "file", short = 'f', required = true, value_name = "FILE_OR_FOLDER")]
    pub(crate) files: Vec<PathBuf>,
    /// Print the changes without making them
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Check a plan file and print every problem with its location and a fix
    Validate {
        /// Plan file
        file: PathBuf,
        /// Also check it on the control plane, against the tenant's integrations and configs
        #[arg(long)]
        server: bool,
    },
    /// Print the JSON Schema of plan files; editors use it when a plan file names it in "$schema"
    Schema,
    /// Trigger an execution of a plan
    Trigger {
        /// Plan key
        key: String,
        /// Config key; optional if the plan has only one config
        #[arg(long, value_name = "KEY")]
        config: Option<String>,
        /// Follow the execution to its end; the exit code is 1 unless it succeeds
        #[arg(long)]
        watch: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExecutionsCommand {
    /// List executions, newest first
    List {
        /// Only executions of this plan
        #[arg(long, value_name = "KEY")]
        plan: Option<String>,
        /// Only executions for this config; requires --plan
        #[arg(long, value_name = "KEY", requires = "plan")]
        config: Option<String>,
        /// Maximum number of executions
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
    /// Show an execution
    Get {
        /// Execution id
        id: String,
    },
    /// Follow an execution to its end; the exit code is 1 unless it succeeds
    Watch {
        /// Execution id
        id: String,
    },
    /// Explain why an execution is not running, or how it ended
    Explain {
        /// Execution id
        id: String,
    },
    /// Cancel an execution
    Cancel {
        /// Execution id
        id: String,
        /// Reason, kept in the execution's history
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// Plan key
    pub(crate) plan: String,
    /// Only messages of this config
    #[arg(long, value_name = "KEY")]
    pub(crate) config: Option<String>,
    /// Start with the oldest message in Kafka
    #[arg(long)]
    pub(crate) from_beginning: bool,
    /// Stop after this many messages
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max: Option<usize>,
    /// Kafka broker [default: the broker of the running `orchid dev`]
    #[arg(long, env = "ORCHID_KAFKA", value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
    /// Topics to read
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "api-responses,api-errors,execution-events"
    )]
    pub(crate) topics: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantsCommand {
    /// Create a tenant
    Create {
        /// Display name
        display_name: String,
        /// Tenant id [default: a new one]
        #[arg(long, value_name = "UUID")]
        id: Option<Uuid>,
        /// Executor pool that runs its plans
        #[arg(long, default_value = "default")]
        pool: String,
    },
    /// List tenants, newest first
    List {
        /// Maximum number of tenants
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct StackArgs {
    /// Port of the control plane; a free port is used if this one is taken
    #[arg(long, default_value_t = 7400)]
    pub port: u16,
    /// Number of executors
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub executors: u8,
    /// Use this Kafka broker instead of the built-in one
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Private address range that plans may reach besides this machine's own, such as 10.0.0.0/8;
    /// can be repeated
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    pub allow_private: Vec<String>,
    /// Print the logs of the control plane and the executors
    #[arg(long)]
    pub logs: bool,
    /// Delete the data of earlier starts first
    #[arg(long)]
    pub fresh: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    /// Stop as soon as everything has started
    #[arg(long)]
    pub exit_when_ready: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    /// Poll this URL instead of the demo API; rows and pagination are guessed from its first
    /// response
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// HTTP header to send to the API; can be repeated
    #[arg(long, value_name = "NAME: VALUE", requires = "api")]
    pub header: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_definitions_are_valid() {
        Args::command().debug_assert();
    }
}

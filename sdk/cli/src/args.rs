//! What can be typed: commands, flags, and their help.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use uuid::Uuid;

/// Where a development stack keeps its data, unless said otherwise.
pub(crate) const DATA_FOLDER: &str = ".orchid/dev";

const EXIT_CODES: &str = "Exit codes: 0 done · 1 it failed · 2 the command was wrong · 3 the control plane or broker cannot be reached";

/// Polls HTTP APIs from declarative plans, and puts what they answer into Kafka.
#[derive(Debug, Parser)]
#[command(name = "orchid", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

/// Flags that every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// The control plane, host:port or https://host:port [default: the running `orchid dev`]
    #[arg(long, global = true, env = "ORCHID_ENDPOINT", value_name = "ADDRESS")]
    pub endpoint: Option<String>,
    /// The tenant that commands are for [default: that of the running `orchid dev`]
    #[arg(long, global = true, env = "ORCHID_TENANT", value_name = "UUID")]
    pub tenant: Option<Uuid>,
    /// The data folder of `orchid dev`
    #[arg(long, global = true, default_value = DATA_FOLDER, value_name = "FOLDER")]
    pub data: PathBuf,
    /// How answers are printed
    #[arg(long, short, global = true, default_value = "table")]
    pub output: Output,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all of Orchid on this machine until Ctrl-C: Postgres, Redis, a broker, control plane, executors, a demo API
    Dev(DevArgs),
    /// Run all of Orchid, poll the demo API (or yours) once, and show what came into Kafka
    Demo(DemoArgs),
    /// Make what stands in files true: integrations, configs, plans; says what it changes, deletes nothing
    Apply(ApplyArgs),
    /// Check and run plans
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Look at the runs of plans, and cancel them
    #[command(subcommand)]
    Executions(ExecutionsCommand),
    /// Show a plan's messages, live from Kafka
    Tail(TailArgs),
    /// Create and list tenants; for operators
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    /// A file, or a folder with .json files; can be given more than once
    #[arg(long = "file", short = 'f', required = true, value_name = "FILE_OR_FOLDER")]
    pub(crate) files: Vec<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Check a plan and show all its faults, each with its place and the fix
    Validate {
        /// The plan's file
        file: PathBuf,
        /// Let the control plane check it too, against what the tenant has
        #[arg(long)]
        server: bool,
    },
    /// Print the JSON Schema of plan files, for editors: name it as "$schema" in a plan's file
    Schema,
    /// Run a plan now
    Trigger {
        /// The plan's key
        key: String,
        /// The config's key; may be left out where the plan has only one
        #[arg(long, value_name = "KEY")]
        config: Option<String>,
        /// Follow the run to its end; it failing is exit code 1
        #[arg(long)]
        watch: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExecutionsCommand {
    /// List executions, newest first
    List {
        /// Only of this plan
        #[arg(long, value_name = "KEY")]
        plan: Option<String>,
        /// Only of this config; needs --plan
        #[arg(long, value_name = "KEY", requires = "plan")]
        config: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
    /// Show one execution
    Get {
        /// Its id
        id: String,
    },
    /// Follow one execution to its end; it failing is exit code 1
    Watch {
        /// Its id
        id: String,
    },
    /// Say why it is not running, or how it came to its end
    Explain {
        /// Its id
        id: String,
    },
    /// Ask for it to be cancelled
    Cancel {
        /// Its id
        id: String,
        /// Kept in its history
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// The plan's key
    pub(crate) plan: String,
    /// Only of this config
    #[arg(long, value_name = "KEY")]
    pub(crate) config: Option<String>,
    /// Begin with the oldest message that Kafka holds
    #[arg(long)]
    pub(crate) from_beginning: bool,
    /// End after so many messages
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max: Option<usize>,
    /// The broker [default: that of the running `orchid dev`]
    #[arg(long, env = "ORCHID_KAFKA", value_name = "HOST:PORT")]
    pub(crate) kafka: Option<String>,
    /// The topics to read
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
        /// For people
        display_name: String,
        /// The id that it shall have
        #[arg(long, value_name = "UUID")]
        id: Option<Uuid>,
        /// The pool of executors that runs its plans
        #[arg(long, default_value = "default")]
        pool: String,
    },
    /// List the tenants, newest first
    List {
        /// At most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
        limit: i32,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct StackArgs {
    /// Port of the control plane; when it is taken, a free one is used
    #[arg(long, default_value_t = 7400)]
    pub port: u16,
    /// Number of executors
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub executors: u8,
    /// Use this broker instead of the built-in one
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Private addresses that plans may reach, besides this machine's own, as 10.0.0.0/8; can be given more than once
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    pub allow_private: Vec<String>,
    /// Show the logs of control plane and executors
    #[arg(long)]
    pub logs: bool,
    /// Forget what the data folder holds
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
    /// Poll this url instead of the demo API: its rows and pages are guessed from its first answer
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Send this header to it; can be given more than once
    #[arg(long, value_name = "NAME: VALUE", requires = "api")]
    pub header: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Args::command().debug_assert();
    }
}

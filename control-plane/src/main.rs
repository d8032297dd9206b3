//! `orchid-control-plane`: `serve` runs the control plane, `migrate` updates the database's schema.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use orchid_control_plane::settings::{MigrateSettings, Settings};
use orchid_control_plane::{app, migrate};
use orchid_kit::settings::{SettingsSources, describe_settings, render_help};
use orchid_kit::telemetry::{Telemetry, TelemetrySettings};

const NAME: &str = "orchid-control-plane";
const FLUSH: Duration = Duration::from_secs(5);

/// Orchid's control plane: management API, scheduling, leases.
#[derive(Parser)]
#[command(name = NAME, version)]
struct CliArguments {
    /// TOML file with settings; ORCHID_* environment variables override it.
    #[arg(long, global = true)]
    settings: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Serves users and executors until a stop signal arrives.
    #[command(after_help = render_help(&describe_settings(Settings::read)))]
    Serve {
        /// File to write the address to once the port is open.
        #[arg(long)]
        announce: Option<PathBuf>,
    },
    /// Migrates the database's schema to the version of this build, or some steps back.
    #[command(after_help = render_help(&describe_settings(MigrateSettings::read)))]
    Migrate {
        /// Number of steps to revert instead.
        #[arg(long)]
        down: Option<u32>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(CliArguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not be set up yet, and users look at stderr first.
            eprint_line(&format!("{NAME}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: CliArguments) -> anyhow::Result<()> {
    let sources = SettingsSources::load(arguments.settings.as_deref())?;
    match arguments.command {
        CliCommand::Serve { announce } => {
            let settings = sources.read(Settings::read)?;
            let telemetry = start_telemetry(&settings.telemetry)?;
            let served = app::serve(settings, announce.as_deref()).await;
            telemetry.flush(FLUSH);
            served
        }
        CliCommand::Migrate { down } => {
            let settings = sources.read(MigrateSettings::read)?;
            let telemetry = start_telemetry(&settings.telemetry)?;
            let migrated = migrate::run(&settings, down).await;
            telemetry.flush(FLUSH);
            Ok(migrated?)
        }
    }
}

fn start_telemetry(settings: &TelemetrySettings) -> anyhow::Result<Telemetry> {
    Ok(Telemetry::start(NAME, &uuid::Uuid::now_v7().to_string(), settings)?)
}

#[expect(clippy::print_stderr, reason = "reports the error that ends the process")]
fn eprint_line(text: &str) {
    eprintln!("{text}");
}

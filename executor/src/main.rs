//! `orchid-executor`: reads the settings, runs until a signal, and drains.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use orchid_executor::app::App;
use orchid_executor::settings::Settings;
use orchid_executor::startup::{load_settings, runtime};
use orchid_kit::address_file::write_address;
use orchid_kit::settings::{describe_settings, render_help};
use orchid_kit::shutdown::ShutdownSignals;
use orchid_kit::telemetry::Telemetry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Orchid's executor: takes leases from the control plane, runs plans, and writes responses to
/// Kafka.
#[derive(Parser)]
#[command(version, after_help = settings_help())]
struct Arguments {
    /// TOML file with settings. Environment variables (`ORCHID_…`) override it.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// Write the address of the health port to this file once it is served.
    #[arg(long)]
    announce: Option<PathBuf>,
}

/// Lists all settings. The default name contains the process id, and is not computed here.
fn settings_help() -> String {
    render_help(&describe_settings(|reader| Settings::read(reader, "host", 0)))
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            #[expect(clippy::print_stderr, reason = "logging may not have started yet")]
            {
                eprintln!("orchid-executor: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<()> {
    let settings = load_settings(arguments.settings.as_deref())?;
    let runtime = runtime(&settings).context("cannot create the runtime")?;
    runtime.block_on(run(settings, arguments.announce.as_deref()))
}

async fn run(settings: Settings, announce: Option<&Path>) -> anyhow::Result<()> {
    let telemetry = Telemetry::start("orchid-executor", &settings.executor.name, &settings.telemetry)?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a crypto provider is already installed"))?;
    let mut signals = ShutdownSignals::install().context("cannot install signal handlers")?;
    let mut app = App::start(settings).await?;
    let address = app.address();
    tracing::info!(%address, "listening");
    if let Some(path) = announce {
        write_address(path, &address.to_string())?;
    }
    tokio::select! {
        signal = signals.next() => tracing::info!(%signal, "stopping"),
        () = app.wait_ended() => {}
    }
    let result = tokio::select! {
        result = app.stop() => result,
        signal = signals.next() => Err(anyhow::anyhow!("drain cut short by a second signal: {signal}")),
    };
    telemetry.flush(Duration::from_secs(2));
    result
}

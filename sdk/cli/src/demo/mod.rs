//! `orchid demo`: one job from end to end.
//!
//! Starts the development stack, applies the example files or a plan guessed for the user's API,
//! triggers the plan, and shows the execution and its messages in Kafka. At a terminal the stack
//! keeps running until Ctrl-C, else it stops at once. The demo fails unless every message arrived.

mod check;
mod custom_api;
mod diagnosis;
mod examples;
mod guess;
mod run;
mod show;

use anyhow::{Context as _, bail};
use orchid_kit::clock;
use orchid_kit::shutdown::ShutdownSignals;
use orchid_sdk::{Client, Credentials};

use self::custom_api::CustomApi;
use self::run::DemoRunner;
use crate::commands::apply::put_all;
use crate::console::Console;
use crate::dev::state::DevState;
use crate::dev::upstream::ORDER_COUNT;
use crate::dev::{self, DevStack, StackOptions};
use crate::exit::{ExitReason, error_chain};
use crate::kafka::{MessageReader, StartOffset};

/// The arguments that describe the user's API.
#[derive(Debug, Default)]
pub(crate) struct ApiOptions {
    /// The URL to poll; the demo API if there is none.
    pub url: Option<String>,
    /// Headers to send, each as `Name: value`.
    pub headers: Vec<String>,
}

/// Runs the demo against the demo API, or against the user's API if `api` has a URL.
pub(crate) async fn run(
    options: &StackOptions,
    api: &ApiOptions,
    console: Console,
) -> anyhow::Result<ExitReason> {
    let ApiOptions { url, headers } = api;
    let api = url.as_deref().map(|url| CustomApi::parse(url, headers)).transpose()?;
    let plan = if api.is_some() { custom_api::PLAN } else { examples::PLAN };
    let mut signals = ShutdownSignals::install()?;
    let began = clock::monotonic();
    let mut stack = tokio::select! {
        started = DevStack::start(options, console) => started?,
        _ = signals.next() => bail!("stopped before everything had started"),
    };
    console.print(show::started(stack.state(), clock::monotonic() - began, console));
    let state = stack.state().clone();
    let result = tokio::select! {
        result = play(&state, api.as_ref(), console) => result,
        () = stack.supervise() => Ok(ExitReason::Failed),
        _ = signals.next() => Err(anyhow::anyhow!("interrupted")),
    };
    match &result {
        Ok(ExitReason::Done) => {
            console.print(show::next_commands(&state, stack.folder(), plan, console));
            if console.is_terminal() {
                console.line("Everything keeps running until you press Ctrl-C.");
                dev::until_signal(&mut stack, &mut signals).await;
            }
        }
        Ok(_) => {}
        Err(error) => {
            let logs = state.logs.display();
            console.notice(format!(
                "orchid: {}\nlogs of the control plane and the executors: {logs}",
                error_chain(error)
            ));
        }
    }
    dev::stop(stack, &mut signals, console).await;
    Ok(result.unwrap_or(ExitReason::Failed))
}

/// Runs the part between the start and the stop of the stack.
async fn play(state: &DevState, api: Option<&CustomApi>, console: Console) -> anyhow::Result<ExitReason> {
    let tenant = Some(state.tenant);
    let client = Client::connect(&state.grpc, Credentials::Development { tenant }).await?;
    let topics = vec![state.kafka.topic_responses.clone(), state.kafka.topic_errors.clone()];
    let reader = MessageReader::start(&state.kafka.brokers, topics, StartOffset::Next).await?;
    let mut runner = DemoRunner { client: &client, reader, console };
    match api {
        Some(api) => custom_api::poll(&mut runner, api).await,
        None => poll_orders(&mut runner, state).await,
    }
}

async fn poll_orders(runner: &mut DemoRunner<'_>, state: &DevState) -> anyhow::Result<ExitReason> {
    let console = runner.console;
    put_all(runner.client, &examples::documents(&state.variables)?)
        .await
        .context("cannot apply the example files")?;
    let expected = i64::try_from(ORDER_COUNT)?;
    let (execution, received) = runner.run(examples::PLAN, examples::CONFIG, Some(expected)).await?;
    console.print(show::summary(&execution, console));
    console.print(show::messages(&received, true, console));
    match check::check_orders(&execution, &received, expected) {
        Ok(summary) => {
            console.line(show::success(&summary, console));
            Ok(ExitReason::Done)
        }
        Err(reason) => {
            console.notice(show::failure(&reason, console));
            Ok(ExitReason::Failed)
        }
    }
}

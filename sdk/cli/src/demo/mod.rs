//! `orchid demo`: the first job, end to end. Starts the development stack, applies the example files or a plan guessed for an API of the
//! user's own, triggers the plan, shows the run and what stands in Kafka, and says how to look on. It ends by itself where nobody looks on,
//! and fails unless everything has come.

mod check;
mod examples;
mod guess;
mod run;
mod show;
mod trouble;
mod yours;

use anyhow::{Context as _, bail};
use orchid_kit::{clock, shutdown::ShutdownSignals};
use orchid_sdk::{Client, Credentials};

use self::{run::Runs, yours::Api};
use crate::{
    commands::apply::put_all,
    console::Console,
    dev::{self, Stack, StackOptions, state::DevState, upstream::ORDER_COUNT},
    exit::{Exit, words},
    kafka::{From, Reader},
};

/// What was typed of an API of the user's own.
#[derive(Debug, Default)]
pub(crate) struct ApiOptions {
    /// Its url; without one the demo API is polled.
    pub url: Option<String>,
    /// Headers to send, `Name: value` each.
    pub headers: Vec<String>,
}

/// Runs the demo; with the url of an API of the user's own, that is polled instead.
pub(crate) async fn run(options: &StackOptions, api: &ApiOptions, console: Console) -> anyhow::Result<Exit> {
    let ApiOptions { url, headers } = api;
    let api = url.as_deref().map(|url| Api::parse(url, headers)).transpose()?;
    let plan = if api.is_some() { yours::PLAN } else { examples::PLAN };
    let mut signals = ShutdownSignals::install()?;
    let began = clock::monotonic();
    let mut stack = tokio::select! {
        started = Stack::start(options, console) => started?,
        _ = signals.next() => bail!("stopped before everything had started"),
    };
    console.print(show::started(stack.state(), clock::monotonic() - began, console));
    let state = stack.state().clone();
    let shown = tokio::select! {
        shown = play(&state, api.as_ref(), console) => shown,
        () = stack.tend() => Ok(Exit::Failed),
        _ = signals.next() => Err(anyhow::anyhow!("interrupted")),
    };
    match &shown {
        Ok(Exit::Done) => {
            console.print(show::look_on(&state, stack.folder(), plan, console));
            if console.is_terminal() {
                console.line("Everything keeps running; Ctrl-C stops it.");
                dev::until_signal(&mut stack, &mut signals).await;
            }
        }
        Ok(_) => {}
        Err(error) => {
            let logs = state.logs.display();
            console
                .notice(format!("orchid: {}\nthe logs of control plane and executors: {logs}", words(error)));
        }
    }
    dev::stop(stack, &mut signals, console).await;
    Ok(shown.unwrap_or(Exit::Failed))
}

/// Everything between start and stop.
async fn play(state: &DevState, api: Option<&Api>, console: Console) -> anyhow::Result<Exit> {
    let tenant = Some(state.tenant);
    let client = Client::connect(&state.grpc, Credentials::Development { tenant }).await?;
    let topics = vec![state.kafka.topic_responses.clone(), state.kafka.topic_errors.clone()];
    let reader = Reader::start(&state.kafka.brokers, topics, From::Now).await?;
    let mut runs = Runs { client: &client, reader, console };
    match api {
        Some(api) => yours::poll(&mut runs, api).await,
        None => poll_orders(&mut runs, state).await,
    }
}

async fn poll_orders(runs: &mut Runs<'_>, state: &DevState) -> anyhow::Result<Exit> {
    let console = runs.console;
    put_all(runs.client, &examples::documents(&state.variables)?)
        .await
        .context("cannot apply the example files")?;
    let expected = i64::try_from(ORDER_COUNT)?;
    let (execution, arrived) = runs.run(examples::PLAN, examples::CONFIG, Some(expected)).await?;
    console.print(show::summary(&execution, console));
    console.print(show::messages(&arrived, true, console));
    match check::all_orders_came(&execution, &arrived, expected) {
        Ok(words) => {
            console.line(show::success(&words, console));
            Ok(Exit::Done)
        }
        Err(reason) => {
            console.notice(show::failure(&reason, console));
            Ok(Exit::Failed)
        }
    }
}

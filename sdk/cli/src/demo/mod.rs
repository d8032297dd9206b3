//! `orchid demo`: the first job, end to end. Starts the development stack, applies the example files, triggers the plan, shows the run and
//! what stands in Kafka, and says how to look on. It ends by itself where nobody looks on, and fails unless every order has come.

mod check;
mod examples;
mod show;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orchid_kit::{clock, shutdown::Signals};
use orchid_sdk::{
    Client, Credentials,
    v1::{Execution, TriggerPlanRequest, WatchExecutionRequest},
};
use tokio::time::timeout_at;

use self::{check::Arrived, examples::Example};
use crate::{
    commands::{
        apply::put_all,
        watch::{Progress, describe, has_ended, rows},
    },
    console::Console,
    dev::{self, Stack, StackOptions, state::DevState},
    exit::{Exit, words},
    kafka::{From, Reader},
};

/// Longer than any retry of the example takes.
const RUN_WITHIN: Duration = Duration::from_secs(90);
/// After the run has ended, its messages must be there already; this is for slow machines.
const MESSAGES_WITHIN: Duration = Duration::from_secs(10);

/// Runs the demo; `api` is a url of the user's own to poll instead.
pub(crate) async fn run(options: &StackOptions, api: Option<&str>, console: Console) -> anyhow::Result<Exit> {
    let example = Example::choose(api)?;
    let mut signals = Signals::install()?;
    let began = clock::monotonic();
    let mut stack = tokio::select! {
        started = Stack::start(options, console) => started?,
        _ = signals.next() => bail!("stopped before everything had started"),
    };
    console.print(show::started(stack.state(), clock::monotonic() - began, console));
    let state = stack.state().clone();
    let shown = tokio::select! {
        shown = play(&state, &example, console) => shown,
        () = stack.tend() => Ok(Exit::Failed),
        _ = signals.next() => Err(anyhow::anyhow!("interrupted")),
    };
    match &shown {
        Ok(Exit::Done) => {
            console.print(show::look_on(&state, stack.folder(), example.plan_key(), console));
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
async fn play(state: &DevState, example: &Example, console: Console) -> anyhow::Result<Exit> {
    let tenant = Some(state.tenant);
    let client = Client::connect(&state.grpc, Credentials::Development { tenant }).await?;
    put_all(&client, &example.documents(&state.variables)?)
        .await
        .context("cannot apply the example files")?;
    let topics = vec![state.kafka.topic_responses.clone()];
    let mut reader = Reader::start(&state.kafka.brokers, topics, From::Now).await?;
    let request = TriggerPlanRequest {
        key: example.plan_key().to_owned(),
        config: example.config_key().to_owned(),
        ..TriggerPlanRequest::default()
    };
    let triggered = client.plans().trigger_plan(request).await.map_err(orchid_sdk::Error::from)?.into_inner();
    console.line(show::triggered(&triggered, console));
    let deadline = clock::monotonic() + RUN_WITHIN;
    let mut arrived = Arrived::of(&triggered.id);
    let execution =
        follow(&client, &triggered.id, &mut reader, &mut arrived, example, deadline, console).await?;
    let expected = execution.counts.map_or(0, |counts| counts.messages);
    arrived.until(expected, &mut reader, clock::monotonic() + MESSAGES_WITHIN).await;
    console.print(show::summary(&execution, console));
    console.print(show::messages(&arrived, example.is_orders(), console));
    match check::verdict(&execution, &arrived, example.expected_rows()) {
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

/// Shows progress, as messages come and the execution changes, until it has ended.
async fn follow(
    client: &Client,
    id: &str,
    reader: &mut Reader,
    arrived: &mut Arrived,
    example: &Example,
    deadline: Instant,
    console: Console,
) -> anyhow::Result<Execution> {
    let mut progress = Progress::new(example.expected_rows(), console);
    let request = WatchExecutionRequest { id: id.to_owned() };
    let mut updates =
        client.executions().watch_execution(request).await.map_err(orchid_sdk::Error::from)?.into_inner();
    let mut state = String::from("queued");
    loop {
        let event = async {
            tokio::select! {
                message = reader.next() => Ok(Event::Message(message.context("the broker is gone")?)),
                update = updates.message() => Ok::<_, anyhow::Error>(Event::Update(
                    update.map_err(orchid_sdk::Error::from)?.and_then(|update| update.execution).map(Box::new),
                )),
            }
        };
        let event = timeout_at(deadline.into(), event).await;
        match event.with_context(|| format!("the run did not end within {} s", RUN_WITHIN.as_secs()))?? {
            Event::Message(message) => arrived.take(message),
            Event::Update(Some(execution)) if has_ended(execution.state()) => {
                progress.end(&describe(&execution), rows(&execution));
                return Ok(*execution);
            }
            Event::Update(Some(execution)) => state = crate::commands::watch::state(execution.state()),
            Event::Update(None) => bail!("the control plane ended the watch before the run had ended"),
        }
        progress.show(&show::so_far(&state, arrived), arrived.rows());
    }
}

enum Event {
    Message(crate::kafka::Message),
    Update(Option<Box<Execution>>),
}

//! One run of a plan, from its trigger to its last message in Kafka.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orchid_kit::clock;
use orchid_sdk::{
    Client,
    v1::{Execution, TriggerPlanRequest, WatchExecutionRequest},
};
use tokio::time::timeout_at;

use super::{check::Arrived, show};
use crate::{
    commands::watch::{Progress, describe, has_ended, rows, state},
    console::Console,
    kafka::{Message, Reader},
};

/// Longer than any retry of the examples takes.
const RUN_WITHIN: Duration = Duration::from_secs(90);
/// After the run has ended, its messages must be there already; this is for slow machines.
const MESSAGES_WITHIN: Duration = Duration::from_secs(10);

/// What runs need.
pub(super) struct Runs<'a> {
    /// The control plane.
    pub client: &'a Client,
    /// What comes into Kafka.
    pub reader: Reader,
    /// Where progress is shown.
    pub console: Console,
}

impl Runs<'_> {
    /// Triggers a plan, shows progress towards `expected` rows, and waits until everything of it has come.
    pub(super) async fn run(
        &mut self,
        plan: &str,
        config: &str,
        expected: Option<i64>,
    ) -> anyhow::Result<(Execution, Arrived)> {
        let execution = self.trigger(plan, config).await?;
        self.console.line(show::triggered(&execution, self.console));
        let mut progress = Progress::new(expected, self.console);
        self.end_of(&execution.id, |words, arrived, ended| match ended {
            Some(execution) => progress.end(&describe(execution), rows(execution)),
            None => progress.show(&show::so_far(words, arrived), arrived.rows()),
        })
        .await
    }

    /// The same, and nothing is shown.
    pub(super) async fn run_quietly(
        &mut self,
        plan: &str,
        config: &str,
    ) -> anyhow::Result<(Execution, Arrived)> {
        let execution = self.trigger(plan, config).await?;
        self.end_of(&execution.id, |_, _, _| {}).await
    }

    async fn trigger(&self, plan: &str, config: &str) -> anyhow::Result<Execution> {
        let request = TriggerPlanRequest {
            key: plan.to_owned(),
            config: config.to_owned(),
            ..TriggerPlanRequest::default()
        };
        let triggered = self.client.plans().trigger_plan(request).await;
        Ok(triggered.map_err(orchid_sdk::Error::from)?.into_inner())
    }

    /// Tells of messages as they come and of the execution as it changes, until it has ended and all its messages are there.
    async fn end_of(
        &mut self,
        id: &str,
        mut tell: impl FnMut(&str, &Arrived, Option<&Execution>),
    ) -> anyhow::Result<(Execution, Arrived)> {
        let deadline = clock::monotonic() + RUN_WITHIN;
        let mut arrived = Arrived::of(id);
        let request = WatchExecutionRequest { id: id.to_owned() };
        let updates = self.client.executions().watch_execution(request).await;
        let mut updates = updates.map_err(orchid_sdk::Error::from)?.into_inner();
        let mut words = String::from("queued");
        loop {
            match next(&mut self.reader, &mut updates, deadline).await? {
                Event::Message(message) => arrived.take(message),
                Event::Update(Some(execution)) if has_ended(execution.state()) => {
                    tell(&words, &arrived, Some(&execution));
                    let expected = execution.counts.map_or(0, |counts| counts.messages);
                    arrived.until(expected, &mut self.reader, clock::monotonic() + MESSAGES_WITHIN).await;
                    return Ok((*execution, arrived));
                }
                Event::Update(Some(execution)) => words = state(execution.state()),
                Event::Update(None) => {
                    bail!("the control plane ended the watch before the run had ended")
                }
            }
            tell(&words, &arrived, None);
        }
    }
}

enum Event {
    Message(Message),
    Update(Option<Box<Execution>>),
}

async fn next(
    reader: &mut Reader,
    updates: &mut tonic::Streaming<orchid_sdk::v1::WatchExecutionResponse>,
    deadline: Instant,
) -> anyhow::Result<Event> {
    let event = async {
        tokio::select! {
            message = reader.next() => Ok(Event::Message(message.context("the broker is gone")?)),
            update = updates.message() => Ok::<_, anyhow::Error>(Event::Update(
                update.map_err(orchid_sdk::Error::from)?.and_then(|update| update.execution).map(Box::new),
            )),
        }
    };
    let event = timeout_at(deadline.into(), event).await;
    event.with_context(|| format!("the run did not end within {} s", RUN_WITHIN.as_secs()))?
}

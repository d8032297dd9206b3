//! Runs a plan once: from the trigger to the last message in Kafka.

use std::time::Duration;

use anyhow::{Context as _, bail};
use orchid_sdk::Client;
use orchid_sdk::v1::{Execution, TriggerPlanRequest, WatchExecutionRequest};
use tokio::time::timeout;

use super::check::ReceivedMessages;
use super::show;
use crate::commands::watch::{ProgressLine, describe, has_ended, rows, state};
use crate::console::Console;
use crate::kafka::{Message, MessageReader};

/// The time without any message or state change after which an execution counts as stuck; longer
/// than any retry of the examples.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(90);
/// The time to wait for each message after the execution has ended. The messages are in Kafka by
/// then; a slow machine may still take a moment to read them.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that executions of the demo need.
pub(super) struct DemoRunner<'a> {
    /// The client of the control plane.
    pub client: &'a Client,
    /// The reader of the demo's topics.
    pub reader: MessageReader,
    /// The console that shows progress.
    pub console: Console,
}

impl DemoRunner<'_> {
    /// Triggers a plan, shows progress towards `expected` rows and waits for its last message.
    ///
    /// # Errors
    /// When the plan cannot be triggered, or its execution makes no progress.
    pub(super) async fn run(
        &mut self,
        plan: &str,
        config: &str,
        expected: Option<i64>,
    ) -> anyhow::Result<(Execution, ReceivedMessages)> {
        let execution = self.trigger(plan, config).await?;
        self.console.line(show::triggered(&execution, self.console));
        let mut progress = ProgressLine::new(expected, self.console);
        self.follow_to_end(&execution.id, |state, received, ended| match ended {
            Some(execution) => progress.end(&describe(execution), rows(execution)),
            None => progress.show(&show::so_far(state, received), received.rows()),
        })
        .await
    }

    /// Does the same as [`Self::run`] without showing anything.
    ///
    /// # Errors
    /// When the plan cannot be triggered, or its execution makes no progress.
    pub(super) async fn run_quietly(
        &mut self,
        plan: &str,
        config: &str,
    ) -> anyhow::Result<(Execution, ReceivedMessages)> {
        let execution = self.trigger(plan, config).await?;
        self.follow_to_end(&execution.id, |_, _, _| {}).await
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

    /// Follows an execution until it has ended and its messages have arrived; calls `report` after
    /// every message and state change.
    async fn follow_to_end(
        &mut self,
        id: &str,
        mut report: impl FnMut(&str, &ReceivedMessages, Option<&Execution>),
    ) -> anyhow::Result<(Execution, ReceivedMessages)> {
        let mut received = ReceivedMessages::new(id);
        let request = WatchExecutionRequest { id: id.to_owned() };
        let updates = self.client.executions().watch_execution(request).await;
        let mut updates = updates.map_err(orchid_sdk::Error::from)?.into_inner();
        let mut current = String::from("queued");
        loop {
            match next(&mut self.reader, &mut updates).await? {
                WatchEvent::Message(message) => received.add(message),
                WatchEvent::Update(Some(execution)) if has_ended(execution.state()) => {
                    report(&current, &received, Some(&execution));
                    let expected = execution.counts.map_or(0, |counts| counts.messages);
                    received.read_until(expected, &mut self.reader, MESSAGE_TIMEOUT).await;
                    return Ok((*execution, received));
                }
                WatchEvent::Update(Some(execution)) => current = state(execution.state()),
                WatchEvent::Update(None) => {
                    bail!("the control plane ended the watch before the execution ended")
                }
            }
            report(&current, &received, None);
        }
    }
}

/// A message of the demo's topics, or a change of the watched execution.
enum WatchEvent {
    Message(Message),
    Update(Option<Box<Execution>>),
}

async fn next(
    reader: &mut MessageReader,
    updates: &mut tonic::Streaming<orchid_sdk::v1::WatchExecutionResponse>,
) -> anyhow::Result<WatchEvent> {
    let event = async {
        tokio::select! {
            message = reader.next() => Ok(WatchEvent::Message(message.context("the Kafka reader ended")?)),
            update = updates.message() => Ok::<_, anyhow::Error>(WatchEvent::Update(
                update.map_err(orchid_sdk::Error::from)?.and_then(|update| update.execution).map(Box::new),
            )),
        }
    };
    let event = timeout(PROGRESS_TIMEOUT, event).await;
    event.with_context(|| format!("the execution made no progress for {} s", PROGRESS_TIMEOUT.as_secs()))?
}

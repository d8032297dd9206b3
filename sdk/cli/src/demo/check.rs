//! The messages of an execution in Kafka, and whether they are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orchid_sdk::v1::{Execution, ExecutionCounts, ExecutionState};
use serde_json::Value;
use tokio::time;

use crate::commands::watch;
use crate::kafka::{Message, MessageReader};
use crate::output::text;

const RESPONSE: &str = "api.response";
const ERROR: &str = "api.error";

/// The messages of one execution, one per position.
#[derive(Debug)]
pub(super) struct ReceivedMessages {
    execution_id: String,
    messages: BTreeMap<String, Message>,
    /// Positions in order of arrival.
    arrival_order: Vec<String>,
    error: Option<Message>,
}

impl ReceivedMessages {
    /// Creates an empty collection for an execution.
    pub(super) fn new(execution_id: &str) -> Self {
        Self {
            execution_id: execution_id.to_owned(),
            messages: BTreeMap::new(),
            arrival_order: Vec::new(),
            error: None,
        }
    }

    /// Adds a message if it is a page or an error of this execution. Of equal positions it keeps
    /// the last message, since a retried attempt may repeat one.
    pub(super) fn add(&mut self, message: Message) {
        if message.header("execution_id") != self.execution_id {
            return;
        }
        match message.header("type") {
            RESPONSE => self.add_page(message),
            ERROR => self.error = Some(message),
            _ => {}
        }
    }

    fn add_page(&mut self, message: Message) {
        let position = message.header("orchid-position").to_owned();
        if self.messages.insert(position.clone(), message).is_none() {
            self.arrival_order.push(position);
        }
    }

    /// Reads until there are `expected` messages, or none arrives within `timeout`.
    pub(super) async fn read_until(&mut self, expected: i64, reader: &mut MessageReader, timeout: Duration) {
        while self.count() < expected {
            match time::timeout(timeout, reader.next()).await {
                Ok(Some(message)) => self.add(message),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Returns the number of messages.
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.messages.len()).unwrap_or(i64::MAX)
    }

    /// Returns the messages in order of arrival.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.arrival_order.iter().filter_map(|position| self.messages.get(position))
    }

    /// Returns the last error message.
    pub(super) fn error(&self) -> Option<&Message> {
        self.error.as_ref()
    }

    /// Returns the number of rows in all messages.
    pub(super) fn rows(&self) -> i64 {
        let rows = self.messages.values().map(|message| rows(message).len()).sum::<usize>();
        i64::try_from(rows).unwrap_or(i64::MAX)
    }

    fn distinct_ids(&self) -> usize {
        let ids: BTreeSet<String> =
            self.messages.values().flat_map(rows).map(|row| row["id"].to_string()).collect();
        ids.len()
    }
}

/// Returns the rows of a message.
pub(super) fn rows(message: &Message) -> &[Value] {
    message.body["response_body"].as_array().map_or(&[], Vec::as_slice)
}

/// Returns a sentence about the demo's orders: `Ok` if every order arrived, `Err` with what is
/// missing.
pub(super) fn check_orders(
    execution: &Execution,
    received: &ReceivedMessages,
    expected: i64,
) -> Result<String, String> {
    if execution.state() != ExecutionState::Succeeded {
        return Err(format!("the execution ended as {}", watch::state(execution.state())));
    }
    let messages = text::count(received.count(), "message", "messages");
    let distinct = i64::try_from(received.distinct_ids()).unwrap_or(i64::MAX);
    if distinct == expected && received.rows() == expected {
        Ok(format!("all {} orders are in Kafka, in {messages}", text::number(expected)))
    } else {
        Err(format!(
            "only {distinct} of {expected} orders arrived, in {messages} with {}",
            text::count(received.rows(), "row", "rows")
        ))
    }
}

/// Returns a sentence about the messages that the execution counted: `Ok` if all of them arrived,
/// `Err` with what is missing.
pub(super) fn check_counts(execution: &Execution, received: &ReceivedMessages) -> Result<String, String> {
    let ExecutionCounts { rows, messages, .. } = execution.counts.unwrap_or_default();
    let counted = text::count(messages, "message", "messages");
    if received.count() < messages {
        return Err(format!("only {} of {counted} arrived", text::number(received.count())));
    }
    Ok(match (rows, messages) {
        (0, 0) => "the list is empty: there is nothing to write to Kafka".to_owned(),
        (0, _) => format!("the response is in Kafka, in {counted}"),
        (1, _) => format!("1 row is in Kafka, in {counted}"),
        _ => format!("{} rows are in Kafka, in {counted}", text::number(rows)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(execution: &str, kind: &str, position: &str, ids: &[u64]) -> Message {
        let headers = [("execution_id", execution), ("type", kind), ("orchid-position", position)];
        let rows: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        Message {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            body: json!({ "response_body": rows }),
        }
    }

    fn received(messages: &[Message]) -> ReceivedMessages {
        let mut received = ReceivedMessages::new("mine");
        messages.iter().cloned().for_each(|message| received.add(message));
        received
    }

    fn succeeded() -> Execution {
        let mut execution = Execution::default();
        execution.set_state(ExecutionState::Succeeded);
        execution
    }

    #[test]
    fn missing_messages_fail_the_check() {
        let pages = [message("mine", RESPONSE, "a", &[1, 2]), message("mine", RESPONSE, "b", &[2])];
        let error = check_orders(&succeeded(), &received(&pages), 3).unwrap_err();
        assert_eq!(error, "only 2 of 3 orders arrived, in 2 messages with 3 rows");
        let failed = Execution { state: ExecutionState::Failed.into(), ..Execution::default() };
        let complete = received(&[message("mine", RESPONSE, "a", &[1])]);
        assert_eq!(check_orders(&failed, &complete, 1).unwrap_err(), "the execution ended as failed");
        let counted = Execution {
            counts: Some(ExecutionCounts { messages: 3, rows: 3, ..ExecutionCounts::default() }),
            ..succeeded()
        };
        assert_eq!(check_counts(&counted, &received(&pages)).unwrap_err(), "only 2 of 3 messages arrived");
    }

    #[test]
    fn repeated_position_counts_once_and_other_executions_do_not() {
        let received = received(&[
            message("mine", RESPONSE, "a", &[1]),
            message("mine", RESPONSE, "a", &[1]),
            message("mine", "execution.completed", "z", &[]),
            message("other", RESPONSE, "b", &[2]),
        ]);
        assert_eq!((received.count(), received.rows()), (1, 1));
        assert!(check_orders(&succeeded(), &received, 1).is_ok());
    }

    #[test]
    fn complete_messages_are_described_by_their_counts() {
        let cases = [
            (ExecutionCounts::default(), "the list is empty: there is nothing to write to Kafka"),
            (
                ExecutionCounts { messages: 1, ..ExecutionCounts::default() },
                "the response is in Kafka, in 1 message",
            ),
            (
                ExecutionCounts { messages: 1, rows: 7, ..ExecutionCounts::default() },
                "7 rows are in Kafka, in 1 message",
            ),
        ];
        let one = [message("mine", RESPONSE, "a", &[1])];
        for (counts, expected) in cases {
            let execution = Execution { counts: Some(counts), ..succeeded() };
            assert_eq!(check_counts(&execution, &received(&one)).unwrap(), expected);
        }
    }
}

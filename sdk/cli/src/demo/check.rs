//! What came into Kafka, and whether it is everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use orchid_sdk::v1::{Execution, ExecutionState};
use serde_json::Value;
use tokio::time::timeout_at;

use crate::{
    commands::watch,
    kafka::{Message, Reader},
    output::text,
};

const RESPONSE: &str = "api.response";

/// The messages of one execution, each position once.
#[derive(Debug)]
pub(super) struct Arrived {
    execution_id: String,
    messages: BTreeMap<String, Message>,
    /// Positions in the order of their coming.
    order: Vec<String>,
}

impl Arrived {
    /// None yet.
    pub(super) fn of(execution_id: &str) -> Self {
        Self { execution_id: execution_id.to_owned(), messages: BTreeMap::new(), order: Vec::new() }
    }

    /// Keeps a message if it is a page of this execution; of equal positions, the last.
    pub(super) fn take(&mut self, message: Message) {
        if message.header("execution_id") != self.execution_id || message.header("type") != RESPONSE {
            return;
        }
        let position = message.header("orchid-position").to_owned();
        if self.messages.insert(position.clone(), message).is_none() {
            self.order.push(position);
        }
    }

    /// Reads on until there are so many, or the time is over.
    pub(super) async fn until(&mut self, expected: i64, reader: &mut Reader, deadline: Instant) {
        while self.count() < expected {
            match timeout_at(deadline.into(), reader.next()).await {
                Ok(Some(message)) => self.take(message),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// How many messages.
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.messages.len()).unwrap_or(i64::MAX)
    }

    /// The messages, in the order in which they came.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.order.iter().filter_map(|position| self.messages.get(position))
    }

    /// How many rows are in them.
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

/// The rows of a message.
pub(super) fn rows(message: &Message) -> &[Value] {
    message.body["response_body"].as_array().map_or(&[], Vec::as_slice)
}

/// In words, that everything came; or what is missing. Without an expected number of rows, one message is enough.
pub(super) fn verdict(
    execution: &Execution,
    arrived: &Arrived,
    expected: Option<i64>,
) -> Result<String, String> {
    if execution.state() != ExecutionState::Succeeded {
        return Err(format!("the run ended {}", watch::state(execution.state())));
    }
    let messages = text::count(arrived.count(), "message", "messages");
    match expected {
        None if arrived.count() == 0 => Err("the run succeeded, and no message came".to_owned()),
        None => Ok(format!("the answer came into Kafka: {messages}")),
        Some(expected) => {
            let distinct = i64::try_from(arrived.distinct_ids()).unwrap_or(i64::MAX);
            if distinct == expected && arrived.rows() == expected {
                Ok(format!("all {} orders stand in Kafka, in {messages}", text::number(expected)))
            } else {
                Err(format!(
                    "of {expected} orders {distinct} came, in {messages} with {}",
                    text::count(arrived.rows(), "row", "rows")
                ))
            }
        }
    }
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

    fn arrived(messages: &[Message]) -> Arrived {
        let mut arrived = Arrived::of("mine");
        messages.iter().cloned().for_each(|message| arrived.take(message));
        arrived
    }

    fn succeeded() -> Execution {
        let mut execution = Execution::default();
        execution.set_state(ExecutionState::Succeeded);
        execution
    }

    #[test]
    fn less_than_everything_is_a_failure() {
        let pages = [message("mine", RESPONSE, "a", &[1, 2]), message("mine", RESPONSE, "b", &[2])];
        let error = verdict(&succeeded(), &arrived(&pages), Some(3)).unwrap_err();
        assert_eq!(error, "of 3 orders 2 came, in 2 messages with 3 rows");
        assert!(verdict(&succeeded(), &arrived(&[]), None).is_err());
        let failed = Execution { state: ExecutionState::Failed.into(), ..Execution::default() };
        let complete = arrived(&[message("mine", RESPONSE, "a", &[1])]);
        assert_eq!(verdict(&failed, &complete, Some(1)).unwrap_err(), "the run ended failed");
    }

    #[test]
    fn a_position_that_comes_twice_counts_once_and_others_runs_do_not_count() {
        let arrived = arrived(&[
            message("mine", RESPONSE, "a", &[1]),
            message("mine", RESPONSE, "a", &[1]),
            message("mine", "execution.completed", "z", &[]),
            message("other", RESPONSE, "b", &[2]),
        ]);
        assert_eq!((arrived.count(), arrived.rows()), (1, 1));
        assert!(verdict(&succeeded(), &arrived, Some(1)).is_ok());
    }
}

//! What came into Kafka, and whether it is everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use orchid_sdk::v1::{Execution, ExecutionCounts, ExecutionState};
use serde_json::Value;
use tokio::time::timeout_at;

use crate::{
    commands::watch,
    kafka::{Message, Reader},
    output::text,
};

const RESPONSE: &str = "api.response";
const ERROR: &str = "api.error";

/// The messages of one execution, each position once.
#[derive(Debug)]
pub(super) struct Arrived {
    execution_id: String,
    messages: BTreeMap<String, Message>,
    /// Positions in the order of their coming.
    order: Vec<String>,
    error: Option<Message>,
}

impl Arrived {
    /// None yet.
    pub(super) fn of(execution_id: &str) -> Self {
        Self {
            execution_id: execution_id.to_owned(),
            messages: BTreeMap::new(),
            order: Vec::new(),
            error: None,
        }
    }

    /// Keeps a message if it is a page or an error of this execution; of equal positions, the last.
    pub(super) fn take(&mut self, message: Message) {
        if message.header("execution_id") != self.execution_id {
            return;
        }
        match message.header("type") {
            RESPONSE => self.take_page(message),
            ERROR => self.error = Some(message),
            _ => {}
        }
    }

    fn take_page(&mut self, message: Message) {
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

    /// The last error.
    pub(super) fn error(&self) -> Option<&Message> {
        self.error.as_ref()
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

/// In words, that every order came; or what is missing.
pub(super) fn all_orders_came(
    execution: &Execution,
    arrived: &Arrived,
    expected: i64,
) -> Result<String, String> {
    if execution.state() != ExecutionState::Succeeded {
        return Err(format!("the run ended {}", watch::state(execution.state())));
    }
    let messages = text::count(arrived.count(), "message", "messages");
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

/// In words, that everything came which the run counted; or what is missing.
pub(super) fn all_came(execution: &Execution, arrived: &Arrived) -> Result<String, String> {
    let ExecutionCounts { rows, messages, .. } = execution.counts.unwrap_or_default();
    let counted = text::count(messages, "message", "messages");
    if arrived.count() < messages {
        return Err(format!("of {counted} {} came", text::number(arrived.count())));
    }
    Ok(match (rows, messages) {
        (0, 0) => "the list is empty: there is nothing to put into Kafka".to_owned(),
        (0, _) => format!("the answer stands in Kafka, in {counted}"),
        (1, _) => format!("1 row stands in Kafka, in {counted}"),
        _ => format!("{} rows stand in Kafka, in {counted}", text::number(rows)),
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
        let error = all_orders_came(&succeeded(), &arrived(&pages), 3).unwrap_err();
        assert_eq!(error, "of 3 orders 2 came, in 2 messages with 3 rows");
        let failed = Execution { state: ExecutionState::Failed.into(), ..Execution::default() };
        let complete = arrived(&[message("mine", RESPONSE, "a", &[1])]);
        assert_eq!(all_orders_came(&failed, &complete, 1).unwrap_err(), "the run ended failed");
        let counted = Execution {
            counts: Some(ExecutionCounts { messages: 3, rows: 3, ..ExecutionCounts::default() }),
            ..succeeded()
        };
        assert_eq!(all_came(&counted, &arrived(&pages)).unwrap_err(), "of 3 messages 2 came");
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
        assert!(all_orders_came(&succeeded(), &arrived, 1).is_ok());
    }

    #[test]
    fn what_came_is_told_by_what_it_is() {
        let cases = [
            (ExecutionCounts::default(), "the list is empty: there is nothing to put into Kafka"),
            (
                ExecutionCounts { messages: 1, ..ExecutionCounts::default() },
                "the answer stands in Kafka, in 1 message",
            ),
            (
                ExecutionCounts { messages: 1, rows: 7, ..ExecutionCounts::default() },
                "7 rows stand in Kafka, in 1 message",
            ),
        ];
        let one = [message("mine", RESPONSE, "a", &[1])];
        for (counts, words) in cases {
            let execution = Execution { counts: Some(counts), ..succeeded() };
            assert_eq!(all_came(&execution, &arrived(&one)).unwrap(), words);
        }
    }
}

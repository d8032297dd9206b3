//! Converts the explanation of an execution.

use orchid_proto::v1;
use tonic::Status;

use crate::api::convert::execution;
use crate::commands::executions::ExecutionExplanation;

/// Encodes an explanation.
pub(crate) fn to_wire(explained: ExecutionExplanation) -> Result<v1::ExplainExecutionResponse, Status> {
    let ExecutionExplanation { execution, summary, events, attempts } = explained;
    Ok(v1::ExplainExecutionResponse {
        execution: Some(execution::to_wire(execution)?),
        summary,
        events: events.into_iter().map(execution::event_to_wire).collect::<Result<_, _>>()?,
        attempts: attempts.into_iter().map(execution::attempt_to_wire).collect(),
    })
}

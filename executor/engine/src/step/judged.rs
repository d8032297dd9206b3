//! A response that an async job judges by its own expressions, after the step has ended.

use crate::message::body::MessageBody;
use crate::message::exchange::{ReceivedResponse, SentRequest};
use crate::page::exchange::PageExchange;
use crate::state::exit::ErrorContext;

/// A request and its response, as errors report them.
pub(crate) struct JudgedResponse {
    sent: SentRequest,
    received: ReceivedResponse,
    body: MessageBody,
}

impl JudgedResponse {
    /// Copies what errors report of an exchange.
    pub(crate) fn new(exchange: &PageExchange) -> Self {
        Self {
            sent: exchange.sent.facts.clone(),
            received: exchange.response.facts.clone(),
            body: exchange.response.body.to_message_body(),
        }
    }

    /// Returns the context of an error about the response.
    pub(crate) fn error_context(&self) -> ErrorContext<'_> {
        ErrorContext { sent: Some(&self.sent), response: Some(&self.received), body: Some(self.body.clone()) }
    }
}

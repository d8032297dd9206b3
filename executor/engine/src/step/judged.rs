//! The latest response of a step, which an async job judges by its own expressions after the step
//! has ended.

use orchid_plan::Value;
use url::Url;

use crate::message::body::MessageBody;
use crate::message::exchange::{ReceivedResponse, SentRequest};
use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::rules::asked_wait::AskedWait;
use crate::state::context::{Context, ContextChanges};
use crate::state::exit::ErrorContext;

/// The latest response of a step, as far as others ask about it.
#[derive(Default)]
pub(crate) struct LatestResponse {
    ignored: bool,
    /// `None` unless an async job judges the step.
    judged: Option<Box<JudgedResponse>>,
    held: Option<Box<HeldResponse>>,
}

impl LatestResponse {
    /// Notes the response with which a page has ended.
    pub(crate) fn note(&mut self, node: &StepNode, exchange: &PageExchange, ignored: bool) {
        self.ignored = ignored;
        // The job judges the response after the step has given it up, so it is copied.
        if node.judged {
            self.judged = Some(Box::new(JudgedResponse::new(exchange)));
        }
    }

    /// Holds a response back until the job decides whether it becomes a page.
    pub(crate) fn hold(&mut self, node: &StepNode, held: HeldResponse) {
        self.note(node, &held.exchange, false);
        self.held = Some(Box::new(held));
    }

    /// Takes the response that is held back.
    pub(crate) fn take_held(&mut self) -> Option<HeldResponse> {
        self.held.take().map(|held| *held)
    }

    /// Returns whether a response is held back.
    pub(crate) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Returns the context after the writes of the response that is held back.
    pub(crate) fn held_context(&self) -> Option<&Value> {
        let (context, _) = self.held.as_ref()?.writes.as_ref()?;
        Some(context.object())
    }

    /// Returns whether the response was ignored.
    pub(crate) fn is_ignored(&self) -> bool {
        self.ignored
    }

    /// Returns the context of an error about the response, empty unless a job judges it.
    pub(crate) fn error_context(&self) -> ErrorContext<'_> {
        self.judged().map_or_else(ErrorContext::default, JudgedResponse::error_context)
    }

    /// Returns the response that the job judges.
    pub(crate) fn judged(&self) -> Option<&JudgedResponse> {
        self.judged.as_deref()
    }
}

/// A successful response before its page.
pub(crate) struct HeldResponse {
    pub(crate) exchange: PageExchange,
    /// The context after the writes of the response, and those writes.
    pub(crate) writes: Option<(Context, ContextChanges)>,
}

/// A request and its response, as errors report them.
pub(crate) struct JudgedResponse {
    sent: SentRequest,
    received: ReceivedResponse,
    body: MessageBody,
    /// URL of the response, after redirects.
    pub(crate) url: Url,
    /// The wait that its headers ask for.
    pub(crate) asked_wait: Option<AskedWait>,
}

impl JudgedResponse {
    /// Copies what errors report of an exchange, and what the job reads of it.
    pub(crate) fn new(exchange: &PageExchange) -> Self {
        let redirected = exchange.response.facts.url.as_deref().and_then(|url| Url::parse(url).ok());
        Self {
            sent: exchange.sent.facts.clone(),
            received: exchange.response.facts.clone(),
            body: exchange.response.body.to_error_body(),
            url: redirected.unwrap_or_else(|| exchange.sent.url.clone()),
            asked_wait: exchange.response.asked_wait.clone(),
        }
    }

    fn error_context(&self) -> ErrorContext<'_> {
        ErrorContext { sent: Some(&self.sent), response: Some(&self.received), body: Some(self.body.clone()) }
    }
}

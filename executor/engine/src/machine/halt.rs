//! Ways for a run to end before its last step, as values.

use orchid_plan::{EvalError, RenderError};

use crate::checkpoint::PlaceError;
use crate::error::{ErrorClass, ExecutionError};
use crate::message::body::MessageBody;
use crate::message::exchange::{HttpExchange, ReceivedResponse, SentRequest};
use crate::output::EndStatus;

use super::cx::Spot;
use super::run::Run;

/// Why a run stops.
pub(super) enum Halt {
    /// An error, or the plan's own `abort_…`.
    Fault(Box<Fault>),
    /// A limit that `on_limit` decides about, and where it was reached; nowhere in particular: the run's time is over.
    Limit(Limit, Option<Box<Spot>>),
}

/// An error with everything its message says.
pub(super) struct Fault {
    pub(super) status: EndStatus,
    pub(super) error: ExecutionError,
    pub(super) spot: Spot,
    /// It ends the run also where it is about one row of many.
    pub(super) whole_run: bool,
    pub(super) exchange: HttpExchange,
    pub(super) body: MessageBody,
}

/// The limits of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Loops,
    Requests,
    ExecutionTime,
}

impl Limit {
    pub(super) fn code(self) -> &'static str {
        match self {
            Limit::Loops => "MAX_LOOPS",
            Limit::Requests => "MAX_REQUESTS",
            Limit::ExecutionTime => "MAX_EXECUTION_SECONDS",
        }
    }

    pub(super) fn pointer(self) -> &'static str {
        match self {
            Limit::Loops => "/definition/max_loops",
            Limit::Requests => "/definition/max_requests",
            Limit::ExecutionTime => "/definition/max_execution_seconds",
        }
    }
}

/// What went wrong, before it is known where.
pub(super) struct What {
    pub(super) class: ErrorClass,
    pub(super) code: &'static str,
    pub(super) pointer: String,
    pub(super) message: String,
}

impl What {
    /// Whether it concerns more than the row that it happened to: the plan's own `abort_…`, what is bounded for the whole
    /// run, and what is wrong with Orchid itself.
    fn ends_the_run(&self) -> bool {
        match self.class {
            ErrorClass::Aborted | ErrorClass::System => true,
            ErrorClass::Limit => {
                matches!(self.code, "CONTEXT_TOO_LARGE" | "CHECKPOINT_TOO_LARGE" | "TOO_MANY_CURSORS")
            }
            ErrorClass::Config | ErrorClass::Transient | ErrorClass::Permanent | ErrorClass::RateLimit => {
                false
            }
        }
    }

    pub(super) fn context(pointer: String, error: &super::context::ContextTooLarge) -> What {
        What { class: ErrorClass::Limit, code: "CONTEXT_TOO_LARGE", pointer, message: error.to_string() }
    }

    pub(super) fn expression(pointer: String, error: &EvalError) -> What {
        What { class: ErrorClass::Config, code: "EXPRESSION", pointer, message: error.to_string() }
    }

    pub(super) fn rendering(error: RenderError) -> What {
        What {
            class: ErrorClass::Config,
            code: error.code.as_str(),
            pointer: error.pointer,
            message: error.message,
        }
    }

    pub(super) fn host(pointer: String, message: String) -> What {
        What { class: ErrorClass::Config, code: "HOST_NOT_ALLOWED", pointer, message }
    }

    /// A place that is too large, or cannot be written.
    pub(super) fn place(pointer: &str, error: &PlaceError) -> What {
        let (class, code) = if error.is_too_large() {
            (ErrorClass::Limit, "CHECKPOINT_TOO_LARGE")
        } else {
            (ErrorClass::System, "CHECKPOINT")
        };
        What { class, code, pointer: pointer.to_owned(), message: error.to_string() }
    }
}

/// The request and answer that a fault is about.
#[derive(Default)]
pub(super) struct About<'a> {
    pub(super) sent: Option<&'a SentRequest>,
    pub(super) answer: Option<&'a ReceivedResponse>,
    pub(super) body: Option<MessageBody>,
}

impl Fault {
    /// An error at a place of the run.
    pub(super) fn new(run: &Run, spot: Spot, what: What, about: About<'_>) -> Fault {
        let (no_request, no_answer) = (SentRequest::default(), ReceivedResponse::default());
        let sent = about.sent.unwrap_or(&no_request);
        let answer = about.answer.unwrap_or(&no_answer);
        let status = match what.class {
            ErrorClass::Aborted => EndStatus::Aborted,
            ErrorClass::Config
            | ErrorClass::Transient
            | ErrorClass::Permanent
            | ErrorClass::RateLimit
            | ErrorClass::Limit
            | ErrorClass::System => EndStatus::Failed,
        };
        Fault {
            status,
            whole_run: what.ends_the_run(),
            error: ExecutionError {
                class: what.class,
                code: what.code.to_owned(),
                message: run.redactor.text(&what.message).into_owned(),
                pointer: what.pointer,
                status_code: answer.status,
                step_path: spot.path.clone(),
            },
            spot,
            exchange: HttpExchange::new(sent, answer, &run.redactor),
            body: about.body.unwrap_or_else(MessageBody::empty),
        }
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Halt {
        Halt::Fault(Box::new(fault))
    }
}

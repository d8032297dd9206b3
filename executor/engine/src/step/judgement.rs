//! Turns the outcome table's decision about a response into its consequence.

use std::time::Duration;

use crate::rules::outcome::{TryDecision, TryVerdict};
use crate::rules::retry;
use crate::state::exit::{StepError, StepExit};
use crate::step::evaluator::ResponseEvaluator;
use crate::step::failure;
use crate::step::variables;

/// Consequence of a response.
pub(crate) enum Consequence {
    /// The response is used.
    UsePage,
    /// The request is sent again after a delay.
    Retry(Duration),
    /// The error is reported, and the step continues without the page.
    Ignore(Box<StepError>),
    /// The step fails, or the plan ends the execution.
    Exit(StepExit),
}

/// Returns what a decision about the response leads to.
pub(crate) fn consequence(page: &ResponseEvaluator<'_>, decision: TryDecision) -> Consequence {
    let (step, response) = (page.position.step(), &page.exchange.response);
    match decision.verdict {
        TryVerdict::Success => Consequence::UsePage,
        TryVerdict::Retry => {
            let number = variables::random_number(page.run, page.env, page.position, b"jitter");
            // The draw depends on seed, page and try alone, so that a replay waits equally long.
            let draw = number as f64 / u64::MAX as f64;
            match page.asked_wait() {
                Ok(Some(asked)) => Consequence::Retry(asked),
                Ok(None) => {
                    let max = page.run.limits.max_wait;
                    Consequence::Retry(retry::backoff(&step.retry, page.position.retry, max, draw))
                }
                Err(exit) => Consequence::Exit(exit),
            }
        }
        TryVerdict::Ignore => {
            let detail = failure::failure_detail(step, response, decision.transient);
            let location = page.position.location(page.env);
            Consequence::Ignore(Box::new(page.exchange.error(&page.run.redactor, location, detail)))
        }
        TryVerdict::Fail => {
            Consequence::Exit(page.error(failure::failure_detail(step, response, decision.transient)))
        }
        TryVerdict::Abort(cause) => {
            Consequence::Exit(page.error(failure::abort_detail(step, cause, response)))
        }
    }
}

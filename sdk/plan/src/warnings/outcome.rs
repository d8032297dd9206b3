//! Rules for responses that can never apply, and rules that discard successful responses.

use super::step_site::StepSite;
use super::warning::{Warning, WarningCode};
use crate::{Definition, OutcomeMatcher, StatusClass};

pub(super) fn warn(place: &StepSite<'_>, definition: &Definition, warnings: &mut Vec<Warning>) {
    let step = place.step;
    let rules = &step.outcome;
    for (number, entry) in rules.ignore_on.iter().enumerate() {
        if is_success(entry) {
            let words =
                "successful responses are ignored here: they are neither emitted nor passed to sub_steps";
            warnings.push(place.at(&format!("ignore_on/{number}"), WarningCode::IgnoresSuccess, words));
        }
    }
    for (number, entry) in rules.accept_on.iter().enumerate() {
        if is_success(entry) {
            let words = "these responses are a success anyway: remove the entry";
            warnings.push(place.at(&format!("accept_on/{number}"), WarningCode::AcceptedAlready, words));
        }
    }
    shadowed(place, "ignore_on", &rules.ignore_on, &[("abort_on", &rules.abort_on)], warnings);
    shadowed(place, "retry/on", &step.retry.on, &[("abort_on", &rules.abort_on)], warnings);
    let before = [("abort_on", rules.abort_on.as_slice()), ("ignore_on", rules.ignore_on.as_slice())];
    shadowed(place, "accept_on", &rules.accept_on, &before, warnings);
    if step.retry.max_retries == 0 {
        let words = "max_retries is 0, so nothing is retried";
        for (field, set) in
            [("retry/on", !step.retry.on.is_empty()), ("retry_when", rules.retry_when.is_some())]
        {
            warnings.extend(set.then(|| place.at(field, WarningCode::NeverRetried, words)));
        }
    }
    if step.request().is_some() && step.timeout > definition.max_execution {
        let words = format!(
            "a request may take {} s, but the whole execution only {} s: raise max_execution_seconds",
            step.timeout.as_secs(),
            definition.max_execution.as_secs()
        );
        warnings.push(place.at("timeout_seconds", WarningCode::TimeoutOutlastsRun, words));
    }
}

fn is_success(entry: &OutcomeMatcher) -> bool {
    matches!(entry, OutcomeMatcher::Status(200..=299) | OutcomeMatcher::Class(StatusClass(2)))
}

/// Adds warnings for entries of a list that an earlier list always matches first.
fn shadowed(
    place: &StepSite<'_>,
    field: &str,
    entries: &[OutcomeMatcher],
    before: &[(&str, &[OutcomeMatcher])],
    warnings: &mut Vec<Warning>,
) {
    for (number, entry) in entries.iter().enumerate() {
        let taker = before.iter().find(|(_, takers)| takers.iter().any(|taker| takes(taker, entry)));
        if let Some((name, _)) = taker {
            let words = format!("{name} comes first and already matches this");
            warnings.push(place.at(&format!("{field}/{number}"), WarningCode::NeverReached, words));
        }
    }
}

fn takes(taker: &OutcomeMatcher, entry: &OutcomeMatcher) -> bool {
    match (taker, entry) {
        (OutcomeMatcher::Class(StatusClass(digit)), OutcomeMatcher::Status(status)) => {
            u16::from(*digit) == status / 100
        }
        _ => taker == entry,
    }
}

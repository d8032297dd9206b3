//! Rules about answers that can never apply, and those that throw good answers away.

use super::{Place, Warning, WarningCode};
use crate::{Definition, OutcomeMatcher, StatusClass};

pub(super) fn warn(place: &Place<'_>, definition: &Definition, warnings: &mut Vec<Warning>) {
    let step = place.step;
    let rules = &step.outcome;
    for (number, entry) in rules.ignore_on.iter().enumerate() {
        if is_success(entry) {
            let words = "answers that are a success are passed over: neither emitted nor given to sub_steps";
            warnings.push(place.at(&format!("ignore_on/{number}"), WarningCode::IgnoresSuccess, words));
        }
    }
    for (number, entry) in rules.accept_on.iter().enumerate() {
        if is_success(entry) {
            let words = "these answers are a success anyway";
            warnings.push(place.at(&format!("accept_on/{number}"), WarningCode::AcceptedAlready, words));
        }
    }
    shadowed(place, "ignore_on", &rules.ignore_on, &[("abort_on", &rules.abort_on)], warnings);
    shadowed(place, "retry/on", &step.retry.on, &[("abort_on", &rules.abort_on)], warnings);
    let before = [("abort_on", rules.abort_on.as_slice()), ("ignore_on", rules.ignore_on.as_slice())];
    shadowed(place, "accept_on", &rules.accept_on, &before, warnings);
    if step.retry.max_retries == 0 {
        let words = "max_retries is 0: nothing is tried again";
        for (field, set) in
            [("retry/on", !step.retry.on.is_empty()), ("retry_when", rules.retry_when.is_some())]
        {
            warnings.extend(set.then(|| place.at(field, WarningCode::NeverRetried, words)));
        }
    }
    if step.request().is_some() && step.timeout > definition.max_execution {
        let words = format!(
            "one try may take {} s, and the whole run {} s: raise max_execution_seconds",
            step.timeout.as_secs(),
            definition.max_execution.as_secs()
        );
        warnings.push(place.at("timeout_seconds", WarningCode::TimeoutOutlastsRun, words));
    }
}

fn is_success(entry: &OutcomeMatcher) -> bool {
    matches!(entry, OutcomeMatcher::Status(200..=299) | OutcomeMatcher::Class(StatusClass(2)))
}

/// Entries of a list that are all taken by lists that are asked before it.
fn shadowed(
    place: &Place<'_>,
    field: &str,
    entries: &[OutcomeMatcher],
    before: &[(&str, &[OutcomeMatcher])],
    warnings: &mut Vec<Warning>,
) {
    for (number, entry) in entries.iter().enumerate() {
        let taker = before.iter().find(|(_, takers)| takers.iter().any(|taker| takes(taker, entry)));
        if let Some((name, _)) = taker {
            let words = format!("{name} is asked before, and takes this already");
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

//! Steps whose responses are neither emitted nor read.

use super::step_site::StepSite;
use super::warning::{Warning, WarningCode};
use crate::{Definition, EmitMode, Method, Step};

/// Returns whether the definition emits nothing at all, and adds a warning if so.
pub(super) fn of_all(definition: &Definition, warnings: &mut Vec<Warning>) -> bool {
    let nothing = !definition.steps.iter().any(|step| emits(step));
    if nothing {
        let message = "no step emits anything, so an execution produces no messages except errors".to_owned();
        let pointer = "/definition".to_owned();
        warnings.push(Warning { code: WarningCode::NothingEmitted, pointer, message });
    }
    nothing
}

fn emits(step: &Step) -> bool {
    step.emit != EmitMode::None || step.below().any(|below| emits(below))
}

pub(super) fn warn(
    place: &StepSite<'_>,
    definition: &Definition,
    nothing_emitted: bool,
    warnings: &mut Vec<Warning>,
) {
    let step = place.step;
    if step.emit != EmitMode::None {
        return;
    }
    if !step.extract.is_empty() {
        let words = "extract fills the messages of this step, and it emits none";
        warnings.push(place.at("extract", WarningCode::ExtractUnused, words));
    }
    let is_read = definition.reads.step_ids().is_none_or(|ids| ids.contains(&*step.id));
    let asks = step.request().is_some_and(|request| matches!(request.method(), Method::Get | Method::Head));
    let idle = step.sub_steps.is_empty() && step.set_context.is_empty() && step.cursor.is_none();
    if asks && idle && !is_read && !nothing_emitted && !place.around.emits && !place.around.job {
        let words = "the responses of this step are neither emitted by it or a step around it, nor read by an expression";
        warnings.push(place.at("emit", WarningCode::FetchedForNothing, words));
    }
}

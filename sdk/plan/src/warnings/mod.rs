//! Warnings: parts of a valid definition that most likely do not do what their author means.
//!
//! A warning never refuses a plan.

mod context;
mod emission;
mod fan_out;
mod loops;
mod outcome;
mod step_site;
mod warning;

use std::sync::Arc;

use self::step_site::{StepContext, StepSite};
pub use self::warning::{Warning, WarningCode};
use crate::{Definition, Step};

/// Maximum number of warnings of one definition.
const MAX_WARNINGS: usize = 100;

impl Definition {
    /// Returns the warnings of the definition, in the order of its steps.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let nothing_emitted = emission::of_all(self, &mut warnings);
        let mut places = Vec::new();
        self.steps.iter().for_each(|step| gather(step, &StepContext::default(), &mut places));
        for place in &places {
            warn(place, self, nothing_emitted, &mut warnings);
        }
        context::warn(self, &places, MAX_WARNINGS, &mut warnings);
        warnings.truncate(MAX_WARNINGS);
        warnings
    }
}

fn gather<'d>(step: &'d Arc<Step>, around: &StepContext, places: &mut Vec<StepSite<'d>>) {
    places.push(StepSite { step, around: *around });
    let emits = around.emits || step.emit != crate::EmitMode::None;
    let items = around.items || step.for_each.is_some();
    let below = StepContext { items: items || step.rows.is_some(), emits, job: false };
    step.sub_steps.iter().for_each(|below_it| gather(below_it, &below, places));
    let inside = StepContext { items, emits, job: true };
    step.job_steps().for_each(|inner| gather(inner, &inside, places));
}

fn warn(site: &StepSite<'_>, definition: &Definition, nothing_emitted: bool, warnings: &mut Vec<Warning>) {
    loops::warn(site, warnings);
    fan_out::warn(site, warnings);
    outcome::warn(site, definition, warnings);
    emission::warn(site, definition, nothing_emitted, warnings);
}

#[cfg(test)]
mod tests;

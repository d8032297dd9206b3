//! The fields that say when a plan runs: `wait_seconds`, or `cron` with its time zone and spread.

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::parser::{CronParser, Year};
use orchid_common::suggest::closest;

use crate::diagnostic::{Diagnostic, DiagnosticCode, quoted};
use crate::document::context::ReadContext;
use crate::document::object::ObjectReader;

/// Longest period over which the configs of a plan are spread, in seconds: a day.
pub(crate) const SPREAD_MAX_SECONDS: u64 = 86_400;
/// Maximum size of a cron expression, in bytes.
const CRON_MAX_BYTES: usize = 256;

/// Reads and checks the cron expression. Returns it as it was written, so that an author reads
/// back what they sent.
pub(crate) fn cron(plan: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<String> {
    let text = plan.text("cron", context)?;
    match check_cron(text) {
        Ok(()) => Some(text.to_owned()),
        Err(words) => {
            context.report(Diagnostic::new(DiagnosticCode::InvalidValue, plan.at("cron"), words));
            None
        }
    }
}

fn check_cron(text: &str) -> Result<(), String> {
    if text.len() > CRON_MAX_BYTES {
        return Err(format!("has {} bytes, at most {CRON_MAX_BYTES} are allowed", text.len()));
    }
    let fields = text.split_whitespace().count();
    if text.contains('@') || !(5..=6).contains(&fields) {
        return Err(format!(
            "{text} is not a cron expression: write 5 fields (minute hour day month weekday), or 6 with seconds first",
            text = quoted(text)
        ));
    }
    let parser = CronParser::builder().year(Year::Disallowed).build();
    let cron = parser
        .parse(text)
        .map_err(|error| format!("{text} is not a cron expression: {error}", text = quoted(text)))?;
    // This crate reads no clock, so the search starts on a fixed day. Any day would do: leap years
    // and weekdays repeat every 28 years.
    match cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, true) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{text} never occurs", text = quoted(text))),
    }
}

/// Reads and checks the time zone.
pub(crate) fn timezone(plan: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<String> {
    let text = plan.text("timezone", context)?;
    if text.parse::<Tz>().is_ok() {
        return Some(text.to_owned());
    }
    let words = format!("{text} is not an IANA time zone such as Europe/Berlin or UTC", text = quoted(text));
    let mut diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, plan.at("timezone"), words);
    diagnostic.suggestion = closest(text, TZ_VARIANTS.iter().map(|zone| zone.name())).map(str::to_owned);
    context.report(diagnostic);
    None
}

/// Reports fields that exclude or require each other.
pub(crate) fn check_combination(plan: &ObjectReader<'_>, context: &mut ReadContext<'_>) {
    if plan.has("cron") && plan.has("wait_seconds") {
        context.conflict(plan.at("wait_seconds"), "cron and wait_seconds exclude each other: remove one");
    }
    if !plan.has("cron") {
        for field in ["timezone", "spread_seconds"].into_iter().filter(|field| plan.has(field)) {
            context.conflict(plan.at(field), format!("{field} needs cron, which is not set"));
        }
    }
}

//! When runs are due: `wait_seconds`, or `cron` with its zone and spread, and `catch_up`.

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Year};
use orchid_common::suggest::closest;

use super::context::Context;
use super::object::Object;
use super::plan::MAX_COUNT;
use crate::diagnostic::quoted;
use crate::{CatchUpPolicy, CronTiming, Diagnostic, DiagnosticCode, Timing};

pub(crate) const CATCH_UPS: &[(&str, CatchUpPolicy)] = &[
    ("run_once", CatchUpPolicy::RunOnce),
    ("skip", CatchUpPolicy::Skip),
    ("run_each", CatchUpPolicy::RunEach),
];

/// Seconds over which the configs of a plan are spread at most: a day.
const MAX_SPREAD: u64 = 86_400;
/// Bytes of a pattern.
const CRON_BYTES: usize = 256;

pub(super) fn read(plan: &Object<'_>, context: &mut Context<'_>) -> Timing {
    let seconds = plan.integer("wait_seconds", 1..=MAX_COUNT, context).unwrap_or(300);
    let cron = cron(plan, context);
    let timezone = timezone(plan, context);
    let spread = plan.integer("spread_seconds", 0..=MAX_SPREAD, context);
    if plan.has("cron") && plan.has("wait_seconds") {
        context.conflict(plan.at("wait_seconds"), "cron stands instead of wait_seconds");
    }
    if !plan.has("cron") {
        for field in ["timezone", "spread_seconds"].into_iter().filter(|field| plan.has(field)) {
            context.conflict(plan.at(field), format!("{field} belongs to cron, and there is none"));
        }
    }
    match cron {
        Some(cron) => Timing::Cron(Box::new(CronTiming {
            cron,
            timezone: timezone.unwrap_or(Tz::UTC),
            spread_seconds: spread.unwrap_or(0),
        })),
        None => Timing::Wait { seconds },
    }
}

pub(super) fn catch_up(plan: &Object<'_>, context: &mut Context<'_>) -> CatchUpPolicy {
    plan.choice("catch_up", CATCH_UPS, context).unwrap_or(CatchUpPolicy::RunOnce)
}

fn cron(plan: &Object<'_>, context: &mut Context<'_>) -> Option<Cron> {
    let text = plan.text("cron", context)?;
    let parsed = parse_cron(text);
    if let Err(words) = &parsed {
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, plan.at("cron"), words));
    }
    parsed.ok()
}

fn parse_cron(text: &str) -> Result<Cron, String> {
    if text.len() > CRON_BYTES {
        return Err(format!("has {} bytes, at most {CRON_BYTES} are allowed", text.len()));
    }
    let fields = text.split_whitespace().count();
    if text.contains('@') || !(5..=6).contains(&fields) {
        return Err(format!(
            "{text} is no cron text: that has 5 fields (minute hour day month weekday), or 6 with seconds first",
            text = quoted(text)
        ));
    }
    let parser = CronParser::builder().year(Year::Disallowed).build();
    let cron = parser
        .parse(text)
        .map_err(|error| format!("{text} is no cron text: {error}", text = quoted(text)))?;
    // Asked of a fixed day, as nothing here reads a clock; leap years and weekdays repeat within 28 years of it.
    let comes = cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, true).is_ok();
    if comes { Ok(cron) } else { Err(format!("{text} never comes", text = quoted(text))) }
}

fn timezone(plan: &Object<'_>, context: &mut Context<'_>) -> Option<Tz> {
    let text = plan.text("timezone", context)?;
    let zone = text.parse::<Tz>().ok();
    if zone.is_none() {
        let words =
            format!("{text} is no zone of the IANA database, like Europe/Berlin or UTC", text = quoted(text));
        let mut diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, plan.at("timezone"), words);
        let lower = text.to_ascii_lowercase();
        let same = TZ_VARIANTS.iter().map(|zone| zone.name()).find(|name| name.to_ascii_lowercase() == lower);
        diagnostic.suggestion =
            same.or_else(|| closest(text, TZ_VARIANTS.iter().map(|zone| zone.name()))).map(str::to_owned);
        context.report(diagnostic);
    }
    zone
}

//! Rules that no golden case can show, with the tests that fail without them. They are listed at
//! the top of `tests/cases/README.md`.

use std::fmt::Write as _;
use std::path::Path;

/// A rule, and the tests of it by file.
pub(crate) struct TestedRule {
    rule: &'static str,
    file: &'static str,
    tests: &'static [&'static str],
}

const fn rule(rule: &'static str, file: &'static str, tests: &'static [&'static str]) -> TestedRule {
    TestedRule { rule, file, tests }
}

pub(crate) const TESTED_RULES: &[TestedRule] = &[
    rule(
        "no row is lost silently: over random plans and upstreams, an execution that is complete has \
         delivered every row that no explicit rule drops",
        "executor/engine/tests/engine/row_accounting.rs",
        &["complete_execution_has_delivered_every_row"],
    ),
    rule(
        "a body is read as JSON where the plan reads its members and it begins like JSON, also behind a \
         byte order mark; a repeated content type counts once",
        "executor/engine/src/body/reader.rs",
        &["body_of_any_type_is_json_if_members_are_read"],
    ),
    rule(
        "JSON that is not UTF-8 is read in the charset of its content type",
        "executor/engine/src/body/charset.rs",
        &["json_that_is_not_utf_8_is_read_as_its_content_type_says"],
    ),
    rule(
        "a value is the same wherever a body is read, and nesting has one limit",
        "executor/engine/src/body/properties.rs",
        &["values_are_the_same_wherever_a_body_is_read", "nesting_has_one_limit"],
    ),
    rule(
        "numbers keep their digits and are compared by them; half a surrogate pair is U+FFFD",
        "sdk/plan/src/value/number.rs",
        &["every_number_is_printed_with_its_value", "order_follows_every_digit"],
    ),
    rule(
        "an error behind the head of a response holds what arrived",
        "executor/tests/fetch/basics.rs",
        &["error_behind_the_head_holds_what_arrived"],
    ),
    rule(
        "the guide lists every warning of an execution",
        "executor/engine/tests/engine/warnings_guide.rs",
        &["guide_lists_every_warning_of_an_execution"],
    ),
    rule(
        "of 60 first answers that a plan does not follow, at least 95 % are noticed, and of 60 plans \
         that read every page, at most one is warned",
        "executor/engine/tests/engine/offered_pages.rs",
        &[
            "first_page_of_many_apis_is_recognized",
            "plan_that_reads_all_pages_is_not_warned",
            "single_page_silences_the_warning",
        ],
    ),
    rule(
        "each recipe for the commonest shapes of APIs does what its page shows",
        "executor/engine/tests/engine/how_do_i.rs",
        &["every_recipe_gives_the_trace_below_it"],
    ),
    rule(
        "at most a bounded number of messages and bytes is unacknowledged, in pages, records, streams \
         and fan-outs; execution goes on with the acknowledgements",
        "executor/engine/tests/engine/back_pressure.rs",
        &[
            "records_of_a_page_wait_for_acknowledgements",
            "chunks_of_large_bodies_wait_for_acknowledgements",
            "items_of_a_for_each_wait_together",
            "nested_fan_outs_wait_together",
            "page_waits_while_the_one_before_it_is_unacknowledged",
            "waiting_page_can_be_cancelled",
            "waiting_page_resumes_behind_its_acknowledged_rows",
        ],
    ),
    rule(
        "values that expressions read of a body are built only as far as they are read",
        "sdk/plan/src/expr/exactness.rs",
        &["unread_parts_of_a_body_make_no_difference"],
    ),
    rule(
        "they are counted while their page is in progress",
        "executor/engine/tests/engine/back_pressure.rs",
        &["values_that_expressions_read_are_counted_while_their_page_is_in_progress"],
    ),
    rule(
        "a row that fails gives up what still streams below it",
        "executor/engine/tests/engine/back_pressure.rs",
        &["failed_row_gives_up_the_bodies_that_stream_below_it"],
    ),
    rule(
        "bodies, buffers and messages of all executions share one byte budget: new fetches wait before \
         it is used up, and no execution blocks itself",
        "executor/src/memory/budget.rs",
        &[
            "fetches_wait_before_the_budget_is_used_up_and_go_on_in_order",
            "bodies_in_progress_are_read_on_before_new_fetches_begin",
            "attempts_that_hold_everything_do_not_wait_for_each_other",
        ],
    ),
    rule(
        "the same on real sockets",
        "executor/tests/fetch/memory.rs",
        &["streamed_body_is_charged_piece_by_piece", "fetches_wait_while_others_hold_the_memory"],
    ),
    rule(
        "expensive expressions take turns by tenant, apart from the threads of other executions, whose \
         timers fire in time",
        "executor/src/runner/slow_lane.rs",
        &["turns_go_round_the_tenants", "timers_fire_while_expensive_expressions_run"],
    ),
    rule(
        "a checkpoint does not grow with the number of pages and items",
        "executor/engine/tests/engine/checkpoint_growth.rs",
        &[
            "many_items_with_many_pages_finish",
            "answers_of_many_items_reach_a_later_step",
            "contexts_of_items_behind_a_slow_one_stay_small",
            "last_row_that_the_next_page_reads_stays_small",
        ],
    ),
    rule(
        "the memory of repeated requests is bounded and finds every cycle",
        "executor/engine/src/rules/repeat_guard.rs",
        &["checkpoint_of_a_guard_is_small", "cycle_longer_than_window_is_found"],
    ),
    rule(
        "a message that the broker refuses is made smaller; only an element that is too large alone \
         is lost, with an error",
        "executor/engine/tests/engine/sink.rs",
        &["refused_message_parks_the_execution_before_it", "object_that_the_broker_refuses_is_reported"],
    ),
    rule(
        "the same on a real broker",
        "tests/integration/real_kafka.rs",
        &["lower_limit_of_the_broker_costs_only_the_large_row"],
    ),
    rule(
        "a failed row is read again by the next execution, on the whole stack",
        "tests/integration/held_cursors.rs",
        &["next_execution_reads_the_failed_row_again"],
    ),
    rule(
        "the next execution continues behind a limit, triggered or scheduled, also over a killed executor",
        "tests/integration/continuations.rs",
        &[
            "triggered_executions_drain_a_loop_over_a_killed_executor",
            "scheduled_executions_drain_a_loop",
            "changed_plan_starts_from_the_beginning_with_a_warning",
        ],
    ),
    rule(
        "Retry-After and retry.wait take seconds, fractions, lists, dates and times since 1970",
        "executor/engine/src/rules/asked_wait.rs",
        &["retry_after_accepts_numbers_dates_and_lists", "value_of_the_plan_is_seconds_or_a_time"],
    ),
    rule(
        "a segment of a rendered path is never `.`, `..` or empty, after percent-decoding",
        "sdk/plan/src/template/tests.rs",
        &["values_cannot_change_the_structure_of_the_path", "host_out_of_a_response_is_noticed"],
    ),
    rule(
        "redirects keep userinfo on their origin only, and take a body to another one only by allowed_hosts",
        "executor/tests/fetch/basics.rs",
        &[
            "redirect_on_the_same_origin_keeps_the_credentials_of_the_url",
            "redirect_takes_a_body_to_another_origin_only_by_allowed_hosts",
        ],
    ),
    rule(
        "a zip archive gives the rows of all matching files, in order",
        "executor/tests/fetch/zip_archives.rs",
        &["matching_files_are_read_in_order", "streamed_archive_tells_where_its_files_begin"],
    ),
    rule(
        "a server's own certificate in transport.ca is trusted; refused ones are explained and permanent",
        "executor/tests/fetch/certificates.rs",
        &[
            "own_certificate_of_a_server_is_trusted_whatever_its_constraints",
            "refused_certificate_is_explained_and_permanent",
        ],
    ),
    rule(
        "no table, log, message or Redis key contains a secret in plain, Base64 or percent form; \
         checkpoints are sealed",
        "tests/integration/secrets.rs",
        &["secrets_are_nowhere_in_the_clear", "checkpoint_survives_the_rotation_of_the_master_key"],
    ),
    rule(
        "urls in response headers and encoded names of parameters are redacted",
        "executor/engine/src/message/redact.rs",
        &["urls_in_headers_lose_their_credentials"],
    ),
    rule(
        "secrets are recognised percent-encoded, in Base64 and as host names",
        "executor/engine/src/message/secret_forms.rs",
        &["secret_is_recognised_in_every_form", "secret_is_recognised_as_a_host"],
    ),
    rule(
        "the error of an execution shows the first KiB of the response, redacted",
        "executor/engine/tests/engine/response_excerpts.rs",
        &["error_shows_the_words_of_the_response_it_is_about", "long_response_is_cut_at_one_kib"],
    ),
    rule(
        "explain quotes the response and lists the warnings with their words",
        "control-plane/src/commands/executions/explanation/tests.rs",
        &["failed_execution_quotes_the_response", "warnings_are_listed_with_their_places_and_words"],
    ),
    rule(
        "trigger --watch and executions get show the response and the warnings",
        "sdk/cli/src/commands/executions.rs",
        &["details_show_the_response_and_every_warning"],
    ),
    rule(
        "orchid apply prints the warnings of the plans that it writes, and a failure shows what the API \
         said",
        "tests/integration/cli.rs",
        &["apply_shows_the_warnings_of_the_plans_that_it_writes", "failure_shows_what_the_api_said"],
    ),
    rule(
        "the warnings about a plan are returned when it is validated and when it is saved",
        "tests/integration/refusals.rs",
        &["suspicious_plan_gives_a_warning"],
    ),
    rule(
        "a name that needs quotes is answered with its quoted form; other names of functions are suggested",
        "sdk/plan/src/expr/tests.rs",
        &["name_that_needs_quotes_is_answered_with_its_quoted_form", "function_of_another_name_is_suggested"],
    ),
    rule(
        "a trigger that names an unknown config is NOT_FOUND",
        "tests/integration/management.rs",
        &["used_resources_are_kept_and_disabled_ones_do_not_run"],
    ),
];

/// Returns the table of the rules for the index of cases.
pub(crate) fn table() -> String {
    let mut table = "\n| rule | tests |\n|---|---|\n".to_owned();
    for TestedRule { rule, file, tests } in TESTED_RULES {
        let names: Vec<String> = tests.iter().map(|name| format!("`{name}`")).collect();
        writeln!(table, "| {rule} | `{file}`: {} |", names.join(", ")).unwrap();
    }
    table
}

#[test]
fn tests_of_the_rules_exist() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for TestedRule { rule, file, tests } in TESTED_RULES {
        let text =
            std::fs::read_to_string(repository.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for name in *tests {
            assert!(text.contains(&format!("fn {name}(")), "{rule}: {file} has no test {name}");
        }
    }
}

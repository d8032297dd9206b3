//! Documents with `async_job`.

use super::*;
use crate::{AsyncJob, AuthFlow, StepAction};

fn job(changes: Json) -> Json {
    let mut job = json!({
        "submit": {"method": "POST", "url": "https://api.example.com/reports"},
        "poll": {"url": "https://api.example.com/reports/{{ steps.submit.body.id }}"},
        "done_when": "response.body.status == 'DONE'",
        "download": [{"url": "{{ steps.poll.body.url }}"}],
    });
    for (name, value) in changes.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

fn with(changes: Json) -> Json {
    json!({"step": {"id": "report", "async_job": job(changes)}})
}

fn compiled_job(definition: &Json) -> (Definition, AsyncJob) {
    let definition =
        compile(definition, &ServerLimits::default()).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let StepAction::Job(job) = &definition.steps[0].action else { panic!("a job") };
    let job = (**job).clone();
    (definition, job)
}

#[test]
fn job_is_read_with_its_defaults() {
    let (definition, job) = compiled_job(&with(json!({})));
    assert_eq!((job.poll_wait.as_secs(), job.max_wait.as_secs()), (10, 7200));
    assert_eq!((&*job.submit.id, &*job.poll.id, &*job.download[0].id), ("submit", "poll", "step_4"));
    assert_eq!(
        (job.submit.emit, job.poll.emit, job.download[0].emit),
        (EmitMode::None, EmitMode::None, EmitMode::Page)
    );
    assert!(job.failed_when.is_none() && job.cancel.is_none() && definition.steps[0].request().is_none());
    assert_eq!(job.pointer, "/definition/step/async_job");
    assert_eq!(job.download[0].pointer, "/definition/step/async_job/download/0");
    assert!(definition.reads.step_ids().is_some_and(|ids| ids == ["poll", "submit"].into()));
    assert!(definition.steps[0].reads.overlaps(&["response", "body", "status"]));
}

#[test]
fn result_of_the_last_poll_needs_no_download() {
    let poll = json!({"url": "/jobs/{{ steps.submit.body.id }}", "iterate_over": "response.body.rows",
        "extract": {"at": "response.body.at"}, "sub_steps": [{"url": "https://api.example.com/{{ item.id }}"}]});
    let (_, job) = compiled_job(&with(json!({"result": "poll", "poll": poll, "download": null})));
    assert!(job.result_in_poll && job.download.is_empty());
    assert_eq!((job.poll.emit, &*job.poll.id), (EmitMode::Page, "poll"));
    let refused = |changes: Json| {
        let found = diagnostics(&with(changes));
        found.into_iter().map(|found| (found.code, found.pointer)).collect::<Vec<_>>()
    };
    let at = |field: &str| format!("/definition/step/async_job{field}");
    assert_eq!(refused(json!({"result": "poll"})), [(DiagnosticCode::Conflict, at("/download"))]);
    assert_eq!(refused(json!({"download": null})), [(DiagnosticCode::Required, at(""))]);
    assert_eq!(
        refused(json!({"result": "last", "download": null}))[0],
        (DiagnosticCode::InvalidValue, at("/result"))
    );
    assert_eq!(refused(json!({"poll": poll}))[0].0, DiagnosticCode::Conflict, "rows need the result");
    let looping = json!({"url": "/x", "paginate": {"type": "link_header"}});
    assert_eq!(
        refused(json!({"result": "poll", "poll": looping, "download": null})),
        [(DiagnosticCode::Conflict, at("/poll/paginate"))]
    );
    let relative = json!({"submit": {"url": "/jobs"}});
    assert_eq!(refused(relative), [(DiagnosticCode::InvalidValue, at("/submit/url"))]);
}

#[test]
fn job_steps_see_the_finished_ones() {
    let (_, job) = compiled_job(&json!({"steps": [
        {"id": "report", "for_each": "context.regions", "concurrency": 3, "stop_on_error": true, "execute_if": "item.active", "async_job": job(json!({
            "submit": {"id": "submit", "method": "POST", "url": "https://api.example.com/{{ item.id }}", "set_context": {"job": "response.body.id"}},
            "poll": {"url": "https://api.example.com/{{ steps.submit.body.id }}", "headers": {"x": "{{ response.headers.token }}"}, "emit": "none"},
            "failed_when": "response.status_code == `500` || steps.poll.body.failed || page.number == `50`",
            "download": [
                {"id": "file", "url": "{{ steps.poll.body.url }}"},
                {"url": "{{ steps.file.body.url }}", "iterate_over": "response.body.rows", "emit": "record",
                 "sub_steps": [{"url": "https://api.example.com/{{ item.id }}/{{ parent.status_code }}/{{ steps.file.body.id }}"}]},
            ],
            "cancel": {"method": "DELETE", "url": "https://api.example.com/{{ steps.submit.body.id }}/{{ steps.poll.body.id }}"},
            "poll_wait": "1m", "max_wait": "1d",
        }))},
    ]}));
    assert_eq!((job.poll_wait.as_secs(), job.max_wait.as_secs()), (60, 86_400));
    assert_eq!(
        job.download.iter().map(|step| step.emit).collect::<Vec<_>>(),
        [EmitMode::None, EmitMode::Record]
    );
    assert_eq!(job.cancel.as_ref().map(|step| &*step.id), Some("cancel"));
}

#[test]
fn ids_of_job_steps_are_local_to_the_job() {
    let definition = json!({"steps": [{"async_job": job(json!({}))}, {"async_job": job(json!({}))}, {"id": "submit", "url": "https://a.example.com"}]});
    assert_eq!(diagnostics(&definition), []);
    let after = json!({"steps": [{"async_job": job(json!({}))}, {"url": "https://a.example.com/{{ steps.submit.body.id }}"}]});
    assert_eq!(diagnostics(&after)[0].message, "no step submit finishes before this one");
}

#[test]
fn job_in_sub_steps_sees_parent_and_item() {
    compiled(json!({"iterate_over": "response.body", "sub_steps": [{"async_job": job(json!({
        "submit": {"url": "https://api.example.com/{{ item.id }}/{{ parent.body.id }}"},
    }))}]}));
    // At the root there is no parent, because a job has no response of its own.
    let diagnostics =
        diagnostics(&with(json!({"poll": {"url": "https://api.example.com/{{ parent.body.id }}"}})));
    assert_eq!(
        (diagnostics[0].code, diagnostics[0].pointer.as_str()),
        (DiagnosticCode::UnknownName, "/definition/step/async_job/poll/url")
    );
}

#[test]
fn job_steps_are_one_level_deeper_and_inherit_the_flow() {
    let server = ServerLimits { nesting_depth: 1, ..ServerLimits::default() };
    let diagnostics = compile(&with(json!({})), &server).unwrap_err().0;
    assert!(
        diagnostics.iter().all(|diagnostic| diagnostic.code == DiagnosticCode::TooLarge),
        "{diagnostics:#?}"
    );
    assert_eq!(diagnostics.len(), 3, "{diagnostics:#?}");
    let mut none = with(json!({}));
    none["step"]["auth_flow"] = json!("none");
    let (definition, job) = compiled_job(&none);
    assert_eq!(definition.steps[0].auth_flow, Some(AuthFlow::Off));
    assert!(
        [&job.submit, &job.poll, &job.download[0]].iter().all(|step| step.auth_flow == Some(AuthFlow::Off))
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn job_diagnostics_have_pointer_and_correction() {
    use DiagnosticCode::*;
    let at = "https://a.example.com";
    let beside = |field: &str, value: Json| {
        let mut definition = with(json!({}));
        definition["step"][field] = value;
        definition
    };
    check_cases(vec![
        (beside("url", json!(at)), Conflict, "/definition/step/url", None, None),
        (beside("method", json!("GET")), Conflict, "/definition/step/method", None, None),
        (
            beside("paginate", json!({"type": "link_header"})),
            Conflict,
            "/definition/step/paginate",
            None,
            None,
        ),
        (
            beside("iterate_over", json!("response.body")),
            Conflict,
            "/definition/step/iterate_over",
            None,
            None,
        ),
        (beside("sub_steps", json!([])), Conflict, "/definition/step/sub_steps", None, None),
        (beside("emit", json!("none")), Conflict, "/definition/step/emit", None, None),
        (beside("set_context", json!({})), Conflict, "/definition/step/set_context", None, None),
        (with(json!({"poll": null})), Required, "/definition/step/async_job", None, None),
        (with(json!({"done_when": null})), Required, "/definition/step/async_job", None, None),
        (with(json!({"download": []})), OutOfRange, "/definition/step/async_job/download", None, None),
        (
            with(json!({"download": {"url": at}})),
            WrongType,
            "/definition/step/async_job/download",
            None,
            None,
        ),
        (with(json!({"pol": {}})), UnknownField, "/definition/step/async_job/pol", None, Some("poll")),
        (
            with(json!({"submit": {"url": at, "id": "start"}})),
            Conflict,
            "/definition/step/async_job/submit/id",
            None,
            Some("submit"),
        ),
        (
            with(json!({"submit": {"url": at, "emit": "page"}})),
            Conflict,
            "/definition/step/async_job/submit/emit",
            None,
            Some("none"),
        ),
        (
            with(json!({"submit": {"url": at, "iterate_over": "response.body"}})),
            Conflict,
            "/definition/step/async_job/submit/iterate_over",
            None,
            None,
        ),
        (
            with(json!({"poll": {"url": at, "while": "context.a"}})),
            Conflict,
            "/definition/step/async_job/poll/while",
            None,
            None,
        ),
        (
            with(json!({"poll": {"url": at, "execute_if": "context.a"}})),
            Conflict,
            "/definition/step/async_job/poll/execute_if",
            None,
            None,
        ),
        (
            with(json!({"cancel": {"url": at, "extract": {}}})),
            Conflict,
            "/definition/step/async_job/cancel/extract",
            None,
            None,
        ),
        (
            with(json!({"download": [{"url": at, "emit": "page"}, {"url": at}]})),
            Conflict,
            "/definition/step/async_job/download/0/emit",
            None,
            Some("none"),
        ),
        (
            with(json!({"download": [{"url": at, "sub_steps": [{"url": at, "emit": "page"}]}, {"url": at}]})),
            Conflict,
            "/definition/step/async_job/download/0/sub_steps/0/emit",
            None,
            Some("none"),
        ),
        (
            with(json!({"download": [{"async_job": job(json!({}))}]})),
            Conflict,
            "/definition/step/async_job/download/0/async_job",
            None,
            None,
        ),
        (
            with(json!({"download": [{"url": at, "id": "report"}]})),
            Duplicate,
            "/definition/step/async_job/download/0/id",
            None,
            None,
        ),
        (
            with(json!({"submit": {"url": "https://a.example.com/{{ steps.submit.body }}"}})),
            UnknownName,
            "/definition/step/async_job/submit/url",
            Some(31),
            None,
        ),
        (
            with(json!({"poll": {"url": "https://a.example.com/{{ steps.poll.body }}"}})),
            UnknownName,
            "/definition/step/async_job/poll/url",
            Some(31),
            None,
        ),
        (
            with(json!({"done_when": true})),
            WrongType,
            "/definition/step/async_job/done_when",
            None,
            Some("\"`true`\""),
        ),
        (
            with(json!({"poll_wait": 10})),
            WrongType,
            "/definition/step/async_job/poll_wait",
            None,
            Some("\"10s\""),
        ),
        (with(json!({"poll_wait": "8d"})), OutOfRange, "/definition/step/async_job/poll_wait", None, None),
        (
            with(json!({"poll_wait": "10m", "max_wait": "5m"})),
            Conflict,
            "/definition/step/async_job/max_wait",
            None,
            None,
        ),
    ]);
}

#[test]
fn all_problems_of_a_job_are_reported_at_once() {
    let definition = with(json!({
        "submit": {"url": "x"}, "poll": {"url": "https://a.example.com/{{ stepz.a }}"}, "done_when": "response.body.a == true",
        "download": [{"url": "https://a.example.com", "timeout_seconds": 0}], "cancel": {}, "poll_wait": "soon",
    }));
    let pointers: Vec<_> =
        diagnostics(&definition).into_iter().map(|diagnostic| diagnostic.pointer).collect();
    let at = |field: &str| format!("/definition/step/async_job/{field}");
    assert_eq!(
        pointers,
        ["submit/url", "poll/url", "done_when", "download/0/timeout_seconds", "cancel", "poll_wait"].map(at)
    );
}

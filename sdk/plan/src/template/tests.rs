//! Tests of rendered requests.

use chrono::{TimeZone, Utc};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::{
    Definition, EvalEnv, PaginationOverrides, RenderErrorCode, RenderedRequest, Scope, ScopeName,
    ServerLimits, compile,
};

fn step(fields: Json) -> Json {
    let mut step = json!({"url": "https://api.example.com/items"});
    for (name, value) in fields.as_object().unwrap() {
        step[name] = value.clone();
    }
    json!({"step": step})
}

fn compiled(fields: Json) -> Definition {
    compile(&step(fields), &ServerLimits::default()).unwrap()
}

pub(crate) fn scope() -> Scope {
    let value = |json: Json| crate::Value::from(&json);
    Scope::new()
        .with(ScopeName::Config, value(json!({"base_url": "https://api.example.com/v1", "token": "t k", "list": ["a", null, 3], "null": null, "object": {"a": 1}})))
        .with(ScopeName::Context, value(json!({"big": 9_007_199_254_740_993_i64, "half": 0.5, "whole": 5.0, "yes": true, "bad": "a\nb"})))
        .with(ScopeName::Page, value(json!({"number": 2, "cursor": "c&d"})))
}

pub(crate) fn env() -> EvalEnv {
    EvalEnv::new(Utc.with_ymd_and_hms(2026, 1, 15, 10, 30, 0).unwrap(), 1)
}

fn render(fields: Json) -> Result<RenderedRequest, (RenderErrorCode, String)> {
    compiled(fields).steps[0]
        .request()
        .unwrap()
        .render(&scope(), &env())
        .map_err(|error| (error.code, error.pointer))
}

#[test]
fn url_keeps_its_base_and_encodes_the_rest() {
    for (url, expected) in [
        ("{{ config.base_url }}/items/{{ config.token }}", "https://api.example.com/v1/items/t%20k"),
        (
            "https://a.example.com/{{ page.cursor }}?c={{ page.cursor }}",
            "https://a.example.com/c%26d?c=c%26d",
        ),
        ("https://a.example.com/x?{{ raw(page.cursor) }}", "https://a.example.com/x?c&d"),
        (
            "https://a.example.com/{{ context.big }}/{{ context.whole }}/{{ context.yes }}#part",
            "https://a.example.com/9007199254740993/5/true",
        ),
        ("https://a.example.com", "https://a.example.com/"),
    ] {
        assert_eq!(render(json!({"url": url})).unwrap().url.as_str(), expected, "{url}");
    }
}

#[test]
fn name_that_needs_quotes_in_a_template_is_answered_with_its_quoted_form() {
    for (template, position, suggestion) in [
        ("{{ response.body.my-list }}", 17, "response.body.\"my-list\""),
        ("a {{ response.body.'data.value' }}", 19, "response.body.\"data.value\""),
    ] {
        let fields = json!({"headers": {"x-a": template}});
        let refused = compile(&step(fields), &ServerLimits::default()).unwrap_err();
        let [diagnostic] = refused.0.as_slice() else { panic!("{refused}") };
        assert_eq!(
            (diagnostic.pointer.as_str(), diagnostic.position),
            ("/definition/step/headers/x-a", Some(position))
        );
        assert_eq!(diagnostic.suggestion.as_deref(), Some(suggestion));
    }
}

#[test]
fn url_refuses_values_without_text() {
    let at = |code| Err((code, "/definition/step/url".to_owned()));
    assert_eq!(
        render(json!({"url": "https://a.example.com/{{ config.nothing }}"})),
        at(RenderErrorCode::TemplateNull)
    );
    assert_eq!(
        render(json!({"url": "https://a.example.com/{{ config.object }}"})),
        at(RenderErrorCode::TemplateType)
    );
    assert_eq!(
        render(json!({"url": "https://a.example.com/{{ config.list }}"})),
        at(RenderErrorCode::TemplateType)
    );
    assert_eq!(render(json!({"url": "{{ config.token }}/items"})), at(RenderErrorCode::InvalidUrl));
    assert_eq!(
        render(json!({"url": "https://a.example.com/{{ add(config.token, `1`) }}"})),
        at(RenderErrorCode::Expression)
    );
}

#[test]
fn params_follow_the_query_and_drop_nulls() {
    let url = |params: Json| {
        render(json!({"url": "https://a.example.com/x?z=1", "params": params})).unwrap().url.to_string()
    };
    assert_eq!(
        url(
            json!({"b": "{{ config.list }}", "a": "{{ config.token }}", "n": null, "m": "{{ config.nothing }}", "l": ["x", "{{ config.nothing }}", 2], "t": true})
        ),
        "https://a.example.com/x?z=1&a=t%20k&b=a&b=3&l=x&l=2&t=true"
    );
    assert_eq!(
        url(json!([{"name": "b", "value": 1}, {"name": "a", "value": "2"}, {"name": "b", "value": "3"}])),
        "https://a.example.com/x?z=1&b=1&a=2&b=3"
    );
    assert_eq!(url(json!({})), "https://a.example.com/x?z=1");
    let object = render(json!({"params": {"a": "{{ config.object }}"}}));
    assert_eq!(object, Err((RenderErrorCode::TemplateType, "/definition/step/params/a".to_owned())));
}

#[test]
fn headers_drop_nulls_and_refuse_control_characters() {
    let request = render(json!({"headers": {"X-A": "Bearer {{ config.token }}", "X-N": "{{ config.nothing }}", "X-L": null, "X-5": 5}})).unwrap();
    assert_eq!(
        request.headers,
        [("x-5".to_owned(), "5".to_owned()), ("x-a".to_owned(), "Bearer t k".to_owned())]
    );
    let code = |value: &str| render(json!({"headers": {"X": value}})).unwrap_err().0;
    assert_eq!(code("{{ context.bad }}"), RenderErrorCode::InvalidHeader);
    assert_eq!(code("a {{ config.nothing }}"), RenderErrorCode::TemplateNull);
    assert_eq!(code("{{ config.object }}"), RenderErrorCode::TemplateType);
}

#[test]
fn json_bodies_keep_types_and_drop_null_templates() {
    let request = render(json!({"method": "POST", "body": {
        "big": "{{ context.big }}", "list": "{{ config.list }}", "text": "n={{ context.half }}", "gone": "{{ config.nothing }}",
        "stays": null, "deep": [{"gone": "{{ config.nothing }}"}, "{{ config.nothing }}"], "open": "{{ '{{' }}",
    }}))
    .unwrap();
    assert_eq!(
        String::from_utf8(request.body.unwrap().to_vec()).unwrap(),
        r#"{"big":9007199254740993,"deep":[{},null],"list":["a",null,3],"open":"{{","stays":null,"text":"n=0.5"}"#
    );
    assert_eq!(request.headers, [("content-type".to_owned(), "application/json".to_owned())]);
}

#[test]
fn form_and_text_bodies_are_rendered() {
    let form = render(json!({
        "method": "POST", "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        "body": {"a": "{{ config.token }}", "l": "{{ config.list }}", "n": "{{ config.nothing }}", "b": true},
    }))
    .unwrap();
    assert_eq!(form.body.unwrap(), "a=t+k&b=true&l=a&l=3");
    assert_eq!(form.headers.len(), 1);
    let text = render(json!({"method": "POST", "headers": {"content-type": "text/xml"}, "body": "<a>{{ xml_escape('<') }}</a>"})).unwrap();
    assert_eq!((text.body.unwrap(), text.headers.len()), ("<a>&lt;</a>".into(), 1));
    let object = render(json!({"method": "POST", "body": "{{ config.object }}"})).unwrap();
    assert_eq!(
        (object.body.unwrap(), object.headers[0].1.as_str()),
        ("{\"a\":1}".into(), "application/json")
    );
    assert_eq!(render(json!({"method": "POST", "body": "{{ config.nothing }}"})).unwrap().body, None);
    let nested = render(
        json!({"headers": {"content-type": "application/x-www-form-urlencoded"}, "body": {"a": {"b": 1}}}),
    );
    assert_eq!(nested, Err((RenderErrorCode::TemplateType, "/definition/step/body/a".to_owned())));
}

#[test]
fn content_type_of_the_plan_is_kept() {
    let json = "application/vnd.api+json";
    for body in [json!({"a": "{{ context.half }}"}), json!(["{{ context.half }}"])] {
        let request =
            render(json!({"method": "POST", "headers": {"Content-Type": json}, "body": body})).unwrap();
        assert_eq!(request.headers, [("content-type".to_owned(), json.to_owned())]);
        assert!(matches!(&*request.body.unwrap(), br#"{"a":0.5}"# | b"[0.5]"));
    }
}

#[test]
fn pagination_replaces_the_url_or_adds_params() {
    let definition = compiled(json!({"params": {"a": 1}, "headers": {"x": "y"}}));
    let request = &definition.steps[0].request().unwrap();
    let url = |overrides: &PaginationOverrides<'_>| {
        request.render_with(&scope(), &env(), overrides).unwrap().url.to_string()
    };
    let params = [("cursor".to_owned(), "c d".to_owned())];
    assert_eq!(
        url(&PaginationOverrides { params: &params, ..PaginationOverrides::default() }),
        "https://api.example.com/items?a=1&cursor=c%20d"
    );
    let next = PaginationOverrides {
        url: Some("https://api.example.com/next?p=2"),
        params: &params,
        ..PaginationOverrides::default()
    };
    assert_eq!(url(&next), "https://api.example.com/next?p=2");
    let keep_params = ["cursor".to_owned(), "a".to_owned(), "p".to_owned()];
    let kept = PaginationOverrides { keep_params: &keep_params, ..next.clone() };
    assert_eq!(url(&kept), "https://api.example.com/next?p=2&a=1&cursor=c%20d");
    let has_it = PaginationOverrides { url: Some("https://api.example.com/next?%61=9"), ..kept };
    assert_eq!(url(&has_it), "https://api.example.com/next?%61=9&cursor=c%20d");
}

#[test]
fn previous_url_does_not_change_the_result() {
    let known = [
        "https://a.example.com/x",
        "https://a.example.com/x?p=1",
        "https://a.example.com/x/?p=1",
        "https://a.example.com/",
        "https://b.example.com/x?p=1",
        "https://a.example.com/x%20y?q",
    ];
    let texts = [
        "x",
        "x?",
        "x?p=2",
        "x?p=2#f",
        "x?a b=é",
        "x/?p='",
        "x?p=2?q",
        "x%20y?p",
        "x y?p",
        "",
        "?p=1",
        "x?p= ",
        "x?\tp=\n1",
    ];
    for text in texts {
        let step = compiled(json!({"url": format!("https://a.example.com/{text}")}));
        let request = step.steps[0].request().unwrap();
        let plain = request.render(&scope(), &env()).unwrap();
        for known in known {
            let like = url::Url::parse(known).unwrap();
            let overrides =
                PaginationOverrides { previous_url: Some(&like), ..PaginationOverrides::default() };
            assert_eq!(
                request.render_with(&scope(), &env(), &overrides).unwrap(),
                plain,
                "{text} like {known}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_template_renders_or_fails(text in "([a-z /{}'`.]|\\{\\{ config\\.|\\}\\}|page\\.cursor){0,24}") {
        if let Ok(definition) = compile(&step(json!({"body": text.clone(), "url": format!("https://a.example.com/{text}")})), &ServerLimits::default()) {
            let _rendered = definition.steps[0].request().unwrap().render(&scope(), &env());
        }
    }
}

#[test]
fn suggested_template_for_null_compiles() {
    for (template, instead) in [
        ("{{ raw(config.null) }}", "{{ raw(config.null || '') }}"),
        ("{{ raw( not_null(config.null) ) }}", "{{ raw(not_null(config.null) || '') }}"),
        ("{{ (raw (config.null)) }}", "{{ raw(config.null || '') }}"),
        ("{{ config.null }}", "{{ config.null || '' }}"),
        ("{{ not_null(config.null) }}", "{{ not_null(config.null) || '' }}"),
    ] {
        let url = |template: &str| json!({"url": format!("https://a.example.com/?{template}")});
        let request = |template: &str| compiled(url(template)).steps[0].request().unwrap().clone();
        let error = request(template).render(&scope(), &env()).unwrap_err();
        assert_eq!(error.message, format!("{template} is null; write {instead} where nothing is meant"));
        assert_eq!(
            request(instead).render(&scope(), &env()).unwrap().url.as_str(),
            "https://a.example.com/?"
        );
    }
}

#[test]
fn values_cannot_change_the_structure_of_the_path() {
    let render = |url: &str, value: &str| {
        let definition = compiled(json!({"url": url}));
        let scope = Scope::new().with(ScopeName::Config, crate::Value::from(&json!({"x": value})));
        let rendered = definition.steps[0].request().unwrap().render(&scope, &env());
        rendered.map(|request| request.url.to_string()).map_err(|error| error.code.as_str())
    };
    let refused = Err("TEMPLATE_SEGMENT");
    let (encoded, raw) = ("https://h.test/a/{{ config.x }}/b", "https://h.test/a/{{ raw(config.x) }}/b");
    for value in ["..", ".", ""] {
        assert_eq!(render(encoded, value), refused, "{value:?}");
        assert_eq!(render(raw, value), refused, "{value:?}");
    }
    for value in ["%2e%2E", ".%2e", "x/..", "..\\y", "x//y", "/x", "x/", "\t.."] {
        assert_eq!(render(raw, value), refused, "{value:?}");
        assert!(render(encoded, value).is_ok(), "{value:?}");
    }
    assert_eq!(render(encoded, "/x//"), Ok("https://h.test/a/%2Fx%2F%2F/b".to_owned()));
    assert_eq!(render("https://h.test/a/{{ config.x }}", ""), refused, "the end of the path");
    assert_eq!(render("https://h.test/a/{{ config.x }}?q", ""), refused, "the end before a query");
    assert_eq!(
        render("https://h.test/a{{ config.x }}?q={{ config.x }}", ""),
        Ok("https://h.test/a?q=".to_owned())
    );
    assert_eq!(render("https://h.test/a?p=/{{ config.x }}/", ".."), Ok("https://h.test/a?p=/../".to_owned()));
    assert_eq!(render("https://h.test/{{ raw(config.x) }}", "a/"), Ok("https://h.test/a/".to_owned()));
    assert_eq!(render("{{ config.x }}/a", "https://h.test/v1/"), Ok("https://h.test/v1//a".to_owned()));
    assert_eq!(
        render("{{ config.x }}{{ raw('/a') }}", "https://h.test/"),
        Ok("https://h.test//a".to_owned())
    );
    assert_eq!(render("{{ config.x }}/a", "https://h.test/v1/.."), refused);
    assert_eq!(render("https://h.test/a/{{ config.x }}.", "."), refused, "together with literal text");
    let literal =
        compile(&step(json!({"url": "https://h.test/a/../{{ config.x }}"})), &ServerLimits::default());
    assert_eq!(literal.unwrap_err().0[0].code, crate::DiagnosticCode::InvalidValue);
}

#[test]
fn host_out_of_a_response_is_noticed() {
    let is_noticed = |url: &str, text: &str| {
        let definition = compiled(json!({"url": url}));
        let value = |json: Json| crate::Value::from(&json);
        let scope = Scope::new()
            .with(ScopeName::Context, value(json!({"x": text})))
            .with(ScopeName::Config, value(json!({"host": "h.test"})));
        definition.steps[0].request().unwrap().render(&scope, &env()).unwrap().host_is_from_answer
    };
    assert!(is_noticed("{{ context.x }}/a", "https://h.test"));
    assert!(is_noticed("https://{{ context.x }}/a", "h.test"));
    assert!(is_noticed("https://{{ config.host }}{{ context.x }}/a", ".evil.test"));
    assert!(is_noticed("{{ context.x }}", "ht\ttps://h.test/a"));
    assert!(!is_noticed("https://h.test/{{ context.x }}", "a"));
    assert!(!is_noticed("https://{{ config.host }}/{{ context.x }}", "a"));
    assert!(!is_noticed("https://h.test?u={{ context.x }}", "https://evil.test"));
}

#[test]
fn relative_url_is_resolved_against_the_base() {
    let base = url::Url::parse("https://h.test/v1/jobs").unwrap();
    let render = |value: &str| {
        let definition = compile(
            &json!({"step": {"async_job": {
                "submit": {"url": base.as_str()},
                "poll": {"url": "{{ steps.submit.headers.location }}"},
                "done_when": "response.body",
                "download": [{"url": "/files/1"}],
            }}}),
            &ServerLimits::default(),
        )
        .unwrap();
        let crate::StepAction::Job(job) = &definition.steps[0].action else { panic!("a job") };
        let steps = json!({"submit": {"headers": {"location": value}}});
        let scope = Scope::new().with(ScopeName::Steps, crate::Value::from(&steps));
        let overrides = PaginationOverrides { base: Some(&base), ..PaginationOverrides::default() };
        let rendered = job.poll.request().unwrap().render_with(&scope, &env(), &overrides);
        rendered
            .map(|request| (request.url.to_string(), request.host_is_from_answer))
            .map_err(|error| error.code)
    };
    for (location, expected, noticed) in [
        ("/jobs/1?a=b", "https://h.test/jobs/1?a=b", false),
        ("1", "https://h.test/v1/1", false),
        ("?page=2", "https://h.test/v1/jobs?page=2", false),
        ("https://other.test/1", "https://other.test/1", true),
        ("//other.test/1", "https://other.test/1", true),
        ("\\\\other.test/1", "https://other.test/1", true),
    ] {
        assert_eq!(render(location), Ok((expected.to_owned(), noticed)), "{location}");
    }
    assert_eq!(render("../1"), Err(RenderErrorCode::TemplateSegment));
    assert_eq!(render(""), Err(RenderErrorCode::InvalidUrl));
    assert_eq!(render("ftp://h.test/x"), Err(RenderErrorCode::InvalidUrl));
}

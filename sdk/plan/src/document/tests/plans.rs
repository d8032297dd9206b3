//! The header, and rate limits, which are checked completely although they are not supported yet.

use super::*;

/// Returns the diagnostics other than those of unsupported fields.
fn real(diagnostics: Vec<Diagnostic>) -> Vec<(&'static str, String, Option<String>)> {
    let real = diagnostics.into_iter().filter(|diagnostic| diagnostic.code != DiagnosticCode::Unsupported);
    real.map(|diagnostic| (diagnostic.code.as_str(), diagnostic.pointer, diagnostic.suggestion)).collect()
}

fn plan(fields: Json) -> Vec<(&'static str, String, Option<String>)> {
    let mut document = json!({"key": "a", "integration": "b", "definition": step(json!({}))});
    fields.as_object().unwrap().iter().for_each(|(name, value)| document[name] = value.clone());
    real(check(&document, &ServerLimits::default()).err().map_or_else(Vec::new, |diagnostics| diagnostics.0))
}

#[test]
fn header_is_read_as_written() {
    let read = |fields: Json| {
        let mut document = json!({"key": "a.b_c-9", "integration": "shop", "definition": step(json!({}))});
        fields.as_object().unwrap().iter().for_each(|(name, value)| document[name] = value.clone());
        check(&document, &ServerLimits::default()).unwrap().header
    };
    let waits = read(json!({
        "configs": ["eu", "us"], "name": "Orders", "description": "All of them", "enabled": true, "wait_seconds": 1,
        "overlap": "queue", "catch_up": "run_each", "repeat_count": 1, "priority": 9,
    }));
    assert_eq!((waits.key.as_str(), waits.configs), ("a.b_c-9", vec!["eu".to_owned(), "us".to_owned()]));
    assert_eq!((waits.name.as_str(), waits.description.as_str()), ("Orders", "All of them"));
    assert_eq!((waits.enabled, waits.wait_seconds), (Some(true), Some(1)));
    assert_eq!(
        (waits.overlap, waits.catch_up, waits.repeat_count, waits.priority),
        (Some(OverlapPolicy::Queue), Some(CatchUpPolicy::RunEach), Some(1), Some(9))
    );
    let other = read(
        json!({"configs": "all", "overlap": "skip", "catch_up": "skip", "priority": 0, "cron": "* * * * *"}),
    );
    assert_eq!(
        (other.configs, other.overlap, other.catch_up, other.priority),
        (vec![], Some(OverlapPolicy::Skip), Some(CatchUpPolicy::Skip), Some(0))
    );
    assert_eq!((other.cron.as_deref(), other.wait_seconds), (Some("* * * * *"), None));
    assert_eq!((other.timezone, other.spread_seconds), (None, None));
    assert_eq!(read(json!({"catch_up": "run_once"})).catch_up, Some(CatchUpPolicy::RunOnce));
}

#[test]
fn key_must_follow_its_grammar() {
    for key in ["a", "0", "a.b_c-9", &"a".repeat(128)] {
        assert_eq!(plan(json!({"key": key, "integration": key, "configs": [key]})), [], "{key}");
    }
    for key in ["", "A", "aB", ".a", "_a", "-a", "a b", "a/b", "ä", &"a".repeat(129)] {
        let diagnostics = plan(json!({"key": key, "integration": key, "configs": [key]}));
        let found: Vec<_> = diagnostics.iter().map(|(code, pointer, _)| (*code, pointer.as_str())).collect();
        assert_eq!(
            found,
            ["/key", "/integration", "/configs/0"].map(|pointer| ("INVALID_VALUE", pointer)),
            "{key}"
        );
    }
}

#[test]
fn header_diagnostics_have_pointer_and_correction() {
    for (fields, code, pointer, suggestion) in [
        (json!({"key": null}), "REQUIRED", "", None),
        (json!({"integration": null}), "REQUIRED", "", None),
        (json!({"definition": null}), "REQUIRED", "", None),
        (json!({"key": 5}), "WRONG_TYPE", "/key", None),
        (json!({"configs": "some"}), "WRONG_TYPE", "/configs", Some("\"all\"")),
        (json!({"configs": []}), "OUT_OF_RANGE", "/configs", None),
        (json!({"name": 5}), "WRONG_TYPE", "/name", None),
        (json!({"description": ["a"]}), "WRONG_TYPE", "/description", None),
        (json!({"enabled": "yes"}), "WRONG_TYPE", "/enabled", None),
        (json!({"wait_seconds": 0}), "OUT_OF_RANGE", "/wait_seconds", None),
        (json!({"wait_seconds": 1.5}), "OUT_OF_RANGE", "/wait_seconds", None),
        (json!({"wait_seconds": "60"}), "WRONG_TYPE", "/wait_seconds", None),
        (json!({"overlap": "queu"}), "INVALID_VALUE", "/overlap", Some("queue")),
        (json!({"catch_up": "run_ones"}), "INVALID_VALUE", "/catch_up", Some("run_once")),
        (json!({"repeat_count": 0}), "OUT_OF_RANGE", "/repeat_count", None),
        (json!({"priority": -1}), "OUT_OF_RANGE", "/priority", None),
        (json!({"priority": 10}), "OUT_OF_RANGE", "/priority", None),
        (json!({"enable": true}), "UNKNOWN_FIELD", "/enable", Some("enabled")),
    ] {
        assert_eq!(
            plan(fields.clone()),
            [(code, pointer.to_owned(), suggestion.map(str::to_owned))],
            "{fields}"
        );
    }
}

#[test]
fn cron_timezone_and_spread_are_checked() {
    for fine in [
        json!({"cron": "*/5 * * * *"}),
        json!({"cron": "30 0 5 * * MON-FRI", "timezone": "America/New_York", "spread_seconds": 300}),
        json!({"cron": "0 0 29 2 *", "catch_up": "run_each"}),
        json!({"wait_seconds": 60, "catch_up": "skip"}),
    ] {
        assert_eq!(plan(fine.clone()), [], "{fine}");
    }
    for (fields, code, pointer, suggestion) in [
        (json!({"cron": "* * * *"}), "INVALID_VALUE", "/cron", None),
        (json!({"cron": "0 0 0 1 1 * 2026"}), "INVALID_VALUE", "/cron", None),
        (json!({"cron": "@daily"}), "INVALID_VALUE", "/cron", None),
        (json!({"cron": "61 * * * *"}), "INVALID_VALUE", "/cron", None),
        (json!({"cron": "0 0 30 2 *"}), "INVALID_VALUE", "/cron", None),
        (json!({"cron": "1,".repeat(200)}), "INVALID_VALUE", "/cron", None),
        (json!({"cron": 5}), "WRONG_TYPE", "/cron", None),
        (json!({"cron": "* * * * *", "wait_seconds": 5}), "CONFLICT", "/wait_seconds", None),
        (json!({"timezone": "Europe/Berlin"}), "CONFLICT", "/timezone", None),
        (json!({"spread_seconds": 5}), "CONFLICT", "/spread_seconds", None),
        (
            json!({"cron": "* * * * *", "timezone": "Europe/Berln"}),
            "INVALID_VALUE",
            "/timezone",
            Some("Europe/Berlin"),
        ),
        (
            json!({"cron": "* * * * *", "timezone": "europe/berlin"}),
            "INVALID_VALUE",
            "/timezone",
            Some("Europe/Berlin"),
        ),
        (json!({"cron": "* * * * *", "spread_seconds": 86_401}), "OUT_OF_RANGE", "/spread_seconds", None),
        (json!({"catch_up": "all"}), "INVALID_VALUE", "/catch_up", None),
    ] {
        assert_eq!(
            plan(fields.clone()),
            [(code, pointer.to_owned(), suggestion.map(str::to_owned))],
            "{fields}"
        );
    }
}

fn limits(limits: Json) -> Vec<(&'static str, String, Option<String>)> {
    let mut definition = step(json!({}));
    definition["rate_limits"] = limits;
    real(diagnostics(&definition))
}

#[test]
fn rate_limits_are_checked() {
    assert_eq!(
        limits(json!([
            {"name": "all", "requests": 100, "window_seconds": 60, "scope": "per_credential", "max_concurrent": 5, "endpoint": "/v1/.*",
             "cost": "if(page.number == `0`, `5`, config.cost)", "adaptive": true, "strict": true,
             "dynamic": {"remaining": "X-RateLimit-Remaining", "reset": {"expr": "response.body.reset"}, "limit": "x-limit"}},
            {"name": "lower", "requests": 10},
            {"name": "few", "max_concurrent": 1},
            {"name": "told", "dynamic": {}},
        ])),
        []
    );
    for (limit, code, field, suggestion) in [
        (json!({"requests": 5}), "REQUIRED", "", None),
        (json!({"name": "A", "max_concurrent": 1}), "INVALID_VALUE", "/name", None),
        (json!({"name": "a"}), "REQUIRED", "", None),
        (json!({"name": "a", "window_seconds": 5, "max_concurrent": 1}), "CONFLICT", "/window_seconds", None),
        (json!({"name": "a", "requests": 0, "window_seconds": 1}), "OUT_OF_RANGE", "/requests", None),
        (json!({"name": "a", "requests": 1, "window_seconds": 0}), "OUT_OF_RANGE", "/window_seconds", None),
        (
            json!({"name": "a", "requests": 1, "window_seconds": 2_678_401}),
            "OUT_OF_RANGE",
            "/window_seconds",
            None,
        ),
        (json!({"name": "a", "requests": 1, "max_concurrent": 1}), "CONFLICT", "/max_concurrent", None),
        (json!({"name": "a", "requests": 1, "scope": "global"}), "CONFLICT", "/scope", None),
        (json!({"name": "a", "max_concurrent": 1, "scope": "per_tenant"}), "INVALID_VALUE", "/scope", None),
        (json!({"name": "a", "max_concurrent": 0}), "OUT_OF_RANGE", "/max_concurrent", None),
        (json!({"name": "a", "max_concurrent": 1, "endpoint": "("}), "INVALID_VALUE", "/endpoint", None),
        (
            json!({"name": "a", "max_concurrent": 1, "cost": "response.body.cost"}),
            "UNKNOWN_NAME",
            "/cost",
            None,
        ),
        (json!({"name": "a", "max_concurrent": 1, "cost": 5}), "WRONG_TYPE", "/cost", Some("\"`5`\"")),
        (
            json!({"name": "a", "dynamic": {"remaining": "a b"}}),
            "INVALID_VALUE",
            "/dynamic/remaining",
            Some("{\"expr\": …} for an expression"),
        ),
        (json!({"name": "a", "dynamic": {"reset": 5}}), "WRONG_TYPE", "/dynamic/reset", None),
        (
            json!({"name": "a", "dynamic": {"reset": {"expr": "body.reset"}}}),
            "UNKNOWN_NAME",
            "/dynamic/reset/expr",
            Some("response.body"),
        ),
        (json!({"name": "a", "dynamic": {"reset": {}}}), "REQUIRED", "/dynamic/reset", None),
        (json!({"name": "a", "dynamic": {"rest": "a"}}), "UNKNOWN_FIELD", "/dynamic/rest", Some("reset")),
        (json!({"name": "a", "max_concurrent": 1, "burst": 5}), "UNKNOWN_FIELD", "/burst", None),
        (json!([]), "WRONG_TYPE", "", None),
    ] {
        let expected = (code, format!("/definition/rate_limits/0{field}"), suggestion.map(str::to_owned));
        assert_eq!(limits(json!([limit])), [expected], "{limit}");
    }
    let twice = limits(json!([{"name": "a", "max_concurrent": 1}, {"name": "a", "requests": 5}]));
    assert_eq!(twice, [("DUPLICATE", "/definition/rate_limits/1/name".to_owned(), None)]);
    let many = limits(json!(vec![json!({"name": "a"}); 51]));
    assert_eq!(many, [("OUT_OF_RANGE", "/definition/rate_limits".to_owned(), None)]);
}

//! Hostile documents, made to cost more than their size suggests. Each must quickly become a plan
//! or a list of diagnostics.

use super::*;

/// Returns a definition just below the server's limit of bytes, made of one repeated piece.
fn filled(piece: impl Fn(usize) -> (String, Json)) -> Json {
    let mut headers = serde_json::Map::new();
    let mut bytes = 0;
    for number in 0.. {
        let (name, value) = piece(number);
        bytes += name.len() + value.to_string().len() + 4;
        if bytes > 250_000 {
            break;
        }
        headers.insert(name, value);
    }
    step(json!({"headers": headers}))
}

#[test]
fn largest_definition_of_expressions_compiles() {
    let definition = filled(|number| (format!("x{number}"), json!(format!("{{{{ context.a{number} }}}}"))));
    let compiled = compile(&definition, &ServerLimits::default()).unwrap();
    assert!(compiled.reads.paths().count() > 5000);
    assert_eq!(compiled.warnings().len(), 100);
    let same = filled(|number| (format!("x{number}"), json!("{{response.body.a}}{{response.body}}")));
    assert_eq!(compile(&same, &ServerLimits::default()).unwrap().reads.paths().count(), 1);
}

#[test]
fn number_of_diagnostics_is_limited() {
    for definition in [
        filled(|number| (format!("x{number}"), json!("{{ nothing.here }}"))),
        filled(|number| (format!("bad name {number}"), json!("x"))),
        filled(|number| (format!("x{number}"), json!([]))),
        filled(|number| (format!("x{number}"), json!("{{"))),
    ] {
        assert_eq!(diagnostics(&definition).len(), 200);
    }
    let mut unknown = step(json!({}));
    (0..20_000).for_each(|number| unknown["step"][format!("f{number}")] = json!(1));
    assert_eq!(diagnostics(&unknown).len(), 200);
}

#[test]
fn too_large_definition_is_refused_before_it_is_read() {
    let diagnostics = diagnostics(&step(json!({"body": "{{ a }}".repeat(1_000_000)})));
    let [diagnostic] = diagnostics.as_slice() else { panic!("{diagnostics:#?}") };
    assert_eq!((diagnostic.code, diagnostic.pointer.as_str()), (DiagnosticCode::TooLarge, "/definition"));
}

#[test]
fn deepest_json_is_read() {
    let nested =
        |open: &str, close: &str, levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    for body in [nested("[", "]", 100), nested("{\"a\":", "}", 100)] {
        let text = format!(r#"{{"step":{{"url":"https://a.example.com","body":{body}}}}}"#);
        let definition: Json = serde_json::from_str(&text).unwrap();
        std::thread::Builder::new()
            .stack_size(1024 * 1024)
            .spawn(move || assert_eq!(diagnostics(&definition), []))
            .unwrap()
            .join()
            .unwrap();
    }
    let parents = "parent.".repeat(500);
    let deep = json!({"step": {"url": "https://a.example.com", "while": format!("response.{parents}a")}});
    assert!(!diagnostics(&deep).is_empty());
}

#[test]
fn long_names_and_texts_are_read_quickly() {
    let long = "x".repeat(100_000);
    for fields in [
        json!({"method": long}),
        json!({"id": long}),
        json!({"auth_flow": long}),
        json!({"response": {"format": long, "charset": long, "csv": {"delimiter": long}}}),
        json!({"window": {"from": "context.a", "step": "1d".repeat(50_000), "format": format!("%{long}")}}),
        json!({"cursor": {"value": "response.body.a", "type": "number", "start": "9".repeat(100_000)}}),
        json!({"paginate": {"type": long}}),
        json!({"while": long}),
        json!({"abort_on": [long]}),
    ] {
        let diagnostics = diagnostics(&step(fields));
        assert!(!diagnostics.is_empty());
        assert!(
            diagnostics.iter().all(|diagnostic| diagnostic.message.len() < 1000),
            "{}",
            diagnostics[0].code
        );
    }
}

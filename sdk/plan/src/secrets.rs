//! Finds expressions that would carry secrets of the config into messages, the context, cursors or
//! checkpoints: those that read a secret, and those that read a URL into which one was written.
//!
//! The schema of the config defines what is secret, so this check is separate from compiling.
//! `auth.token` and `auth.headers` are always secret, and compiling refuses them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compiled::ExprSite;
use crate::diagnostic::MAX_DIAGNOSTICS;
use crate::{
    Definition, Diagnostic, DiagnosticCode, Pagination, PaginationKind, ReadPaths, RequestTemplate, Step,
    StepAction,
};

impl Definition {
    /// Returns a diagnostic for each `extract`, `set_context`, `iterate_over`, `for_each`, `cursor`
    /// and `window` that reads one of these secrets, or the URL of a request that contains one.
    ///
    /// A secret is given by its path in the values of the config: `["token"]`,
    /// `["smtp", "password"]`. For a secret inside a list, it is the path of the list.
    ///
    /// Returns the first 200 diagnostics at most.
    #[must_use]
    pub fn secret_diagnostics(&self, secrets: &[Vec<String>]) -> Vec<Diagnostic> {
        let mut scope = SecretPaths::default();
        for secret in secrets {
            let path: Vec<&str> = ["config"].into_iter().chain(secret.iter().map(String::as_str)).collect();
            scope.put(&path, BTreeMap::from([(path.join("."), None)]));
        }
        let mut diagnostics = Vec::new();
        steps(&self.steps, &mut scope, &mut diagnostics);
        diagnostics
    }
}

/// The secrets that a path holds, each with the JSON pointer of the field that wrote it there;
/// `None` for the config itself.
type HeldSecrets = BTreeMap<String, Option<String>>;

/// The paths of a scope that hold secrets. Every step has a copy of the scope around it, so the
/// secrets of a path are shared.
#[derive(Clone, Default)]
struct SecretPaths(Vec<(Arc<[String]>, Arc<HeldSecrets>)>);

impl SecretPaths {
    fn put(&mut self, path: &[&str], secrets: HeldSecrets) {
        let path: Arc<[String]> = path.iter().map(|&name| name.to_owned()).collect();
        self.0.retain(|(known, _)| *known != path);
        if !secrets.is_empty() {
            self.0.push((path, Arc::new(secrets)));
        }
    }

    /// Returns the paths with secrets that an expression reads.
    fn read<'h>(&'h self, reads: &ReadPaths) -> impl Iterator<Item = (&'h [String], &'h HeldSecrets)> {
        self.0
            .iter()
            .filter(|(path, _)| reads.overlaps(path))
            .map(|(path, secrets)| (path.as_ref(), secrets.as_ref()))
    }

    /// Returns the secrets in the values of these expressions, each given with the JSON pointer of
    /// its field.
    fn written<'e>(&self, exprs: impl IntoIterator<Item = (&'e str, &'e ReadPaths)>) -> HeldSecrets {
        let mut written = HeldSecrets::new();
        for (pointer, reads) in exprs {
            for (name, from) in self.read(reads).flat_map(|(_, secrets)| secrets) {
                let from = from.clone().unwrap_or_else(|| pointer.to_owned());
                written.entry(name.clone()).or_insert(Some(from));
            }
        }
        written
    }

    /// Adds the diagnostics of an expression whose value is kept.
    fn diagnostics(&self, sited: &ExprSite<'_>, diagnostics: &mut Vec<Diagnostic>) {
        for (path, secrets) in self.read(sited.expr.reads()) {
            let place = path.join(".");
            for (name, from) in secrets {
                if diagnostics.len() >= MAX_DIAGNOSTICS {
                    return;
                }
                let diagnostic = |words| Diagnostic::new(DiagnosticCode::Secret, &sited.pointer, words);
                match from {
                    None => diagnostics.push(diagnostic(format!("reads {name}, which is a secret and must not be kept"))),
                    Some(from) => diagnostics.push(
                        diagnostic(format!(
                            "reads {place}, which contains {name} (written by {from}), a secret that must not be kept"
                        ))
                        .suggest(instead(&place, name)),
                    ),
                }
            }
        }
    }
}

/// Returns the correction for an expression that reads a path with a secret.
fn instead(place: &str, secret: &str) -> String {
    let (whole, _) = place.rsplit_once('.').unwrap_or((place, ""));
    format!("{secret} into a header instead of the url, or read another member of {whole}")
}

/// Checks steps in order, each with the earlier ones in scope. Returns the secrets in the URL of
/// the last one.
fn steps<'s>(
    list: impl IntoIterator<Item = &'s Arc<Step>>,
    scope: &mut SecretPaths,
    diagnostics: &mut Vec<Diagnostic>,
) -> HeldSecrets {
    let mut last = HeldSecrets::new();
    for step in list {
        last = visit(step, scope, diagnostics);
        scope.put(&["steps", &step.id, "url"], last.clone());
    }
    last
}

/// Checks a step and those below it. Returns the secrets in the URL of its response.
fn visit(step: &Step, around: &SecretPaths, diagnostics: &mut Vec<Diagnostic>) -> HeldSecrets {
    match &step.action {
        StepAction::Request(request) => {
            let mut within = around.clone();
            let url = request_url(request, step.paginate.as_ref(), &mut within);
            kept(step, &within, diagnostics);
            let mut below = around.clone();
            below.put(&["parent", "url"], url.clone());
            steps(&step.sub_steps, &mut below, diagnostics);
            url
        }
        StepAction::Job(job) => {
            kept(step, around, diagnostics);
            let mut inside = around.clone();
            steps([&job.submit, &job.poll], &mut inside, diagnostics);
            let answer = steps(&job.download, &mut inside.clone(), diagnostics);
            steps(&job.cancel, &mut inside, diagnostics);
            answer
        }
    }
}

fn kept(step: &Step, scope: &SecretPaths, diagnostics: &mut Vec<Diagnostic>) {
    for sited in step.exprs().into_iter().filter(|sited| sited.kept) {
        scope.diagnostics(&sited, diagnostics);
    }
}

/// Adds the URLs that a step's pages see to the scope around it. A secret in the URL of one page,
/// or in the request for the next one, may be in the URL of any later page.
fn request_url(
    request: &RequestTemplate,
    paginate: Option<&Pagination>,
    scope: &mut SecretPaths,
) -> HeldSecrets {
    let templates = request.url_templates();
    let templates =
        templates.iter().flat_map(|template| template.exprs().map(|expr| (template.pointer(), expr.reads())));
    let next = paginate.and_then(|paginate| match &paginate.kind {
        PaginationKind::Cursor { value, .. } | PaginationKind::NextUrl { value } => {
            Some((format!("{}/value", paginate.pointer), value.reads()))
        }
        PaginationKind::Page { .. } | PaginationKind::Offset { .. } | PaginationKind::LinkHeader => None,
    });
    let next = || next.iter().map(|(pointer, reads)| (pointer.as_str(), *reads));
    let url = scope.written(templates.chain(next()));
    scope.put(&["response", "url"], url.clone());
    scope.put(&["prev", "url"], url.clone());
    match paginate.map(|paginate| &paginate.kind) {
        Some(PaginationKind::Cursor { .. }) => {
            let pointer = scope.written(next());
            scope.put(&["page", "cursor"], pointer);
        }
        // A relative URL keeps the beginning of the one before it.
        Some(PaginationKind::NextUrl { .. } | PaginationKind::LinkHeader) => {
            scope.put(&["page", "url"], url.clone())
        }
        Some(PaginationKind::Page { .. } | PaginationKind::Offset { .. }) | None => {}
    }
    url
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Diagnostic, DiagnosticCode, ServerLimits, compile};

    #[test]
    fn secrets_may_be_sent_but_not_kept() {
        let url = "https://api.example.com/{{ config.token }}";
        let definition = json!({"steps": [
            {
                "url": url,
                "headers": {"authorization": "{{ config.token }}"},
                "while": "config.token",
                "set_context": {"a": "config.smtp", "b": "config.region"},
                "extract": {"a/b": "config", "c": "response.body.token"},
                "iterate_over": "response.body.rows[?key == root().config.token]",
                "for_each": "[config.token]",
                "window": {"from": "config.token", "to": "config.smtp.password", "step": "1d"},
                "cursor": {"value": "config.token", "type": "text", "start": "{{ config.token }}", "per_item": "config.token"},
                "sub_steps": [{"url": url, "extract": {"x": "config.token"}}],
            },
            {"async_job": {
                "submit": {"url": url, "set_context": {"x": "config.token"}}, "poll": {"url": url}, "done_when": "config.token",
                "download": [{"url": url, "extract": {"x": "config.token"}}],
            }},
        ]});
        let definition = compile(&definition, &ServerLimits::default())
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let secrets = [vec!["token".to_owned()], vec!["smtp".to_owned(), "password".to_owned()]];
        let diagnostics = definition.secret_diagnostics(&secrets);
        assert!(diagnostics.iter().all(|diagnostic| diagnostic.code == DiagnosticCode::Secret));
        let found: Vec<_> = diagnostics
            .iter()
            .map(|diagnostic| diagnostic.pointer.trim_start_matches("/definition/steps/"))
            .collect();
        assert_eq!(
            found,
            [
                "0/window/from",
                "0/window/to",
                "0/cursor/value",
                "0/cursor/per_item",
                "0/cursor/start",
                "0/for_each",
                "0/set_context/a",
                "0/extract/a~1b",
                "0/extract/a~1b",
                "0/iterate_over",
                "0/sub_steps/0/extract/x",
                "1/async_job/submit/set_context/x",
                "1/async_job/download/0/extract/x",
            ]
        );
        assert_eq!(definition.secret_diagnostics(&[]), []);
    }

    /// Pointers below the definition, and words, of what would keep `config.token`.
    fn faults_of(definition: &serde_json::Value) -> Vec<(String, String)> {
        let definition = compile(definition, &ServerLimits::default())
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let diagnostics = definition.secret_diagnostics(&[vec!["token".to_owned()]]);
        let short =
            |diagnostic: Diagnostic| (diagnostic.pointer.replace("/definition/", ""), diagnostic.message);
        diagnostics.into_iter().map(short).collect()
    }

    fn places(definition: &serde_json::Value) -> Vec<String> {
        faults_of(definition).into_iter().map(|(pointer, _)| pointer).collect()
    }

    const SECRET: &str = "https://api.example.com/?key={{ config.token }}";
    const CLEAR: &str = "https://api.example.com/";

    #[test]
    fn url_with_a_secret_is_not_kept() {
        let definition = json!({"step": {"url": SECRET, "extract": {"url": "response.url"}}});
        let definition = compile(&definition, &ServerLimits::default()).unwrap();
        let diagnostics = definition.secret_diagnostics(&[vec!["token".to_owned()]]);
        let [diagnostic] = diagnostics.as_slice() else { panic!("{diagnostics:?}") };
        assert_eq!(
            diagnostic.to_string(),
            "/definition/step/extract/url: reads response.url, which contains config.token (written by \
             /definition/step/url), a secret that must not be kept (SECRET); write config.token into a header instead of the \
             url, or read another member of response"
        );
    }

    #[test]
    fn reading_a_url_reads_the_secret_in_it() {
        let fields = json!({
            "set_context": {"a": "prev.url", "b": "response"},
            "extract": {"c": "query_param(response.url, 'page')", "d": "response.{u: url, b: body}", "e": "response.body", "f": "page"},
            "iterate_over": "response.body.rows[?link != root().response.url]",
            "cursor": {"value": "response.url", "type": "text"},
            "while": "response.url",
            "headers": {"referer": "{{ prev.url }}"},
        });
        let found =
            ["cursor/value", "set_context/a", "set_context/b", "extract/c", "extract/d", "iterate_over"];
        for request in [
            json!({"url": SECRET}),
            json!({"url": CLEAR, "params": {"key": "{{ config.token }}"}}),
            json!({"url": CLEAR, "params": {"key": ["a", "x {{ config.token }}"]}}),
            json!({"url": "{{ config.token }}"}),
        ] {
            let mut step = fields.clone();
            step.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
            assert_eq!(
                places(&json!({"step": step})),
                found.map(|place| format!("step/{place}")),
                "{request}"
            );
        }
        let mut sent_apart = fields;
        sent_apart["url"] = json!(CLEAR);
        sent_apart["body"] = json!({"key": "{{ config.token }}"});
        sent_apart["method"] = json!("POST");
        assert_eq!(faults_of(&json!({"step": sent_apart})), []);
    }

    #[test]
    fn secret_follows_from_url_to_url() {
        let definition = json!({"steps": [
            {"id": "first", "url": SECRET, "iterate_over": "response.body.rows", "sub_steps": [
                {"id": "below", "url": CLEAR, "extract": {"a": "parent.url", "b": "parent.body", "c": "response.url"}, "for_each": "[parent]", "sub_steps": [
                    {"url": CLEAR, "extract": {"a": "parent.url"}},
                ]},
                {"url": "{{ parent.url }}&x=1", "extract": {"a": "response.url", "b": "steps.below.url"}},
            ]},
            {"id": "second", "url": CLEAR, "params": {"from": "{{ steps.first.url }}"}, "window": {"from": "steps.first.url", "step": "1d"}},
            {"url": CLEAR, "extract": {"a": "steps.second", "b": "steps.first.body", "c": "steps.*.body"}},
        ]});
        assert_eq!(
            faults_of(&definition).iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>(),
            [
                "steps/0/sub_steps/0/for_each",
                "steps/0/sub_steps/0/extract/a",
                "steps/0/sub_steps/1/extract/a",
                "steps/1/window/from",
                "steps/2/extract/a",
                "steps/2/extract/c",
                "steps/2/extract/c",
            ]
        );
        let words = faults_of(&definition).into_iter().map(|(_, words)| words);
        assert!(
            words.clone().all(|words| words.contains("(written by /definition/steps/0/url)")),
            "{words:?}",
            words = words.collect::<Vec<_>>()
        );
    }

    #[test]
    fn secret_of_the_next_request_is_in_the_next_url() {
        let rows = "response.body.rows";
        for (url, paginate, found) in [
            (SECRET, json!({"type": "next_url", "value": "response.body.next"}), &["page", "response"][..]),
            (SECRET, json!({"type": "link_header"}), &["page", "response"]),
            (SECRET, json!({"type": "page", "param": "page"}), &["response"]),
            (SECRET, json!({"type": "cursor", "param": "at", "value": "response.body.next"}), &["response"]),
            (CLEAR, json!({"type": "next_url", "value": "response.body.next"}), &[]),
            (
                CLEAR,
                json!({"type": "next_url", "value": "join('', ['/?key=', config.token])"}),
                &["page", "response"],
            ),
            (CLEAR, json!({"type": "cursor", "param": "at", "value": "config.token"}), &["page", "response"]),
            (
                SECRET,
                json!({"type": "cursor", "param": "at", "value": "response.url"}),
                &["page", "response"],
            ),
        ] {
            let extract = json!({"page": "[page.url, page.cursor]", "response": "response.url"});
            let step = json!({"url": url, "paginate": paginate, "iterate_over": rows, "extract": extract});
            let found: Vec<_> = found.iter().map(|name| format!("step/extract/{name}")).collect();
            assert_eq!(places(&json!({"step": step})), found, "{url} {paginate}");
        }
    }

    #[test]
    fn steps_of_a_job_see_each_others_urls() {
        let definition = json!({"steps": [
            {"id": "job", "async_job": {
                "submit": {"url": SECRET},
                "poll": {"url": CLEAR, "set_context": {"a": "steps.submit.url", "b": "response.url"}},
                "done_when": "response.url",
                "download": [
                    {"id": "one", "url": "{{ steps.submit.url }}", "extract": {"a": "steps.poll.url"}},
                    {"url": CLEAR, "extract": {"a": "steps.one.url"}},
                ],
            }},
            {"url": CLEAR, "extract": {"a": "steps.job.url"}},
        ]});
        assert_eq!(
            places(&definition),
            ["steps/0/async_job/poll/set_context/a", "steps/0/async_job/download/1/extract/a"]
        );
    }
}

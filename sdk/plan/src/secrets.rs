//! Which expressions would carry secrets of the config into messages, context or checkpoints. What is secret is known by
//! the config's schema, so this is asked apart from compiling. (That `auth.token` and `auth.headers` are secret is known
//! without it, and refused there.)

use crate::{Definition, Fault, FaultCode, Reads, Step};

impl Definition {
    /// A fault for each `extract`, `set_context`, `iterate_over`, `for_each`, `cursor` or `window` that reads one of these
    /// secret values. A secret is the path of its members below the config's values: `["token"]`, `["smtp", "password"]`;
    /// inside a list it is the list's path.
    #[must_use]
    pub fn keeping_secrets(&self, secrets: &[Vec<String>]) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.steps.iter().for_each(|step| visit(step, secrets, &mut faults));
        faults
    }
}

fn visit(step: &Step, secrets: &[Vec<String>], faults: &mut Vec<Fault>) {
    for sited in step.exprs().into_iter().filter(|sited| sited.kept) {
        check(sited.expr.reads(), &sited.pointer, secrets, faults);
    }
    step.below().for_each(|step| visit(step, secrets, faults));
}

fn check(reads: &Reads, pointer: &str, secrets: &[Vec<String>], faults: &mut Vec<Fault>) {
    for secret in secrets {
        let path: Vec<&str> = ["config"].into_iter().chain(secret.iter().map(String::as_str)).collect();
        if reads.touches(&path) {
            let words = format!("reads {}, which is secret and may not be kept", path.join("."));
            faults.push(Fault::new(FaultCode::Secret, pointer, words));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{FaultCode, ServerLimits, compile};

    #[test]
    fn secrets_may_be_sent_and_not_kept() {
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
        let definition =
            compile(&definition, &ServerLimits::default()).unwrap_or_else(|faults| panic!("{faults}"));
        let secrets = [vec!["token".to_owned()], vec!["smtp".to_owned(), "password".to_owned()]];
        let faults = definition.keeping_secrets(&secrets);
        assert!(faults.iter().all(|fault| fault.code == FaultCode::Secret));
        let found: Vec<_> =
            faults.iter().map(|fault| fault.pointer.trim_start_matches("/definition/steps/")).collect();
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
        assert_eq!(definition.keeping_secrets(&[]), []);
    }
}

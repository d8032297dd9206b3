//! Which expressions would carry secrets of the config into messages, context or checkpoints. What is secret is known by
//! the config's schema, so this is asked apart from compiling.

use crate::fault::token;
use crate::{Definition, Fault, FaultCode, Reads, Step};

impl Definition {
    /// A fault for each `extract`, `set_context` or `iterate_over` that reads one of these secret values. A secret is the path
    /// of its members below the config's values: `["token"]`, `["smtp", "password"]`; inside a list it is the list's path.
    #[must_use]
    pub fn keeping_secrets(&self, secrets: &[Vec<String>]) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.steps.iter().for_each(|step| visit(step, secrets, &mut faults));
        faults
    }
}

fn visit(step: &Step, secrets: &[Vec<String>], faults: &mut Vec<Fault>) {
    for (field, exprs) in [("set_context", &step.set_context), ("extract", &step.extract)] {
        for (name, expr) in exprs {
            check(expr.reads(), || format!("{}/{field}/{}", step.pointer, token(name)), secrets, faults);
        }
    }
    if let Some(rows) = &step.rows {
        check(rows.expr.reads(), || format!("{}/iterate_over", step.pointer), secrets, faults);
    }
    step.sub_steps.iter().for_each(|step| visit(step, secrets, faults));
}

fn check(reads: &Reads, pointer: impl Fn() -> String, secrets: &[Vec<String>], faults: &mut Vec<Fault>) {
    for secret in secrets {
        let path: Vec<&str> = ["config"].into_iter().chain(secret.iter().map(String::as_str)).collect();
        if reads.touches(&path) {
            let words = format!("reads {}, which is secret and may not be kept", path.join("."));
            faults.push(Fault::new(FaultCode::Secret, pointer(), words));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{FaultCode, ServerLimits, compile};

    #[test]
    fn secrets_may_be_sent_and_not_kept() {
        let definition = json!({"step": {
            "url": "https://api.example.com/{{ config.token }}",
            "headers": {"authorization": "{{ config.token }}"},
            "set_context": {"a": "config.smtp", "b": "config.region"},
            "extract": {"a/b": "root()", "c": "response.body.token"},
            "iterate_over": "response.body.rows[?key == root().config.token]",
        }});
        let definition = compile(&definition, &ServerLimits::default()).unwrap();
        let secrets = [vec!["token".to_owned()], vec!["smtp".to_owned(), "password".to_owned()]];
        let faults = definition.keeping_secrets(&secrets);
        let found: Vec<_> = faults.iter().map(|fault| (fault.code, fault.pointer.as_str())).collect();
        assert_eq!(
            found,
            [
                (FaultCode::Secret, "/definition/step/set_context/a"),
                (FaultCode::Secret, "/definition/step/extract/a~1b"),
                (FaultCode::Secret, "/definition/step/extract/a~1b"),
                (FaultCode::Secret, "/definition/step/iterate_over"),
            ]
        );
        assert_eq!(definition.keeping_secrets(&[]), []);
    }
}

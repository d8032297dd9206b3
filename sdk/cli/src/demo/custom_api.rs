//! Polls the user's API: sends one request, guesses a plan from the response and runs that plan.

use orchid_sdk::json::to_struct;
use orchid_sdk::v1::{Config, Execution, ExecutionState, Integration, Plan};
use serde_json::{Map, Value, json};

use super::check::{self, ReceivedMessages};
use super::guess::ApiGuess;
use super::run::DemoRunner;
use super::{diagnosis, show};
use crate::commands::apply::put_all;
use crate::exit::{ExitReason, UsageError};
use crate::files::document::Document;

/// The key of the integration and of the plan.
pub(super) const PLAN: &str = "your-api";
/// The key of the plan that sends the first request.
const PROBE_PLAN: &str = "your-api-first-look";
const CONFIG: &str = "yours";
/// The bound on the pages of a demo, out of politeness towards the API.
pub(super) const MAX_PAGES: i64 = 100;
const MAX_SECONDS: i64 = 60;

/// The API that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CustomApi {
    url: String,
    /// Names and values; the values become secrets of the config.
    headers: Vec<(String, String)>,
}

impl CustomApi {
    /// Parses the URL and the headers of the command line.
    ///
    /// # Errors
    /// When the URL is not an HTTP URL or a header has no name or value.
    pub(super) fn parse(url: &str, headers: &[String]) -> Result<Self, UsageError> {
        if !["http://", "https://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
            return Err(UsageError(format!("`{url}` is not an http or https URL")));
        }
        let headers = headers.iter().map(|header| match header.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            // The header may hold a secret, so the message does not repeat it.
            _ => Err(UsageError("a header must have the form `Name: value`".to_owned())),
        });
        Ok(Self { url: url.to_owned(), headers: headers.collect::<Result<_, _>>()? })
    }

    /// Returns the integration and the config of the API.
    fn base_documents(&self) -> [Document; 2] {
        let mut properties = Map::from_iter([("url".to_owned(), json!({"type": "string"}))]);
        let mut values = Map::from_iter([("url".to_owned(), json!(self.url))]);
        for (number, (_, value)) in self.headers.iter().enumerate() {
            properties.insert(header_field(number), json!({"type": "string", "writeOnly": true}));
            values.insert(header_field(number), json!(value));
        }
        let integration = Integration {
            key: PLAN.to_owned(),
            display_name: "Your API".to_owned(),
            ..Integration::default()
        };
        let config = Config {
            integration: PLAN.to_owned(),
            key: CONFIG.to_owned(),
            values: to_struct(&Value::Object(values)).ok(),
            ..Config::default()
        };
        let config_schema = Some(json!({"type": "object", "properties": properties}));
        [Document::Integration { integration, config_schema }, Document::Config(config)]
    }

    fn step(&self, id: &str) -> Value {
        let mut step = json!({"id": id, "url": "{{ config.url }}"});
        let header = |(number, (name, _)): (usize, &(String, String))| {
            (name.clone(), json!(format!("{{{{ config.{} }}}}", header_field(number))))
        };
        if !self.headers.is_empty() {
            step["headers"] = Value::Object(self.headers.iter().enumerate().map(header).collect());
        }
        step
    }

    /// Returns the definition of a plan that sends one request.
    fn probe_definition(&self) -> Value {
        let mut step = self.step("answer");
        step["retry"] = json!({"max_retries": 1, "initial_delay_ms": 500});
        json!({ "step": step })
    }

    /// Returns the definition of a plan that reads all rows; `None` if the response has no rows.
    fn full_definition(&self, guess: &ApiGuess) -> Option<Value> {
        let mut step = self.step("rows");
        for (name, value) in guess.fields()?.as_object()? {
            step[name] = value.clone();
        }
        Some(json!({
            "step": step, "max_loops": MAX_PAGES, "max_execution_seconds": MAX_SECONDS, "on_limit": "continue",
        }))
    }
}

/// Returns the config field that holds the value of a header.
fn header_field(number: usize) -> String {
    format!("header_{}", number + 1)
}

fn plan(key: &str, name: &str, definition: &Value) -> Document {
    Document::Plan(Plan {
        key: key.to_owned(),
        integration: PLAN.to_owned(),
        name: name.to_owned(),
        definition: to_struct(definition).ok(),
        ..Plan::default()
    })
}

/// Sends one request, guesses a plan, runs it and shows each of these steps.
///
/// # Errors
/// When the control plane or Kafka fails; a failure of the API itself is shown instead.
pub(super) async fn poll(runner: &mut DemoRunner<'_>, api: &CustomApi) -> anyhow::Result<ExitReason> {
    let console = runner.console;
    put_all(runner.client, &api.base_documents()).await?;
    put_all(runner.client, &[plan(PROBE_PLAN, "One request", &api.probe_definition())]).await?;
    let (execution, received) = runner.run_quietly(PROBE_PLAN, CONFIG).await?;
    if let Some(reason) = diagnosis::diagnose_probe(&api.url, &execution, &received) {
        console.notice(show::failure(&reason, console));
        return Ok(ExitReason::Failed);
    }
    let Some(first) = received.messages().next() else {
        console.notice(show::failure("the request succeeded, but no message arrived", console));
        return Ok(ExitReason::Failed);
    };
    let guess = ApiGuess::from_message(first);
    console.print(show::probe_result(&api.url, first, &guess, console));
    let Some(definition) = api.full_definition(&guess) else {
        return Ok(report_result(api, &execution, &received, runner));
    };
    console.print(show::guessed_plan(&definition, console));
    put_all(runner.client, &[plan(PLAN, "All rows", &definition)]).await?;
    let (execution, received) = runner.run(PLAN, CONFIG, None).await?;
    Ok(report_result(api, &execution, &received, runner))
}

/// Shows an execution, its messages and whether all of them arrived.
fn report_result(
    api: &CustomApi,
    execution: &Execution,
    received: &ReceivedMessages,
    runner: &DemoRunner<'_>,
) -> ExitReason {
    let console = runner.console;
    console.print(show::summary(execution, console));
    console.print(show::messages(received, false, console));
    let result = check::check_counts(execution, received).and_then(|summary| match execution.state() {
        ExecutionState::Succeeded => Ok(summary),
        _ => Err(diagnosis::describe_failure(&api.url, execution, received)),
    });
    match result {
        Ok(summary) => {
            console.line(show::success(&summary, console));
            if execution.partial {
                console.notice(format!(
                    "there are more rows: the demo stops after {MAX_PAGES} pages or {MAX_SECONDS} s"
                ));
            }
            ExitReason::Done
        }
        Err(reason) => {
            console.notice(show::failure(&reason, console));
            ExitReason::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::guess::NextPage;

    fn api() -> CustomApi {
        CustomApi::parse("https://example.com/x?a=1&b={{", &["Authorization: Bearer a:b".to_owned()]).unwrap()
    }

    #[test]
    fn invalid_url_is_refused() {
        for url in ["api.example.com", "ftp://a.test/", "https://", ""] {
            let error = CustomApi::parse(url, &[]).unwrap_err();
            assert_eq!(error.to_string(), format!("`{url}` is not an http or https URL"));
        }
    }

    #[test]
    fn invalid_header_is_refused_without_repeating_it() {
        for header in ["hunter-2", ": hunter-2", "hunter-2:"] {
            let error = CustomApi::parse("http://a.test", &[header.to_owned()]).unwrap_err();
            assert_eq!(error.to_string(), "a header must have the form `Name: value`");
        }
    }

    #[test]
    fn header_values_become_config_secrets() {
        let [integration, config] = api().base_documents();
        let Document::Integration { config_schema: Some(schema), .. } = integration else {
            panic!("no schema")
        };
        assert_eq!(schema["properties"]["header_1"]["writeOnly"], true);
        let Document::Config(config) = config else { panic!("no config") };
        let values = orchid_sdk::json::from_struct(&config.values.unwrap()).unwrap();
        assert_eq!(values["header_1"], "Bearer a:b");
        assert_eq!(
            api().probe_definition()["step"]["headers"],
            json!({"Authorization": "{{ config.header_1 }}"})
        );
    }

    #[test]
    fn every_guess_compiles_to_a_plan() {
        let rows = Some(("response.body.\"the-rows\"".to_owned(), 1));
        let next =
            [None, Some(NextPage::LinkHeader), Some(NextPage::BodyUrl("response.body.next".to_owned()))];
        for (next, mislabelled) in next.into_iter().zip([false, true, false]) {
            let guess = ApiGuess { rows: rows.clone(), next, pointer: None, mislabelled };
            let definition = api().full_definition(&guess).unwrap();
            orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap();
        }
        orchid_plan::compile(&api().probe_definition(), &orchid_plan::ServerLimits::default()).unwrap();
    }
}

//! Polling an API of the user's own: it is asked once, a plan is guessed from what it answers, and that plan is run.

use orchid_sdk::{
    json::to_struct,
    v1::{Config, Execution, ExecutionState, Integration, Plan},
};
use serde_json::{Map, Value, json};

use super::{
    check::{self, Arrived},
    guess::Guess,
    run::Runs,
    show, trouble,
};
use crate::{
    commands::apply::put_all,
    exit::{Exit, UsageError},
    files::document::Document,
};

/// The key of integration and plan.
pub(super) const PLAN: &str = "your-api";
const LOOK: &str = "your-api-first-look";
const CONFIG: &str = "yours";
/// The server may have more: a demo is polite.
pub(super) const MAX_PAGES: i64 = 100;
const MAX_SECONDS: i64 = 60;

/// An API of the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Api {
    url: String,
    /// Names and values; the values are kept as secrets.
    headers: Vec<(String, String)>,
}

impl Api {
    /// From what was typed.
    pub(super) fn parse(url: &str, headers: &[String]) -> Result<Self, UsageError> {
        if !["http://", "https://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
            return Err(UsageError(format!("`{url}` is no http or https url")));
        }
        let headers = headers.iter().map(|header| match header.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            // What was typed may hold a secret: it is not repeated.
            _ => Err(UsageError("a header is written `Name: value`".to_owned())),
        });
        Ok(Self { url: url.to_owned(), headers: headers.collect::<Result<_, _>>()? })
    }

    /// Its integration and config.
    fn foundation(&self) -> [Document; 2] {
        let mut properties = Map::from_iter([("url".to_owned(), json!({"type": "string"}))]);
        let mut values = Map::from_iter([("url".to_owned(), json!(self.url))]);
        for (number, (_, value)) in self.headers.iter().enumerate() {
            properties.insert(field(number), json!({"type": "string", "writeOnly": true}));
            values.insert(field(number), json!(value));
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
            (name.clone(), json!(format!("{{{{ config.{} }}}}", field(number))))
        };
        if !self.headers.is_empty() {
            step["headers"] = Value::Object(self.headers.iter().enumerate().map(header).collect());
        }
        step
    }

    /// One request.
    fn look(&self) -> Value {
        let mut step = self.step("answer");
        step["retry"] = json!({"max_retries": 1, "initial_delay_ms": 500});
        json!({ "step": step })
    }

    /// All rows, page by page; `None` where the answer has no rows.
    fn whole(&self, guess: &Guess) -> Option<Value> {
        let mut step = self.step("rows");
        for (name, value) in guess.fields()?.as_object()? {
            step[name] = value.clone();
        }
        let (loops, seconds) = (MAX_PAGES, MAX_SECONDS);
        Some(json!({
            "step": step, "max_loops": loops, "max_execution_seconds": seconds, "on_limit": "continue",
        }))
    }
}

/// The config's field for a header.
fn field(number: usize) -> String {
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

/// Asks once, guesses, polls, and shows all of it.
pub(super) async fn poll(runs: &mut Runs<'_>, api: &Api) -> anyhow::Result<Exit> {
    let console = runs.console;
    put_all(runs.client, &api.foundation()).await?;
    put_all(runs.client, &[plan(LOOK, "One request", &api.look())]).await?;
    let (execution, arrived) = runs.run_quietly(LOOK, CONFIG).await?;
    if let Some(trouble) = trouble::of(&api.url, &execution, &arrived) {
        console.notice(show::failure(&trouble, console));
        return Ok(Exit::Failed);
    }
    let Some(first) = arrived.messages().next() else {
        console.notice(show::failure("the request succeeded, and no message came", console));
        return Ok(Exit::Failed);
    };
    let guess = Guess::of(first);
    console.print(show::looked(&api.url, first, &guess, console));
    let Some(definition) = api.whole(&guess) else {
        return Ok(tell(api, &execution, &arrived, runs));
    };
    console.print(show::guessed(&definition, console));
    put_all(runs.client, &[plan(PLAN, "All rows", &definition)]).await?;
    let (execution, arrived) = runs.run(PLAN, CONFIG, None).await?;
    Ok(tell(api, &execution, &arrived, runs))
}

/// Shows a run, its messages, and whether everything came.
fn tell(api: &Api, execution: &Execution, arrived: &Arrived, runs: &Runs<'_>) -> Exit {
    let console = runs.console;
    console.print(show::summary(execution, console));
    console.print(show::messages(arrived, false, console));
    let verdict = check::all_came(execution, arrived).and_then(|words| match execution.state() {
        ExecutionState::Succeeded => Ok(words),
        _ => Err(trouble::words(&api.url, execution, arrived)),
    });
    match verdict {
        Ok(words) => {
            console.line(show::success(&words, console));
            if execution.partial {
                console.notice(format!(
                    "there is more: the demo stops after {MAX_PAGES} pages or {MAX_SECONDS} s"
                ));
            }
            Exit::Done
        }
        Err(reason) => {
            console.notice(show::failure(&reason, console));
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::guess::Next;

    fn api() -> Api {
        Api::parse("https://example.com/x?a=1&b={{", &["Authorization: Bearer a:b".to_owned()]).unwrap()
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["api.example.com", "ftp://a.test/", "https://", ""] {
            let error = Api::parse(url, &[]).unwrap_err();
            assert_eq!(error.to_string(), format!("`{url}` is no http or https url"));
        }
    }

    #[test]
    fn what_is_no_header_is_refused_and_not_repeated() {
        for header in ["hunter-2", ": hunter-2", "hunter-2:"] {
            let error = Api::parse("http://a.test", &[header.to_owned()]).unwrap_err();
            assert_eq!(error.to_string(), "a header is written `Name: value`");
        }
    }

    #[test]
    fn header_values_are_secrets_of_the_config_and_stand_in_no_plan() {
        let [integration, config] = api().foundation();
        let Document::Integration { config_schema: Some(schema), .. } = integration else {
            panic!("no schema")
        };
        assert_eq!(schema["properties"]["header_1"]["writeOnly"], true);
        let Document::Config(config) = config else { panic!("no config") };
        let values = orchid_sdk::json::from_struct(&config.values.unwrap()).unwrap();
        assert_eq!(values["header_1"], "Bearer a:b");
        assert_eq!(api().look()["step"]["headers"], json!({"Authorization": "{{ config.header_1 }}"}));
    }

    #[test]
    fn every_guess_makes_a_valid_plan() {
        let rows = Some(("response.body.\"the-rows\"".to_owned(), 1));
        let next = [None, Some(Next::Link), Some(Next::Url("response.body.next".to_owned()))];
        for (next, mislabelled) in next.into_iter().zip([false, true, false]) {
            let guess = Guess { rows: rows.clone(), next, pointer: None, mislabelled };
            let definition = api().whole(&guess).unwrap();
            orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap();
        }
        orchid_plan::compile(&api().look(), &orchid_plan::ServerLimits::default()).unwrap();
    }
}

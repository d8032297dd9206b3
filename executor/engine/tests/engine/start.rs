//! Attempts that cannot start, and executions that are stopped before they begin.

use bytes::Bytes;
use orchid_engine::{
    EndStatus, ExecutionEnd, ExecutionFinish, Input, Machine, Output, Progress, SavedCheckpoint, StartError,
    StopReason,
};
use serde_json::json;

use crate::support::{EXECUTION, TestClock, TestSetup};

fn setup(id: &str) -> TestSetup {
    let definition = json!({"step": {"id": id, "url": "https://api.example.com/orders"}});
    TestSetup::new(orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap())
}

fn resumed(setup: &TestSetup, state: &str, finished: Option<&'static str>) -> Result<Machine, StartError> {
    let saved = SavedCheckpoint {
        resume_state: Bytes::copy_from_slice(state.as_bytes()),
        finished_steps: finished.map(|json| Bytes::from_static(json.as_bytes())),
        progress: Progress::default(),
    };
    Machine::new(setup.job(2, EXECUTION, Some(saved)))
}

/// Returns the resume state of an execution that is drained at its first request.
fn state(setup: &TestSetup) -> String {
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let now = TestClock { elapsed: std::time::Duration::ZERO }.now();
    machine.step(now, Input::Begin);
    machine.step(now, Input::Stop(StopReason::Drain));
    String::from_utf8(machine.checkpoint().unwrap().resume_state.to_vec()).unwrap()
}

#[test]
fn unreadable_checkpoint_is_refused() {
    let setup = setup("orders");
    let good = state(&setup);
    assert!(resumed(&setup, &good, None).is_ok());
    let bad = [
        "".to_owned(),
        "{}".to_owned(),
        good.replace("\"version\":2", "\"version\":9"),
        good.replace("\"index\":0", "\"index\":5"),
        good.replace("\"asked\"", "\"guard\":\"?\",\"asked\""),
        good.replace("\"home\":\"https", "\"home\":\"://"),
    ];
    for state in bad {
        assert!(matches!(resumed(&setup, &state, None), Err(StartError::Checkpoint(_))), "{state}");
    }
    assert!(matches!(resumed(&setup, &good, Some("[")), Err(StartError::Checkpoint(_))));
}

#[test]
fn checkpoint_of_another_plan_is_refused() {
    let good = state(&setup("orders"));
    assert!(matches!(resumed(&setup("invoices"), &good, None), Err(StartError::Checkpoint(_))));
}

/// The config may have lost hosts since the checkpoint was saved.
#[test]
fn next_url_from_a_checkpoint_is_checked_against_allowed_hosts() {
    let paginate = json!({"type": "next_url", "value": "response.body.next"});
    let definition = json!({"step": {"url": "https://api.example.com/orders", "paginate": paginate}});
    let setup =
        TestSetup::new(orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap());
    let at = |url: &str| {
        let pointer = format!("\"pointer\":{{\"url\":\"{url}\"}}");
        state(&setup).replace("\"pointer\":\"start\"", &pointer)
    };
    let now = TestClock { elapsed: std::time::Duration::ZERO }.now();
    for url in ["https://evil.example.net/x", "http://api.example.com/orders"] {
        let outputs = resumed(&setup, &at(url), None).unwrap().step(now, Input::Begin);
        let Some(Output::Finished(ExecutionFinish::Ended(ending))) = outputs.last() else {
            panic!("{outputs:?}")
        };
        assert_eq!(ending.error.as_ref().unwrap().code, "HOST_NOT_ALLOWED", "{url}");
    }
    let outputs = resumed(&setup, &at("https://api.example.com/more"), None).unwrap().step(now, Input::Begin);
    assert!(matches!(outputs.last(), Some(Output::Fetch { .. })), "{outputs:?}");
}

#[test]
fn invalid_config_or_context_is_refused() {
    let mut bad_config = setup("orders");
    bad_config.config = json!([]);
    assert!(matches!(Machine::new(bad_config.job(1, EXECUTION, None)), Err(StartError::Config(_))));
    let mut bad_context = setup("orders");
    bad_context.context.insert("seen".to_owned(), Bytes::from_static(b"{"));
    assert!(
        matches!(Machine::new(bad_context.job(1, EXECUTION, None)), Err(StartError::Context { name, .. }) if name == "seen")
    );
}

/// Returns timeout (seconds) and body limit (bytes) of the first request of a step with these
/// fields.
fn bounds(fields: serde_json::Value) -> (u64, u64) {
    let mut step = json!({"url": "https://api.example.com/orders"});
    fields.as_object().unwrap().iter().for_each(|(name, value)| step[name] = value.clone());
    let definition = json!({"step": step});
    let setup =
        TestSetup::new(orchid_plan::compile(&definition, &orchid_plan::ServerLimits::default()).unwrap());
    let mut machine = Machine::new(setup.job(1, EXECUTION, None)).unwrap();
    let outputs = machine.step(TestClock { elapsed: std::time::Duration::ZERO }.now(), Input::Begin);
    let limits = outputs.iter().find_map(|output| match output {
        Output::Fetch { request, .. } => Some((request.timeout.as_secs(), request.max_body_bytes)),
        _ => None,
    });
    limits.unwrap_or_else(|| panic!("{outputs:?}"))
}

#[test]
fn request_has_the_timeout_and_body_limit_of_the_plan() {
    assert_eq!(bounds(json!({})), (30, 10 * 1024 * 1024));
    assert_eq!(bounds(json!({"timeout_seconds": 7, "response": {"max_bytes": 100}})), (7, 100));
}

#[test]
fn execution_can_be_cancelled_before_it_begins() {
    let mut machine = Machine::new(setup("orders").job(1, EXECUTION, None)).unwrap();
    let now = TestClock { elapsed: std::time::Duration::ZERO }.now();
    let outputs = machine.step(now, Input::Stop(StopReason::Cancel));
    assert!(matches!(
        outputs.as_slice(),
        [Output::Finished(ExecutionFinish::Ended(ExecutionEnd { status: EndStatus::Cancelled, .. }))]
    ));
    assert!(machine.checkpoint().is_some());
    assert!(machine.step(now, Input::Begin).is_empty());
}

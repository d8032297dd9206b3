//! Checkpoints do not grow with the number of pages or items that are done. Each execution here is
//! saved after every input, drained and resumed several times, and must finish.

use std::collections::BTreeMap;
use std::time::Duration;

use orchid_engine::{
    EndStatus, ExecutionFinish, Machine, Message, Request, Response, SavedCheckpoint, StopReason,
};
use serde_json::{Value, json};

use crate::chaos::setup;
use crate::support::{AttemptEnd, EXECUTION, Reply, Simulation, TestClock, TraceEvent, apply, saved};
use orchid_engine::Input;

const API: &str = "https://api.example.com";
const KIB: usize = 1024;

/// Results of an execution over all its attempts.
struct Finished {
    messages: Vec<Message>,
    requests: Vec<String>,
    largest_state: usize,
    context: BTreeMap<String, bytes::Bytes>,
    attempts: i32,
}

/// Runs a plan to its end; every `drain_every` requests the executor drains.
fn run(
    plan: &Value,
    config: &Value,
    drain_every: usize,
    answer: &mut dyn FnMut(&Request) -> (Value, Duration),
) -> Finished {
    let mut setup = setup(plan);
    setup.config = config.clone();
    let mut finished = Finished {
        messages: Vec::new(),
        requests: Vec::new(),
        largest_state: 0,
        context: BTreeMap::new(),
        attempts: 0,
    };
    let mut checkpoint: Option<SavedCheckpoint> = None;
    let mut clock = TestClock { elapsed: Duration::ZERO };
    loop {
        finished.attempts += 1;
        assert!(finished.attempts < 200, "the execution makes no progress");
        setup.context.clone_from(&finished.context);
        let mut machine = Machine::new(setup.job(finished.attempts, EXECUTION, checkpoint.clone())).unwrap();
        let (mut events, mut requests) = (Vec::new(), 0);
        let mut reply = |request: &Request| {
            requests += 1;
            finished.requests.push(request.url.to_string());
            let (body, duration) = answer(request);
            let response = Response {
                status: 200,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: body.to_string().into(),
                url: request.url.to_string(),
                files: Vec::new(),
            };
            let reply = Reply::Response { result: Ok(response), duration };
            if requests % drain_every == 0 {
                Reply::ThenStop(Box::new(reply), StopReason::Drain)
            } else {
                reply
            }
        };
        let simulation = Simulation {
            machine: &mut machine,
            clock: &mut clock,
            reply: &mut reply,
            events: &mut events,
            piece_bytes: 64 * KIB,
            piece_time: Duration::from_millis(1),
        };
        let end = simulation.run(Input::Begin);
        let newest = machine.checkpoint().unwrap();
        finished.largest_state = finished.largest_state.max(newest.resume_state.len());
        apply(&mut finished.context, &newest);
        checkpoint = Some(saved(&newest, checkpoint.as_ref()));
        finished.messages.extend(events.into_iter().filter_map(|event| match event {
            TraceEvent::Message(message) => Some(message),
            TraceEvent::Fetch(_)
            | TraceEvent::Wait(_)
            | TraceEvent::Park { .. }
            | TraceEvent::Finished(_) => None,
        }));
        match end {
            AttemptEnd::Finished(ExecutionFinish::Released) => {}
            AttemptEnd::Finished(ExecutionFinish::Ended(end)) => {
                assert_eq!(end.status, EndStatus::Succeeded, "{:?}", end.error);
                return finished;
            }
            AttemptEnd::Parked(_) => panic!("nothing parks"),
        }
    }
}

fn query(request: &Request, name: &str) -> Option<String> {
    request.url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

fn bodies(messages: &[Message]) -> Vec<Value> {
    let body = |message: &Message| {
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        payload["response_body"].as_array().unwrap().clone()
    };
    messages.iter().flat_map(body).collect()
}

#[test]
fn many_items_with_many_pages_finish() {
    let plan = json!({"max_execution_seconds": 86_400, "step": {
        "id": "account", "for_each": "range(`0`, `50`)", "url": format!("{API}/{{{{ item }}}}"),
        "iterate_over": "response.body.rows",
        "paginate": {"type": "cursor", "value": "response.body.next", "param": "at"}
    }});
    let finished = run(&plan, &json!({}), 4_000, &mut |request| {
        let page: usize =
            query(request, "at").map_or(0, |at| at.trim_start_matches("cursor-").parse().unwrap());
        let next = (page + 1 < 300).then(|| format!("cursor-{}", page + 1));
        (json!({"rows": [format!("{}-{page}", request.url.path())], "next": next}), Duration::from_millis(50))
    });
    assert!(finished.attempts > 1 && finished.largest_state < 64 * KIB, "{}", finished.largest_state);
    let mut rows: Vec<String> = bodies(&finished.messages).iter().map(Value::to_string).collect();
    rows.sort();
    rows.dedup();
    assert_eq!(rows.len(), 50 * 300);
}

#[test]
fn answers_of_many_items_reach_a_later_step() {
    let plan = json!({"max_execution_seconds": 86_400, "steps": [
        {"id": "part", "for_each": "range(`0`, `5000`)", "url": format!("{API}/part/{{{{ item }}}}"), "emit": "none"},
        {"id": "after", "url": format!("{API}/after"), "method": "POST",
         "body": {"ids": "{{ steps.part[*].body.id }}", "last": "{{ steps.part[-1].body.id }}"}}
    ]});
    let mut sent = Value::Null;
    let finished = run(&plan, &json!({}), 1_700, &mut |request| {
        if request.url.path() == "/after" {
            sent = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            return (json!({}), Duration::from_millis(50));
        }
        let id = format!("id-{}-{}", request.url.path().trim_start_matches("/part/"), "y".repeat(60));
        (json!({"id": id, "unread": "z".repeat(3 * KIB)}), Duration::from_millis(50))
    });
    assert!(finished.attempts > 1 && finished.largest_state < 64 * KIB, "{}", finished.largest_state);
    let expected: Vec<String> = (0..5_000).map(|id| format!("id-{id}-{}", "y".repeat(60))).collect();
    assert_eq!((&sent["ids"], &sent["last"]), (&json!(expected), &json!(expected[4_999])));
}

#[test]
fn contexts_of_items_behind_a_slow_one_stay_small() {
    let plan = json!({"max_execution_seconds": 86_400, "step": {
        "id": "part", "for_each": "range(`0`, `1000`)", "url": format!("{API}/part/{{{{ item }}}}"),
        "timeout_seconds": 3600,
        "set_context": {"note": "response.body.note"}, "cursor": {
            "value": "response.body.at", "type": "number", "per_item": "item"
        }
    }});
    let finished = run(&plan, &json!({}), 330, &mut |request| {
        let id: u64 = request.url.path().trim_start_matches("/part/").parse().unwrap();
        let wait = if id.is_multiple_of(300) { Duration::from_secs(120) } else { Duration::from_millis(50) };
        (json!({"note": format!("{id}-{}", "n".repeat(2 * KIB)), "at": id}), wait)
    });
    assert!(finished.attempts > 1 && finished.largest_state < 200 * KIB, "{}", finished.largest_state);
    let note: String = serde_json::from_slice(&finished.context["note"]).unwrap();
    assert!(note.starts_with("999-"), "the last item wins: {note}");
}

#[test]
fn last_row_that_the_next_page_reads_stays_small() {
    let plan = json!({"max_execution_seconds": 86_400, "max_loops": 1000, "step": {
        "id": "list", "url": format!("{API}/list"), "params": {"after": "{{ response.body.data[-1].id }}"},
        "iterate_over": "response.body.data", "while": "response.body.has_more"
    }});
    let finished = run(&plan, &json!({}), 7, &mut |request| {
        let after: usize = query(request, "after").map_or(0, |after| after.parse().unwrap());
        let rows: Vec<Value> =
            (after + 1..=after + 100).map(|id| json!({"id": id, "text": "t".repeat(3 * KIB)})).collect();
        (json!({"data": rows, "has_more": after + 100 < 3_000}), Duration::from_millis(50))
    });
    assert!(finished.attempts > 1 && finished.largest_state < 4 * KIB, "{}", finished.largest_state);
    let ids: Vec<u64> = bodies(&finished.messages).iter().map(|row| row["id"].as_u64().unwrap()).collect();
    let mut unique = ids.clone();
    unique.dedup();
    assert_eq!(unique, (1..=3_000).collect::<Vec<u64>>());
}

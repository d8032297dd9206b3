//! Pagination through a third-party API by its `Link` header.

use orchid_tests::{JsonServer, Message, StackOptions, TestStack};
use serde_json::{Value, json};

const ROWS: u64 = 103;
const PAGE_SIZE: u64 = 10;

fn posts() -> Vec<Value> {
    let post = |id: u64| {
        json!({
            "id": id, "title": format!("Post № {id}"), "rating": 1.0 / f64::from(3 * u32::try_from(id).expect("a number")),
            "tags": [null, true, {"deep": ["\u{0}", "\u{1F33A}"]}], "author": {"id": id % 7},
        })
    };
    (1..=ROWS).map(post).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_header_pagination_reads_all_of_json_server() {
    let posts = posts();
    let server = JsonServer::start(&json!({"posts": posts})).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&server.url()).await;
    let plan = json!({"step": {
        "id": "posts",
        "url": "{{ config.base_url }}/posts",
        "params": {"_page": 1, "_limit": PAGE_SIZE},
        "iterate_over": "response.body",
        "paginate": {"type": "link_header"},
    }});
    tenant.plan("posts", &plan).await;
    let execution = tenant.trigger("posts", "main").await;
    let done = tenant.success_of(&execution.id).await;
    assert!(done.complete && !done.partial && done.warnings.is_empty(), "{done:#?}");
    let counts = done.counts.expect("counts");
    assert_eq!((counts.requests, counts.pages, counts.rows), (11, 11, 103), "{counts:?}");

    let messages = stack
        .reader()
        .until("the end is announced", |all| {
            all.iter().filter(|message| message.kind() == "execution.completed").count() == 2
        })
        .await;
    let pages: Vec<Value> =
        messages.iter().filter(|message| message.kind() == "api.response").map(Message::json).collect();
    let places: Vec<&str> = pages.iter().map(|page| page["step_path"].as_str().expect("a place")).collect();
    assert_eq!(places, (0..11).map(|page| format!("posts#{page}")).collect::<Vec<_>>());
    let rows: Vec<Value> =
        pages.iter().flat_map(|page| page["response_body"].as_array().expect("rows").clone()).collect();
    assert_eq!(rows, posts);
    assert_eq!(pages[3]["request_url"], format!("{}/posts?_limit=10&_page=4", server.url()));
    stack.end().await;
}

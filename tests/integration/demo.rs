//! `orchid demo` with the user's API, for which it guesses a plan, and with the user's broker.

use std::path::Path;
use std::process::Output;

use orchid_kit::servers::free_port;
use orchid_tests::{BrokerKind, JsonServer, Kafka, environment};
use serde_json::{Value, json};

async fn demo(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = environment::command(environment::binary("orchid"));
    command.args(["demo", "--executors", "1", "--port", &free_port().expect("a port").to_string()]);
    command.args(arguments).arg("--data").arg(folder).env("NO_COLOR", "1");
    tokio::task::spawn_blocking(move || command.output().expect("orchid runs")).await.expect("it was run")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_polls_a_custom_api() {
    let posts: Vec<Value> = (1..=25).map(|id| json!({"id": id, "title": format!("Post {id}")})).collect();
    let server = JsonServer::start(&json!({"posts": posts})).await;
    let folder = environment::run_folder().join("demo");
    let polled = demo(&folder, &["--api", &format!("{}/posts?_page=1&_limit=10", server.url())]).await;
    let said = String::from_utf8_lossy(&polled.stdout);
    assert!(polled.status.success(), "{said}\n{}", String::from_utf8_lossy(&polled.stderr));
    for part in [
        "10 rows in response.body, the next page by the Link header",
        "✓ 25 rows are in Kafka, in 3 messages",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let missing = demo(&folder, &["--api", &format!("{}/nothing", server.url())]).await;
    let said = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(missing.status.code(), Some(1), "{said}");
    assert!(said.contains("/nothing responded with 404: {}\n  is the path right?"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_produces_to_a_custom_broker() {
    let kafka = Kafka::shared(BrokerKind::Apache).await;
    let folder = environment::run_folder().join("demo-with-broker");
    let demo = demo(&folder, &["--kafka", kafka.brokers()]).await;
    let said = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{said}\n{}", String::from_utf8_lossy(&demo.stderr));
    assert!(said.contains("all 1 987 orders are in Kafka"), "{said}");
}

//! A Kafka outage: the execution parks and loses nothing.

use orchid_proto::v1::ExecutionState;
use orchid_tests::{BrokerKind, FakeUpstream, StackOptions, TestStack, eventually};

use crate::plans;

const PAGES: u64 = 8;

pub(crate) async fn parks_while_away(broker: BrokerKind) {
    let upstream = FakeUpstream::orders(PAGES, 2, true).await;
    let stack = TestStack::start(StackOptions {
        broker,
        own_kafka: true,
        executor_settings: vec![("ORCHID_KAFKA_SINK_TIMEOUT_MS", "1500".to_owned())],
        ..StackOptions::default()
    })
    .await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    tenant.plan("orders", &plans::orders()).await;
    upstream.open(2);
    let execution = tenant.trigger("orders", "main").await;
    let mut reader = stack.reader();
    let pages = |all: &[orchid_tests::Message]| {
        all.iter().filter(|message| message.kind() == "api.response").cloned().collect::<Vec<_>>()
    };
    reader.until("three pages are produced", |all| pages(all).len() == 3).await;
    stack.kafka().down().await;
    upstream.open(PAGES);
    let parked = eventually("the execution parks", async || {
        let now = tenant.execution(&execution.id).await;
        if now.state() == ExecutionState::Parked { Ok(now) } else { Err(now) }
    })
    .await;
    assert!(parked.not_before.is_some() && !parked.waiting_for.is_empty(), "{parked:#?}");
    stack.kafka().up().await;
    let done = tenant.success_of(&execution.id).await;
    assert_eq!((done.lost_attempts, done.complete), (0, true), "{done:#?}");
    assert_eq!(tenant.attempts(&execution.id).await[0].end_reason, "parked");
    let messages = reader
        .until("both ends are announced", |all| {
            all.iter().filter(|message| message.kind() == "execution.completed").count() >= 2
        })
        .await;
    for page in 0..PAGES {
        let of_page: Vec<_> =
            pages(&messages).into_iter().filter(|message| message.json()["page"] == page).collect();
        assert!(!of_page.is_empty(), "page {page} is missing");
        // A message that timed out may have arrived all the same; then both copies have the same
        // id.
        assert!(
            of_page
                .iter()
                .all(|copy| copy.header("orchid-message-id") == of_page[0].header("orchid-message-id"))
        );
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn execution_parks_during_kafka_outage_and_succeeds() {
    parks_while_away(BrokerKind::Mock).await;
}

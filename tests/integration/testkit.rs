//! Tests of the test kit.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use orchid_tests::{BrokerKind, FakeUpstream, Kafka, MessageReader, TestTopics};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_continues_after_a_broker_outage() {
    let kafka = Kafka::start(BrokerKind::Mock).await;
    let topics = TestTopics::named("kit");
    kafka.create_topics(&topics, None).await;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.brokers()).create().expect("a producer");
    let mut reader = MessageReader::new(kafka.brokers(), &topics);
    for number in 0..3 {
        if number == 1 {
            kafka.down().await;
            kafka.up().await;
        }
        let headers = OwnedHeaders::new().insert(Header { key: "type", value: Some("api.response") });
        let payload = format!("{{\"number\": {number}}}");
        let record = FutureRecord::to(&topics.responses).key("k").headers(headers).payload(&payload);
        producer.send(record, Duration::from_secs(10)).await.expect("sent");
    }
    let all = reader.until("three messages", |all| all.len() == 3).await;
    assert_eq!(
        all.iter().map(|message| message.json()["number"].as_u64()).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(2)]
    );
    assert_eq!((all[0].kind(), all[0].key.as_str()), ("api.response", "k"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gated_upstream_holds_a_page_until_opened() {
    let upstream = FakeUpstream::orders(2, 1, true).await;
    let ask = || {
        let address = upstream.url().replace("http://", "");
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).expect("the upstream listens");
            stream.write_all(b"GET /orders?cursor=1 HTTP/1.0\r\n\r\n").expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("text");
            answer
        })
    };
    upstream.open(0);
    let mut waiting = ask();
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "it did not wait");
    upstream.open(1);
    let body = waiting.await.expect("a response");
    assert!(body.contains("\"next\":null"), "{body}");
    assert_eq!(upstream.requests()[0].query["cursor"], "1");
}

//! Cookies of one attempt.

use orchid_engine::Request;

use crate::upstream::{LOOPBACK, Upstream, agent, fetcher, open_fence, request, response_bytes};

/// Starts an upstream that sets a cookie on `/x` and redirects from there to `/x/there`.
async fn upstream() -> Upstream {
    Upstream::start(|request| {
        if request.starts_with("GET /x ") {
            response_bytes(
                "302 Found\r\nset-cookie: sid=s1; Path=/\r\nlocation: /x/there\r\nconnection: close",
                b"",
            )
        } else {
            response_bytes("200 OK\r\nconnection: close\r\ncontent-length: 0", b"")
        }
    })
    .await
}

fn cookie_of(request: &str) -> Option<&str> {
    request.lines().find_map(|line| line.strip_prefix("cookie: "))
}

#[tokio::test]
async fn cookie_is_sent_from_the_redirect_on() {
    let upstream = upstream().await;
    let agent = agent(LOOPBACK);
    for _ in 0..2 {
        agent.clone().fetch(request(&upstream.url, &[])).await.result.map(drop).unwrap();
    }
    let requests = upstream.requests.lock().await;
    let cookies: Vec<_> = requests.iter().map(|request| cookie_of(request)).collect();
    assert_eq!(cookies, [None, Some("sid=s1"), Some("sid=s1"), Some("sid=s1")]);
}

#[tokio::test]
async fn cookies_do_not_reach_another_attempt() {
    let upstream = upstream().await;
    let fetcher = fetcher(LOOPBACK, open_fence());
    for _ in 0..2 {
        let agent = fetcher.agent(&Default::default()).unwrap();
        agent.fetch(request(&upstream.url, &[])).await.result.map(drop).unwrap();
    }
    let requests = upstream.requests.lock().await;
    assert_eq!(cookie_of(&requests[2]), None, "the second attempt starts without cookies");
}

#[tokio::test]
async fn cookies_do_not_reach_another_host() {
    let other = Upstream::responding("200 OK\r\nconnection: close", b"").await;
    let to = other.url.replace("127.0.0.1", "localhost");
    let first = Upstream::start(move |_| {
        let head =
            format!("307 Moved\r\nset-cookie: a=1\r\nset-cookie: b=2; Domain=localhost\r\nlocation: {to}");
        response_bytes(&head, b"")
    })
    .await;
    let agent = agent(LOOPBACK);
    agent.fetch(request(&first.url, &["127.0.0.1", "localhost"])).await.result.map(drop).unwrap();
    assert_eq!(cookie_of(&other.requests.lock().await[0]), None);
}

#[tokio::test]
async fn cookie_header_of_the_plan_wins() {
    let upstream = upstream().await;
    let agent = agent(LOOPBACK);
    agent.fetch(request(&upstream.url, &[])).await.result.map(drop).unwrap();
    let mut own: Request = request(&upstream.url, &[]);
    own.headers.push(("cookie".to_owned(), "mine=1".to_owned()));
    agent.fetch(own).await.result.map(drop).unwrap();
    let requests = upstream.requests.lock().await;
    assert_eq!((cookie_of(&requests[2]), cookie_of(&requests[3])), (Some("mine=1"), Some("mine=1")));
}

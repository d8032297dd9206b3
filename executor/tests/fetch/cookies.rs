//! Cookies of one run.

use orchid_engine::Request;

use crate::upstream::{LOOPBACK, Upstream, agent, answer, fetcher, open_fence, request};

/// Sets a cookie on `/x`, and redirects from there to `/x/there`.
async fn upstream() -> Upstream {
    Upstream::start(|request| {
        if request.starts_with("GET /x ") {
            answer("302 Found\r\nset-cookie: sid=s1; Path=/\r\nlocation: /x/there\r\nconnection: close", b"")
        } else {
            answer("200 OK\r\nconnection: close\r\ncontent-length: 0", b"")
        }
    })
    .await
}

fn cookie_of(asked: &str) -> Option<&str> {
    asked.lines().find_map(|line| line.strip_prefix("cookie: "))
}

#[tokio::test]
async fn a_cookie_goes_along_in_its_run_from_the_redirect_on() {
    let upstream = upstream().await;
    let agent = agent(LOOPBACK);
    for _ in 0..2 {
        agent.clone().fetch(request(&upstream.url, &[])).await.result.map(drop).unwrap();
    }
    let asked = upstream.asked.lock().await;
    let cookies: Vec<_> = asked.iter().map(|asked| cookie_of(asked)).collect();
    assert_eq!(cookies, [None, Some("sid=s1"), Some("sid=s1"), Some("sid=s1")]);
}

#[tokio::test]
async fn no_cookie_reaches_another_run_of_the_same_process() {
    let upstream = upstream().await;
    let fetcher = fetcher(LOOPBACK, open_fence());
    for _ in 0..2 {
        let agent = fetcher.agent(&Default::default()).unwrap();
        agent.fetch(request(&upstream.url, &[])).await.result.map(drop).unwrap();
    }
    let asked = upstream.asked.lock().await;
    assert_eq!(cookie_of(&asked[2]), None, "the second run begins without");
}

#[tokio::test]
async fn no_cookie_reaches_another_host() {
    let other = Upstream::saying("200 OK\r\nconnection: close", b"").await;
    let to = other.url.replace("127.0.0.1", "localhost");
    let first = Upstream::start(move |_| {
        let head =
            format!("307 Moved\r\nset-cookie: a=1\r\nset-cookie: b=2; Domain=localhost\r\nlocation: {to}");
        answer(&head, b"")
    })
    .await;
    let agent = agent(LOOPBACK);
    agent.fetch(request(&first.url, &["127.0.0.1", "localhost"])).await.result.map(drop).unwrap();
    assert_eq!(cookie_of(&other.asked.lock().await[0]), None);
}

#[tokio::test]
async fn a_cookie_header_of_the_plan_wins() {
    let upstream = upstream().await;
    let agent = agent(LOOPBACK);
    agent.fetch(request(&upstream.url, &[])).await.result.map(drop).unwrap();
    let mut own: Request = request(&upstream.url, &[]);
    own.headers.push(("cookie".to_owned(), "mine=1".to_owned()));
    agent.fetch(own).await.result.map(drop).unwrap();
    let asked = upstream.asked.lock().await;
    assert_eq!((cookie_of(&asked[2]), cookie_of(&asked[3])), (Some("mine=1"), Some("mine=1")));
}

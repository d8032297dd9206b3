//! Trusted CAs, client certificates, and HTTP/1.1 and HTTP/2.

use orchid_engine::{BodyStreaming, FetchErrorKind, Request};
use orchid_executor::fetch::{ClientCertificate, FetchOutcome, Transport};
use rcgen::{IsCa, date_time_ymd};

use crate::tls_server::{Authority, Identity, TlsServer};
use crate::upstream::{
    LOOPBACK, agent_with, error, fetcher, open_fence, request, streamed_response, whole_response,
};

fn trusting(authority: &Authority) -> Transport {
    Transport { ca: Some(authority.pem()), ..Transport::default() }
}

fn client_certificate(Identity { certificate, key }: Identity) -> Option<ClientCertificate> {
    Some(ClientCertificate { certificate, key })
}

#[tokio::test]
async fn server_with_untrusted_ca_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = TlsServer::start(&theirs, None, &[]).await;
    for transport in [Transport::default(), trusting(&ours)] {
        let error = error(agent_with(LOOPBACK, &transport).fetch(request(&server.url, &[])).await);
        assert_eq!(error.kind, FetchErrorKind::Certificate, "{error}");
        assert!(
            error.message.contains("its issuer is unknown") && error.message.contains("transport.ca"),
            "{error}"
        );
    }
    assert!(server.connections.lock().await.is_empty());
}

#[tokio::test]
async fn ca_of_a_config_is_trusted_by_that_config_only() {
    let authority = Authority::new("ours");
    let server = TlsServer::start(&authority, None, &[]).await;
    let fetcher = fetcher(LOOPBACK, open_fence());
    let response =
        whole_response(fetcher.agent(&trusting(&authority)).unwrap().fetch(request(&server.url, &[])).await);
    assert_eq!(&response.body[..], b"secure");
    let other = fetcher.agent(&Transport::default()).unwrap();
    assert_eq!(error(other.fetch(request(&server.url, &[])).await).kind, FetchErrorKind::Certificate);
}

/// Sends a request to a server that shows this certificate, with `ca` as the config's.
async fn fetch_from(shown: &Identity, ca: Option<&Identity>) -> FetchOutcome {
    let server = TlsServer::with_identity(shown, None, &["h2", "http/1.1"]).await;
    let transport = Transport { ca: ca.map(|ca| ca.certificate.clone()), ..Transport::default() };
    agent_with(LOOPBACK, &transport).fetch(request(&server.url, &[])).await
}

#[tokio::test]
async fn own_certificate_of_a_server_is_trusted_whatever_its_constraints() {
    for shown in [
        Identity::self_signed(&["localhost"], |_| {}),
        Identity::self_signed(&["localhost"], |params| params.is_ca = IsCa::ExplicitNoCa),
        Identity::self_signed(&["localhost"], |params| params.is_ca = IsCa::NoCa),
        // Issued by an authority that is not listed.
        Authority::new("unlisted").server(),
    ] {
        assert_eq!(&whole_response(fetch_from(&shown, Some(&shown)).await).body[..], b"secure");
        let other = Identity::self_signed(&["localhost"], |_| {});
        assert_eq!(error(fetch_from(&shown, Some(&other)).await).kind, FetchErrorKind::Certificate);
    }
}

#[tokio::test]
async fn refused_certificate_is_explained_and_permanent() {
    let expired =
        Identity::self_signed(&["localhost"], |params| params.not_after = date_time_ymd(2021, 5, 1));
    let early = Identity::self_signed(&["localhost"], |params| params.not_before = date_time_ymd(2999, 5, 1));
    let other = Identity::self_signed(&["erp.test", "*.files.test", "10.0.0.7"], |_| {});
    let own = Identity::self_signed(&["localhost"], |_| {});
    for (shown, ca, words) in [
        (&expired, Some(&expired), "the server's certificate expired at 2021-05-01T00:00:00Z"),
        (&early, Some(&early), "the server's certificate is only valid from 2999-05-01T00:00:00Z on"),
        (
            &other,
            Some(&other),
            "the server's certificate is not for localhost, but for erp.test, *.files.test, 10.0.0.7",
        ),
        (&own, None, "the server's certificate is its own issuer: put it into the config's transport.ca"),
    ] {
        let error = error(fetch_from(shown, ca).await);
        assert_eq!((error.kind, error.message.as_str()), (FetchErrorKind::Certificate, words));
        assert_eq!(error.kind.code(), "TLS");
    }
}

#[tokio::test]
async fn server_that_asks_receives_the_client_certificate() {
    let (authority, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    // In TLS 1.3 the server refuses only after the handshake. By then HTTP/2 reports just the text
    // of the alert, not the TLS error.
    for (protocols, kind) in [(&[][..], FetchErrorKind::Certificate), (&["h2"], FetchErrorKind::Broken)] {
        let server = TlsServer::start(&authority, Some(&clients), protocols).await;
        for own in [None, client_certificate(others.client())] {
            let transport = Transport { client_certificate: own, ..trusting(&authority) };
            let error = error(agent_with(LOOPBACK, &transport).fetch(request(&server.url, &[])).await);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains("received fatal alert"), "{error}");
        }
        let transport =
            Transport { client_certificate: client_certificate(clients.client()), ..trusting(&authority) };
        let response =
            whole_response(agent_with(LOOPBACK, &transport).fetch(request(&server.url, &[])).await);
        assert_eq!(&response.body[..], b"secure");
    }
}

#[tokio::test]
async fn client_certificate_with_another_key_is_refused() {
    let authority = Authority::new("ours");
    let (one, other) = (authority.client(), authority.client());
    let mixed = ClientCertificate { certificate: one.certificate, key: other.key.clone() };
    let transport = Transport { client_certificate: Some(mixed), ..Transport::default() };
    let error = fetcher(LOOPBACK, open_fence()).agent(&transport).err().unwrap().to_string();
    assert!(!error.contains(&other.key), "{error}");
}

#[tokio::test]
async fn http_2_is_negotiated_and_shares_one_connection() {
    let authority = Authority::new("ours");
    for (offered, spoken, connections) in
        [(&["h2", "http/1.1"][..], "h2", 1), (&["http/1.1"], "http/1.1", 1), (&[], "none", 1)]
    {
        let server = TlsServer::start(&authority, None, offered).await;
        let agent = agent_with(LOOPBACK, &trusting(&authority));
        for _ in 0..3 {
            assert_eq!(&whole_response(agent.fetch(request(&server.url, &[])).await).body[..], b"secure");
        }
        if spoken == "h2" {
            let (one, two) =
                tokio::join!(agent.fetch(request(&server.url, &[])), agent.fetch(request(&server.url, &[])));
            assert_eq!(whole_response(one).body, whole_response(two).body);
        }
        assert_eq!(*server.connections.lock().await, vec![spoken; connections], "{offered:?}");
    }
}

#[tokio::test]
async fn body_is_streamed_over_http_2() {
    let authority = Authority::new("ours");
    let server = TlsServer::start(&authority, None, &["h2"]).await;
    let request = Request { streaming: BodyStreaming::ByContentType, ..request(&server.url, &[]) };
    let (head, mut body) =
        streamed_response(agent_with(LOOPBACK, &trusting(&authority)).fetch(request).await);
    assert_eq!(head.status, 200);
    assert_eq!(body.next().await.unwrap().unwrap().bytes, "secure");
    assert_eq!(body.next().await.unwrap(), None);
}

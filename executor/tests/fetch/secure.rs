//! Whom requests trust, as whom they come, and HTTP/1.1 and 2.

use orchid_engine::{BodyStreaming, FetchErrorKind, Request};
use orchid_executor::fetch::{ClientCertificate, Transport};

use crate::tls::{Authority, Identity, Secure};
use crate::upstream::{LOOPBACK, by, error, fetcher, in_pieces, open_fence, request, whole};

fn trusting(authority: &Authority) -> Transport {
    Transport { ca: Some(authority.pem()), ..Transport::default() }
}

fn shown(Identity { certificate, key }: Identity) -> Option<ClientCertificate> {
    Some(ClientCertificate { certificate, key })
}

#[tokio::test]
async fn a_server_of_an_authority_that_is_not_trusted_is_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Secure::start(&theirs, None, &[]).await;
    for transport in [Transport::default(), trusting(&ours)] {
        let error = error(by(LOOPBACK, &transport).fetch(request(&server.url, &[])).await);
        assert_eq!(error.kind, FetchErrorKind::Tls, "{error}");
    }
    assert!(server.connections.lock().await.is_empty());
}

#[tokio::test]
async fn a_server_of_the_configs_authority_is_trusted_by_that_config_alone() {
    let authority = Authority::new("ours");
    let server = Secure::start(&authority, None, &[]).await;
    let fetcher = fetcher(LOOPBACK, open_fence());
    let response =
        whole(fetcher.agent(&trusting(&authority)).unwrap().fetch(request(&server.url, &[])).await);
    assert_eq!(&response.body[..], b"secure");
    let other = fetcher.agent(&Transport::default()).unwrap();
    assert_eq!(error(other.fetch(request(&server.url, &[])).await).kind, FetchErrorKind::Tls);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_configs() {
    let (authority, clients, others) =
        (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    // A server says so after the handshake; of what it says by then, HTTP/2 hands up the words alone.
    for (protocols, kind) in [(&[][..], FetchErrorKind::Tls), (&["h2"], FetchErrorKind::Broken)] {
        let server = Secure::start(&authority, Some(&clients), protocols).await;
        for own in [None, shown(others.client())] {
            let transport = Transport { client_certificate: own, ..trusting(&authority) };
            let error = error(by(LOOPBACK, &transport).fetch(request(&server.url, &[])).await);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains("received fatal alert"), "{error}");
        }
        let transport = Transport { client_certificate: shown(clients.client()), ..trusting(&authority) };
        let response = whole(by(LOOPBACK, &transport).fetch(request(&server.url, &[])).await);
        assert_eq!(&response.body[..], b"secure");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_of_its_key_makes_no_client() {
    let authority = Authority::new("ours");
    let (one, other) = (authority.client(), authority.client());
    let mixed = ClientCertificate { certificate: one.certificate, key: other.key.clone() };
    let transport = Transport { client_certificate: Some(mixed), ..Transport::default() };
    let error = fetcher(LOOPBACK, open_fence()).agent(&transport).err().unwrap().to_string();
    assert!(!error.contains(&other.key), "{error}");
}

#[tokio::test]
async fn http_2_is_spoken_where_the_server_does_and_one_connection_carries_all() {
    let authority = Authority::new("ours");
    for (offered, spoken, connections) in
        [(&["h2", "http/1.1"][..], "h2", 1), (&["http/1.1"], "http/1.1", 1), (&[], "none", 1)]
    {
        let server = Secure::start(&authority, None, offered).await;
        let agent = by(LOOPBACK, &trusting(&authority));
        for _ in 0..3 {
            assert_eq!(&whole(agent.fetch(request(&server.url, &[])).await).body[..], b"secure");
        }
        if spoken == "h2" {
            let (one, two) =
                tokio::join!(agent.fetch(request(&server.url, &[])), agent.fetch(request(&server.url, &[])));
            assert_eq!(whole(one).body, whole(two).body);
        }
        assert_eq!(*server.connections.lock().await, vec![spoken; connections], "{offered:?}");
    }
}

#[tokio::test]
async fn pieces_come_by_http_2_too() {
    let authority = Authority::new("ours");
    let server = Secure::start(&authority, None, &["h2"]).await;
    let request = Request { streaming: BodyStreaming::ByContentType, ..request(&server.url, &[]) };
    let (head, mut body) = in_pieces(by(LOOPBACK, &trusting(&authority)).fetch(request).await);
    assert_eq!(head.status, 200);
    assert_eq!(body.next().await.unwrap().unwrap(), "secure");
    assert_eq!(body.next().await.unwrap(), None);
}

//! Requests through a proxy.

use std::sync::Arc;

use orchid_engine::FetchErrorKind;
use orchid_executor::fetch::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::tls_server::{Authority, TlsServer};
use crate::upstream::{LOOPBACK, Upstream, agent_with, error, request, response_bytes, whole_response};

/// A proxy that records its requests, and connects to the requested port on loopback, whatever the
/// host.
struct ProxyServer {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl ProxyServer {
    async fn start(on: &str, status: &'static str) -> Self {
        let listener = TcpListener::bind((on, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                served.spawn(serve(socket, Arc::clone(&seen), status));
            }
        });
        Self { address, requests, _server: server }
    }

    fn transport(&self, scheme: &str, user: &str) -> Transport {
        Transport { proxy: Some(format!("{scheme}://{user}{}", self.address)), ..Transport::default() }
    }
}

async fn serve(mut socket: TcpStream, seen: Arc<Mutex<Vec<String>>>, status: &'static str) {
    let mut request = vec![0; 8192];
    let length = socket.read(&mut request).await.unwrap_or(0);
    if request[0] == 5 {
        return serve_socks(socket, seen).await;
    }
    let text = String::from_utf8_lossy(&request[..length]).into_owned();
    seen.lock().await.push(text.clone());
    if !text.starts_with("CONNECT ") {
        let _ = socket.write_all(&response_bytes("200 OK\r\ncontent-length: 7", b"proxied")).await;
        return;
    }
    let _ = socket.write_all(&response_bytes(status, b"")).await;
    if status.starts_with("200") {
        let port = text.split(' ').nth(1).unwrap().rsplit(':').next().unwrap().parse().unwrap();
        relay(socket, port).await;
    }
}

/// Serves SOCKS 5 (RFC 1928) without authentication. The greeting has been read already.
async fn serve_socks(mut socket: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    socket.write_all(&[5, 0]).await.unwrap();
    let mut head = [0; 4];
    socket.read_exact(&mut head).await.unwrap();
    let host = match head[3] {
        1 => format!("address {}", std::net::Ipv4Addr::from(socket.read_u32().await.unwrap())),
        3 => {
            let mut name = vec![0; socket.read_u8().await.unwrap().into()];
            socket.read_exact(&mut name).await.unwrap();
            format!("name {}", String::from_utf8(name).unwrap())
        }
        4 => format!("address {}", std::net::Ipv6Addr::from(socket.read_u128().await.unwrap())),
        other => panic!("{other}"),
    };
    let port = socket.read_u16().await.unwrap();
    seen.lock().await.push(host);
    socket.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await.unwrap();
    relay(socket, port).await;
}

async fn relay(mut socket: TcpStream, port: u16) {
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = copy_bidirectional(&mut socket, &mut upstream).await;
}

#[tokio::test]
async fn refusing_proxy_fails_without_showing_its_password() {
    for status in ["407 Proxy Authentication Required", "502 Bad Gateway"] {
        let proxy = ProxyServer::start("127.0.0.1", status).await;
        let agent = agent_with(LOOPBACK, &proxy.transport("http", "me:hush@"));
        let error = error(agent.fetch(request("https://api.example.com/", &[])).await);
        assert_eq!(error.kind, FetchErrorKind::Connect, "{error}");
        assert!(error.message.ends_with("(via the config's proxy)"), "{error}");
        assert!(!error.message.contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn proxy_at_refused_address_is_not_connected() {
    let proxy = ProxyServer::start("127.0.0.1", "200 OK").await;
    for (scheme, address) in [
        ("http", proxy.address.clone()),
        ("http", proxy.address.replace("127.0.0.1", "localhost")),
        ("http", proxy.address.replace("127.0.0.1", "0x7f.1")),
        ("https", proxy.address.clone()),
        ("socks5", proxy.address.clone()),
        ("socks5h", proxy.address.clone()),
    ] {
        let transport = Transport { proxy: Some(format!("{scheme}://{address}")), ..Transport::default() };
        let error = error(agent_with(&[], &transport).fetch(request("http://93.184.216.34/", &[])).await);
        assert_eq!(error.kind, FetchErrorKind::AddressRefused, "{scheme}://{address}: {error}");
    }
    assert!(proxy.requests.lock().await.is_empty());
}

#[tokio::test]
async fn refused_target_is_not_requested_from_a_proxy() {
    let proxy = ProxyServer::start("127.0.0.2", "200 OK").await;
    for scheme in ["http", "socks5", "socks5h"] {
        let agent = agent_with(&["127.0.0.2"], &proxy.transport(scheme, ""));
        for url in [
            "http://127.0.0.1/",
            "https://10.0.0.1/",
            "http://localhost/",
            "https://a.LOCALHOST./",
            "http://[::1]/",
        ] {
            let error = error(agent.fetch(request(url, &[])).await);
            assert_eq!(error.kind, FetchErrorKind::AddressRefused, "{scheme} {url}: {error}");
        }
    }
    assert!(proxy.requests.lock().await.is_empty());
}

#[tokio::test]
async fn http_requests_are_forwarded_with_the_proxy_user() {
    let proxy = ProxyServer::start("127.0.0.1", "200 OK").await;
    let agent = agent_with(LOOPBACK, &proxy.transport("http", "me:s%40fe@"));
    let response = whole_response(agent.fetch(request("http://api.example.com/v1?x=1", &[])).await);
    assert_eq!(&response.body[..], b"proxied");
    let requests = proxy.requests.lock().await;
    assert!(requests[0].starts_with("GET http://api.example.com/v1?x=1 HTTP/1.1\r\n"), "{}", requests[0]);
    // Base64 of `me:s@fe`.
    assert!(requests[0].contains("proxy-authorization: Basic bWU6c0BmZQ==\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn https_requests_use_a_tunnel_that_sees_only_the_host() {
    let authority = Authority::new("ours");
    let proxy = ProxyServer::start("127.0.0.1", "200 Connection established").await;
    for protocol in ["http/1.1", "h2"] {
        let server = TlsServer::start(&authority, None, &[protocol]).await;
        let transport = Transport { ca: Some(authority.pem()), ..proxy.transport("http", "me:hush@") };
        let response =
            whole_response(agent_with(LOOPBACK, &transport).fetch(request(&server.url, &[])).await);
        assert_eq!(&response.body[..], b"secure");
        assert_eq!(*server.connections.lock().await, [protocol]);
        let connect = proxy.requests.lock().await.pop().unwrap();
        assert!(connect.starts_with("CONNECT localhost:"), "{connect}");
        assert!(connect.to_ascii_lowercase().contains("proxy-authorization: basic "), "{connect}");
        assert!(!connect.contains("Bearer"), "{connect}");
    }
}

#[tokio::test]
async fn socks_scheme_decides_where_names_are_resolved() {
    let proxy = ProxyServer::start("127.0.0.1", "").await;
    let upstream = Upstream::responding("200 OK\r\nconnection: close", b"socks").await;
    let by_name = upstream.url.replace("127.0.0.1", "localhost");
    for (scheme, expected) in [("socks5", "address "), ("socks5h", "name localhost")] {
        let agent = agent_with(LOOPBACK, &proxy.transport(scheme, ""));
        assert_eq!(&whole_response(agent.fetch(request(&by_name, &[])).await).body[..], b"socks");
        let seen = proxy.requests.lock().await.pop().unwrap();
        assert!(seen.starts_with(expected), "{scheme}: {seen}");
    }
}

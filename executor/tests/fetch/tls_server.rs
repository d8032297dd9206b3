//! TLS servers with certificates that are created for each test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::upstream::response_bytes;

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn client(&self) -> Identity {
        self.issue(ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(crate) fn server(&self) -> Identity {
        self.issue(ExtendedKeyUsagePurpose::ServerAuth)
    }
}

impl Identity {
    /// Creates a certificate that is its own issuer, as `openssl req -x509` does.
    pub(crate) fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Creates a server's configuration. With `clients`, the server asks for a certificate of that
    /// authority.
    fn server_config(&self, clients: Option<&Authority>, protocols: &[&str]) -> ServerConfig {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Self { certificate, key } = self;
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let builder = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A server that responds with `secure`, and records the protocol of each connection.
pub(crate) struct TlsServer {
    pub(crate) url: String,
    pub(crate) connections: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl TlsServer {
    pub(crate) async fn start(
        authority: &Authority,
        clients: Option<&Authority>,
        protocols: &[&str],
    ) -> Self {
        Self::with_identity(&authority.server(), clients, protocols).await
    }

    /// Starts a server that shows this certificate.
    pub(crate) async fn with_identity(
        identity: &Identity,
        clients: Option<&Authority>,
        protocols: &[&str],
    ) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(identity.server_config(clients, protocols)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/x", listener.local_addr().unwrap().port());
        let connections = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&connections);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                served.spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    let protocol = stream.get_ref().1.alpn_protocol().unwrap_or(b"none").to_vec();
                    seen.lock().await.push(String::from_utf8(protocol.clone()).unwrap());
                    if protocol == b"h2" { serve_h2(stream).await } else { serve_h1(stream).await }
                });
            }
        });
        Self { url, connections, _server: server }
    }
}

async fn serve_h1(mut stream: TlsStream<TcpStream>) {
    let mut request = vec![0; 8192];
    while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
        let _ = stream.write_all(&response_bytes("200 OK\r\ncontent-length: 6", b"secure")).await;
    }
}

async fn serve_h2(stream: TlsStream<TcpStream>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().header("content-type", "text/csv").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data("secure".into(), true).unwrap();
    }
}

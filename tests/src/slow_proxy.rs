//! A TCP proxy that delays every piece of data in both directions.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A running proxy; closes its connections when dropped.
pub struct SlowProxy {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl SlowProxy {
    /// Starts a proxy to `host:port` that delays each piece.
    pub async fn start(target: String, delay: Duration) -> SlowProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let target = target.clone();
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let (client_in, client_out) = client.into_split();
                    let (server_in, server_out) = server.into_split();
                    tokio::join!(
                        forward(client_in, server_out, delay),
                        forward(server_in, client_out, delay)
                    );
                });
            }
        });
        SlowProxy { address, _tasks: tasks }
    }

    /// Returns the port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut piece).await {
        sleep(delay).await;
        if length == 0 || to.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
}

//! A TCP proxy that makes a server seem far away: every piece takes its time, in both directions.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// A running proxy; closes its connections when dropped.
pub struct SlowProxy {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl SlowProxy {
    /// Passes on to `host:port`, each piece after a delay.
    pub async fn from(target: String, delay: Duration) -> SlowProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let target = target.clone();
                connections.spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    tokio::join!(carry(near_in, far_out, delay), carry(far_in, near_out, delay));
                });
            }
        });
        SlowProxy { address, _tasks: tasks }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn carry(
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

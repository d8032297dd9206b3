//! The demo upstream: an orders API like many that Orchid polls, with cursor pages, an API key, a rate limit and an unreliable moment now
//! and then. In comes HTTP; out go orders that are the same at every start. It keeps nothing and knows nothing of Orchid.

mod limit;
mod orders;
mod paging;
mod routes;

use std::{io, net::SocketAddr};

use orchid_kit::tasks::Tasks;
use tokio::net::TcpListener;

pub(crate) use orders::ORDER_COUNT;

/// A running demo upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
}

impl Upstream {
    /// Serves on a free loopback port until the tasks stop. Requests must carry `api_key` as `x-api-key`.
    pub(crate) async fn start(api_key: &str, tasks: &mut Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let service = routes::router(api_key);
        let stop = tasks.stop();
        tasks.start("upstream", async move {
            let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the demo upstream ended");
            }
        });
        Ok(Self { address })
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

//! The demo upstream: an orders API with cursor pagination, an API key, a rate limit and occasional
//! failures. Its orders are the same at every start. It keeps no state and knows nothing of Orchid.

mod limit;
mod orders;
mod paging;
mod routes;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use orchid_kit::address_file::{read_address, write_address};
use orchid_kit::tasks::TaskGroup;
use tokio::net::TcpListener;

pub(crate) use orders::ORDER_COUNT;

/// A running demo upstream.
#[derive(Debug)]
pub(crate) struct DemoUpstream {
    address: SocketAddr,
}

impl DemoUpstream {
    /// Serves on loopback until the tasks stop. Requests must carry `api_key` as `x-api-key`.
    ///
    /// Uses the port that `folder` remembers, so that configs with its URL stay valid, or a free
    /// port if that one is taken.
    ///
    /// # Errors
    /// When no port can be bound or the address cannot be stored.
    pub(crate) async fn start(folder: &Path, api_key: &str, tasks: &mut TaskGroup) -> io::Result<Self> {
        let remembered = folder.join("upstream.address");
        let listener = bind(read_address(&remembered)).await?;
        let address = listener.local_addr()?;
        write_address(&remembered, &address.to_string()).map_err(io::Error::other)?;
        let service = routes::router(api_key);
        let stop = tasks.stop_token();
        tasks.start("upstream", async move {
            let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the demo upstream ended");
            }
        });
        Ok(Self { address })
    }

    /// Returns the base URL, `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn bind(remembered: Option<String>) -> io::Result<TcpListener> {
    if let Some(address) = remembered
        && let Ok(listener) = TcpListener::bind(address).await
    {
        return Ok(listener);
    }
    TcpListener::bind(("127.0.0.1", 0)).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn address_is_reused_unless_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut urls = Vec::new();
        for _ in 0..2 {
            let mut tasks = TaskGroup::new();
            urls.push(DemoUpstream::start(folder.path(), "key", &mut tasks).await.unwrap().url());
            tasks.join(Duration::from_secs(5)).await.unwrap();
        }
        assert_eq!(urls[0], urls[1]);
        let _taken = TcpListener::bind(urls[0].trim_start_matches("http://")).await.unwrap();
        let mut tasks = TaskGroup::new();
        let other = DemoUpstream::start(folder.path(), "key", &mut tasks).await.unwrap();
        assert_ne!(other.url(), urls[0]);
    }
}

//! The demo upstream: an orders API like many that Orchid polls, with cursor pages, an API key, a rate limit and an unreliable moment now
//! and then. In comes HTTP; out go orders that are the same at every start. It keeps nothing and knows nothing of Orchid.

mod limit;
mod orders;
mod paging;
mod routes;

use std::{io, net::SocketAddr, path::Path};

use orchid_kit::{
    address_file::{read_address, write_address},
    tasks::TaskGroup,
};
use tokio::net::TcpListener;

pub(crate) use orders::ORDER_COUNT;

/// A running demo upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
}

impl Upstream {
    /// Serves on loopback until the tasks stop: on the port that `folder` remembers, so that configs which name it stay true, else on a free
    /// one. Requests must carry `api_key` as `x-api-key`.
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

    /// `http://127.0.0.1:port`.
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
    async fn the_address_outlives_the_process_unless_somebody_else_took_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut urls = Vec::new();
        for _ in 0..2 {
            let mut tasks = TaskGroup::new();
            urls.push(Upstream::start(folder.path(), "key", &mut tasks).await.unwrap().url());
            tasks.join(Duration::from_secs(5)).await.unwrap();
        }
        assert_eq!(urls[0], urls[1]);
        let _taken = TcpListener::bind(urls[0].trim_start_matches("http://")).await.unwrap();
        let mut tasks = TaskGroup::new();
        let other = Upstream::start(folder.path(), "key", &mut tasks).await.unwrap();
        assert_ne!(other.url(), urls[0]);
    }
}

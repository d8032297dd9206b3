//! The HTTP side: `GET /orders?limit=100&cursor=…` and `GET /healthz`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use orchid_kit::clock;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    limit::{Limit, Verdict},
    orders::{ORDER_COUNT, Order, order},
    paging::{PagingError, page},
};

#[derive(Clone)]
struct Api {
    key: Arc<str>,
    limit: Arc<Mutex<Limit>>,
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListAnswer {
    orders: Vec<Order>,
    total_count: usize,
    next_cursor: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("the header x-api-key is missing or wrong")]
    Key,
    #[error("too many requests: try again in 1 s")]
    TooMany,
    #[error("the order service is restarting")]
    Unavailable,
    #[error(transparent)]
    Paging(#[from] PagingError),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Key => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Paging(_) => StatusCode::BAD_REQUEST,
        };
        let body = Json(json!({ "error": self.to_string() }));
        match self {
            Self::TooMany => (status, [(header::RETRY_AFTER, "1")], body).into_response(),
            Self::Key | Self::Unavailable | Self::Paging(_) => (status, body).into_response(),
        }
    }
}

pub(super) fn router(api_key: &str) -> Router {
    let api = Api { key: api_key.into(), limit: Arc::default() };
    Router::new()
        .route("/orders", get(list_orders))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(api)
}

async fn list_orders(
    State(api): State<Api>,
    headers: HeaderMap,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListAnswer>, ApiError> {
    if headers.get("x-api-key").is_none_or(|key| key.as_bytes() != api.key.as_bytes()) {
        return Err(ApiError::Key);
    }
    let verdict = api.limit.lock().unwrap_or_else(PoisonError::into_inner).judge(clock::monotonic());
    match verdict {
        Verdict::TooMany => return Err(ApiError::TooMany),
        Verdict::Unavailable => return Err(ApiError::Unavailable),
        Verdict::Serve => {}
    }
    let page = page(ORDER_COUNT, query.limit, query.cursor.as_deref())?;
    let orders = page.rows.map(order).collect();
    Ok(Json(ListAnswer { orders, total_count: ORDER_COUNT, next_cursor: page.next_cursor }))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, key: &str, path: &str) -> (StatusCode, HeaderMap, Value) {
        let request = Request::get(path).header("x-api-key", key).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_wrong_key_sees_nothing() {
        let (status, _, body) = get(&router("right"), "wrong", "/orders").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(body, json!({"error": "the header x-api-key is missing or wrong"}));
    }

    #[tokio::test(start_paused = true)]
    async fn errors_come_with_the_status_and_headers_of_their_kind() {
        let router = router("k");
        let (status, _, _) = get(&router, "k", "/orders?cursor=7").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let mut seen = Vec::new();
        for _ in 0..14 {
            let (status, headers, _) = get(&router, "k", "/orders").await;
            seen.push((
                status.as_u16(),
                headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned()),
            ));
        }
        assert_eq!(seen[4], (503, None));
        assert_eq!(seen[13], (429, Some("1".to_owned())));
    }

    #[tokio::test]
    async fn a_page_holds_its_orders_and_the_way_to_the_next() {
        let router = router("k");
        let (_, _, first) = get(&router, "k", "/orders?limit=100").await;
        assert_eq!(first["orders"].as_array().unwrap().len(), 100);
        assert_eq!(first["total_count"], 1_987);
        let next = first["next_cursor"].as_str().unwrap();
        let (_, _, second) = get(&router, "k", &format!("/orders?limit=100&cursor={next}")).await;
        assert_eq!(second["orders"][0]["number"], "SO-100101");
    }
}

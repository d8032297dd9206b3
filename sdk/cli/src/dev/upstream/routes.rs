//! The HTTP routes of the demo upstream: `GET /orders?limit=100&cursor=…` and `GET /healthz`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use orchid_kit::clock;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::limit::{Admission, RequestLimiter};
use super::orders::{ORDER_COUNT, Order, order};
use super::paging::{PagingError, page};

#[derive(Clone)]
struct OrdersApi {
    key: Arc<str>,
    limit: Arc<Mutex<RequestLimiter>>,
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct ListResponse {
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
    let api = OrdersApi { key: api_key.into(), limit: Arc::default() };
    Router::new()
        .route("/orders", get(list_orders))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(api)
}

async fn list_orders(
    State(api): State<OrdersApi>,
    headers: HeaderMap,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListResponse>, ApiError> {
    if headers.get("x-api-key").is_none_or(|key| key.as_bytes() != api.key.as_bytes()) {
        return Err(ApiError::Key);
    }
    let admission = api.limit.lock().unwrap_or_else(PoisonError::into_inner).admit(clock::monotonic());
    match admission {
        Admission::TooMany => return Err(ApiError::TooMany),
        Admission::Unavailable => return Err(ApiError::Unavailable),
        Admission::Serve => {}
    }
    let page = page(ORDER_COUNT, query.limit, query.cursor.as_deref())?;
    let orders = page.rows.map(order).collect();
    Ok(Json(ListResponse { orders, total_count: ORDER_COUNT, next_cursor: page.next_cursor }))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
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
    async fn wrong_key_is_unauthorized() {
        let (status, _, body) = get(&router("right"), "wrong", "/orders").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(body, json!({"error": "the header x-api-key is missing or wrong"}));
    }

    #[tokio::test(start_paused = true)]
    async fn errors_have_their_status_and_headers() {
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
    async fn page_has_orders_and_a_cursor_to_the_next() {
        let router = router("k");
        let (_, _, first) = get(&router, "k", "/orders?limit=100").await;
        assert_eq!(first["orders"].as_array().unwrap().len(), 100);
        assert_eq!(first["total_count"], 1_987);
        let next = first["next_cursor"].as_str().unwrap();
        let (_, _, second) = get(&router, "k", &format!("/orders?limit=100&cursor={next}")).await;
        assert_eq!(second["orders"][0]["number"], "SO-100101");
    }
}

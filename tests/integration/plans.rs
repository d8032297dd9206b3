//! Plans that the tests run.

use serde_json::{Value, json};

/// Returns a plan that reads orders by cursor until there is none.
pub(crate) fn orders() -> Value {
    json!({
        "step": {
            "id": "orders",
            "url": "{{ config.base_url }}/orders",
            "iterate_over": "response.body.items",
            "paginate": {"type": "cursor", "value": "response.body.next", "param": "cursor"},
            "retry": {"initial_delay_ms": 20, "jitter": "none"},
        },
        "max_execution_seconds": 120,
    })
}

/// Returns a plan with one request.
pub(crate) fn single() -> Value {
    json!({"step": {"id": "one", "url": "{{ config.base_url }}/one", "retry": {"initial_delay_ms": 20}}})
}

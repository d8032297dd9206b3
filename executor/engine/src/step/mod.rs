//! One step: from rendering a request to the end of its loop.

pub(crate) mod exact_json;
pub(crate) mod execution;
pub(crate) mod page_end;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod variables;

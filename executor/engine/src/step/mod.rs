//! One step: from rendering a request to the end of its loop.
//!
//! A response passes through the modules in this order: [`receiver`] collects it, [`response`]
//! reads it, [`execution`] has it judged and starts a page, [`evaluator`] evaluates the step's
//! expressions on it, and [`page_loop`] moves to the page that [`continuation`] decides on, whose
//! request comes from [`request`].

pub(crate) mod continuation;
pub(crate) mod evaluator;
pub(crate) mod exact_json;
pub(crate) mod execution;
pub(crate) mod failure;
pub(crate) mod gaps;
pub(crate) mod judged;
pub(crate) mod judgement;
pub(crate) mod last_page;
pub(crate) mod page_loop;
pub(crate) mod page_results;
pub(crate) mod page_slot;
pub(crate) mod page_start;
pub(crate) mod phase;
pub(crate) mod position;
pub(crate) mod receiver;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod url_homes;
pub(crate) mod variables;

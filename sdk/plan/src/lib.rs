//! The plan language of Orchid: from a JSON document to something that an engine can run.
//!
//! In comes a plan document (or its `definition` alone) and the limits of the server that will hold it. Out goes
//! either every fault at once, or a [`Plan`] / [`Definition`]: immutable, defaults applied, every expression and
//! template compiled. Beside it stand the values, scopes and environments that compiled expressions are run with.
//!
//! This crate does no I/O, reads no clock and draws no randomness: times and seeds come in by [`EvalEnv`]. It is the
//! only crate that sees `jmespath`.

mod canonical;
mod compiled;
mod decimal;
mod diagnostic;
mod document;
mod env;
mod expr;
mod functions;
#[cfg(test)]
mod fuzz;
mod header;
mod links;
mod read_paths;
mod schema;
mod scope;
mod secrets;
mod server_limits;
mod template;
mod time;
mod timestamp;
mod value;
mod warnings;

pub use canonical::{DefinitionHash, canonical_json, definition_hash, integers_from_doubles};
pub use compiled::{
    AsyncJob, AuthFlow, Backoff, CsvHeader, CsvRules, Cursor, CursorKind, CursorLookback, Decompression,
    Definition, DynamicQuota, EmitMode, Jitter, LimitScope, OnLimit, OnRepeat, OutcomeMatcher, OutcomeRules,
    Pagination, PaginationKind, Plan, QuotaSource, RateLimit, RequestRate, ResponseFormat, ResponseRules,
    RetryPolicy, RowSelector, StatusClass, Step, StepAction, StopOn, TimeFormat, TimeWindow,
};
pub use diagnostic::{Diagnostic, DiagnosticCode, Diagnostics};
pub use document::{check, compile};
pub use env::EvalEnv;
pub use expr::{EvalError, Expr};
pub use functions::{FunctionDoc, function_docs};
pub use header::{CatchUpPolicy, OverlapPolicy, PlanHeader};
pub use links::{LinkHeaderError, ResolveUrlError, find_link, resolve_url};
pub use read_paths::ReadPaths;
pub use schema::plan_schema;
pub use scope::{Scope, ScopeName};
pub use server_limits::ServerLimits;
pub use template::{
    Method, PaginationOverrides, RenderError, RenderErrorCode, RenderedRequest, RequestTemplate, Template,
};
pub use value::{JsonType, PathSegment, PathSelection, PlainPath, RawRows, RawRowsError, Value, ValueError};
pub use warnings::{Warning, WarningCode};

//! Orchid's plan language: compiles JSON documents to plans that the engine executes.
//!
//! [`check`] takes a plan document, [`compile`] its `definition` alone; both take the limits of the
//! server. They return either every problem at once ([`Diagnostics`]), or an immutable [`Plan`] or
//! [`Definition`] with defaults applied and every expression and template compiled. [`Value`],
//! [`Scope`] and [`EvalEnv`] are the inputs with which compiled expressions are evaluated.
//!
//! This crate does no I/O, reads no clock and draws no randomness: [`EvalEnv`] carries the time and
//! the seed. It is the only crate that uses `jmespath`.

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
mod pacing;
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
    ArchiveRules, AsyncJob, AuthFlow, Backoff, CsvHeader, CsvRules, Cursor, CursorKind, CursorLookback,
    Decompression, Definition, DynamicQuota, EmitMode, FilePattern, Jitter, LimitScope, OnLimit, OnRepeat,
    OutcomeMatcher, OutcomeRules, Pagination, PaginationKind, Plan, QuotaSource, RaggedRows, RateLimit,
    RequestRate, ResponseFormat, ResponseRules, RetryPolicy, RowSelector, SliceLength, StatusClass, Step,
    StepAction, StopOn, TimeFormat, TimeWindow, XmlPrefixes, XmlRules,
};
pub use diagnostic::{Diagnostic, DiagnosticCode, Diagnostics};
pub use document::{check, compile};
pub use env::EvalEnv;
pub use expr::{EvalError, Expr};
pub use functions::{FunctionDoc, function_docs};
pub use header::{CatchUpPolicy, OverlapPolicy, PlanHeader};
pub use links::{LinkHeaderError, ResolveUrlError, find_link, resolve_url};
pub use pacing::{Pacer, paced};
pub use read_paths::ReadPaths;
pub use schema::plan_schema;
pub use scope::{Scope, ScopeName};
pub use server_limits::ServerLimits;
pub use template::{
    Method, PaginationOverrides, RenderError, RenderErrorCode, RenderedRequest, RequestTemplate, Template,
};
pub use value::{
    JsonScanner, JsonType, NESTING_MAX, PathSegment, PathSelection, PlainPath, RawMembers, RawRows,
    RawRowsError, RawText, ReadSegment, Value, ValueError,
};
pub use warnings::{Warning, WarningCode};

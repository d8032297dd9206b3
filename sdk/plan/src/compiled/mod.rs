//! The compiled plan, which the engine executes.
//!
//! Only [`crate::check`] and [`crate::compile`] create these types, and nothing changes them
//! afterwards: defaults are applied and every expression is compiled.

mod cursor;
mod exprs;
mod file_pattern;
mod outcome;
mod paginate;
mod plan;
mod rate_limit;
mod response;
mod retry;
mod slice_length;
mod step;
mod window;

pub use cursor::{Cursor, CursorKind, CursorLookback};
pub(crate) use exprs::ExprSite;
pub use file_pattern::FilePattern;
pub(crate) use file_pattern::PATTERN_MAX_BYTES;
pub use outcome::{OutcomeMatcher, OutcomeRules, StatusClass};
pub use paginate::{OnRepeat, Pagination, PaginationKind, StopOn};
pub use plan::{Definition, OnLimit, Plan};
pub use rate_limit::{DynamicQuota, LimitScope, QuotaSource, RateLimit, RequestRate};
pub use response::{
    ArchiveRules, CsvHeader, CsvRules, Decompression, RaggedRows, ResponseFormat, ResponseRules, XmlPrefixes,
    XmlRules,
};
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use slice_length::SliceLength;
pub use step::{AsyncJob, AuthFlow, EmitMode, RowSelector, Step, StepAction};
pub use window::{TimeFormat, TimeWindow};

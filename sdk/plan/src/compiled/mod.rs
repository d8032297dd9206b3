//! The compiled plan: what the engine runs. Made by [`crate::compile`] alone, never changed afterwards.

mod async_job;
mod cursor;
mod exprs;
mod outcome;
mod paginate;
mod plan;
mod rate_limit;
mod response;
mod retry;
mod step;
mod timing;
mod window;

pub use async_job::AsyncJob;
pub use cursor::{Cursor, CursorKind, Lookback};
pub(crate) use exprs::Sited;
pub use outcome::{Matcher, OutcomeRules, StatusClass};
pub use paginate::{OnRepeat, Paginate, PaginateKind, StopOn};
pub use plan::{Configs, Definition, OnLimit, Overlap, Plan};
pub use rate_limit::{Learned, LimitScope, Rate, RateLimit, Reported};
pub use response::{CsvHeader, CsvRules, Decompress, ResponseFormat, ResponseRules};
pub use retry::{Backoff, Jitter, Retry};
pub use step::{Action, AuthFlow, Emit, Rows, Step};
pub use timing::{CatchUp, CronTiming, Timing};
pub use window::{TimeFormat, Window};

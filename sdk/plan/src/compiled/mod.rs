//! The compiled plan: what the engine runs. Made by [`crate::compile`] alone, never changed afterwards.

mod async_job;
mod cursor;
mod outcome;
mod paginate;
mod plan;
mod response;
mod retry;
mod step;
mod window;

pub use async_job::AsyncJob;
pub use cursor::{Cursor, CursorKind, Lookback};
pub use outcome::{Matcher, OutcomeRules, StatusClass};
pub use paginate::{OnRepeat, Paginate, PaginateKind, StopOn};
pub use plan::{Configs, Definition, OnLimit, Overlap, Plan};
pub use response::{CsvHeader, CsvRules, Decompress, ResponseFormat, ResponseRules};
pub use retry::{Backoff, Jitter, Retry};
pub use step::{Action, Emit, Rows, Step};
pub use window::{TimeFormat, Window};

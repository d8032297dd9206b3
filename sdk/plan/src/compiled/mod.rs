//! The compiled plan: what the engine runs. Made by [`crate::compile`] alone, never changed afterwards.

mod outcome;
mod paginate;
mod plan;
mod response;
mod retry;
mod step;

pub use outcome::{Matcher, OutcomeRules, StatusClass};
pub use paginate::{OnRepeat, Paginate, PaginateKind, StopOn};
pub use plan::{Configs, Definition, OnLimit, Overlap, Plan};
pub use response::{ResponseFormat, ResponseRules};
pub use retry::{Backoff, Jitter, Retry};
pub use step::{Emit, Rows, Step};

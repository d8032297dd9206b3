//! Where a run is, as JSON that a later attempt reads: versioned, bounded, and only what the rest of the run looks at.
//!
//! In: the run's place. Out: bytes, and back. A place that does not read is an error of the system, never a fresh start.

mod place;
mod prune;

pub(crate) use place::{
    ActivePlace, AroundPlace, Carried, CursorPlace, EachPlace, Finished, ItemPlace, JobPhase, JobPlace, Json,
    Place, PlaceError, PlaceHead, ReachPlace, RowPlace, RowsPlace, SequencePlace, StepPlace, WindowPlace,
    json, raw, raw_map, unraw,
};
pub(crate) use prune::prune;

//! Where a run is, as JSON that a later attempt reads: versioned, bounded, and only what the rest of the run looks at.
//!
//! In: the run's place. Out: bytes, and back. A place that does not read is an error of the system, never a fresh start.

mod place;
mod prune;

pub(crate) use place::{Finished, Place, PlaceError, StepPlace, raw, unraw};
pub(crate) use prune::prune;

//! The execution as a whole, above the tree of steps.
//!
//! [`machine`] takes the inputs and owns everything else: the tree, [`checkpoints`] with the
//! acknowledgements that they wait for, and the [`cancellation`] of async jobs at the end.
//! [`phase`] holds what an attempt is at, [`resume`] builds the tree, [`finish`] describes ends,
//! [`refusal`] answers refused messages.

mod cancellation;
mod checkpoints;
mod finish;
mod machine;
mod phase;
mod refusal;
mod resume;

pub use self::machine::Machine;

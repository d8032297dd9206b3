//! The execution as a whole: takes one input at a time, and returns the outputs.

mod cancellation;
mod finish;
mod machine;
mod resume;

pub use self::machine::Machine;

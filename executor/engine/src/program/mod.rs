//! The compiled plan as the engine walks it: each step with everything that is known before the
//! execution starts.

pub(crate) mod node;
pub(crate) mod required_fields;

//! The addresses that requests may reach: ranges, the guard, and a resolver that asks the guard.

pub(crate) mod guard;
pub(crate) mod range;
pub(crate) mod resolver;

//! The few things that crates need in common although they may not depend on each other: limits
//! that two sides of the protocol enforce, the names by which APIs page, and suggestions for
//! misspelled names.
//!
//! This crate depends on no other crate of ours, so that any of them may use it.

pub mod limits;
pub mod paging;
pub mod suggest;

//! Shared by Orchid's processes.

pub mod servers;

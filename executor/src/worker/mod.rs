mod leases;
pub use leases::{Lease, Leases, Order, Picture, Running};

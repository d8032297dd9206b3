mod fence;
pub use fence::Fence;

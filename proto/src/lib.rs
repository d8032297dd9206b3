//! Orchid's gRPC contract: generated messages, clients and servers, the descriptor set for reflection, and who may call what.
//!
//! The `.proto` files beside this crate's `src` are the source; `build.rs` compiles them without a protoc binary.

pub mod json;
mod permission;
mod plan_header;

pub use permission::{Permission, permission_of};
pub use plan_header::UnknownEnumValue;

/// `google.protobuf.FileDescriptorSet`, encoded, with comments and imports: what reflection serves.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/orchid.bin"));

/// Management: what tenants use. Only ever grows.
#[allow(
    rust_2018_idioms,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("orchid.v1");
}

/// Operators' services.
pub mod admin {
    /// Version 1.
    #[allow(
        rust_2018_idioms,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::too_many_lines,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("orchid.admin.v1");
    }
}

/// The fleet protocol, between control plane and executors.
pub mod executor {
    /// Version 1.
    #[allow(
        rust_2018_idioms,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::too_many_lines,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("orchid.executor.v1");
    }
}

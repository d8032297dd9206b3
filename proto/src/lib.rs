//! Orchid's gRPC contract: generated messages, clients and servers, the descriptor set for
//! reflection, and the permission that each method requires.
//!
//! The `.proto` files beside this crate's `src` are the source; `build.rs` compiles them without a
//! protoc binary.

pub mod json;
mod permission;
mod plan_header;
mod texts;

pub use permission::{Permission, permission_of};
pub use plan_header::UnknownEnumValue;
pub use texts::{CheckTexts, TextCheck, TextKind, TextProblem, text_problems};

/// Encoded `google.protobuf.FileDescriptorSet`, with comments and imports, for server reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/orchid.bin"));

/// The tenants' API. It stays backward compatible.
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

/// The operators' API.
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

/// The fleet protocol between control plane and executors.
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

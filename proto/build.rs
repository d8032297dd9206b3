//! Compiles the `.proto` files without a protoc binary, and fails for a method without a
//! permission.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::prost_reflect::DescriptorPool;

const FILES: [&str; 9] = [
    "orchid/options/v1/options.proto",
    "orchid/v1/common.proto",
    "orchid/v1/integration.proto",
    "orchid/v1/config.proto",
    "orchid/v1/plan.proto",
    "orchid/v1/schedule.proto",
    "orchid/v1/execution.proto",
    "orchid/admin/v1/tenant.proto",
    "orchid/executor/v1/executor.proto",
];

const PERMISSION_OPTION: &str = "orchid.options.v1.permission";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=orchid");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("orchid.bin"), &encoded)?;
    fs::write(out.join("permissions.rs"), permissions(&compiler.descriptor_pool())?)?;

    tonic_prost_build::configure()
        .bytes(".orchid.executor.v1")
        .compile_fds(FileDescriptorSet::decode(encoded.as_slice())?)?;
    Ok(())
}

/// Generates a Rust table of all methods with their permissions.
fn permissions(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option =
        pool.get_extension_by_name(PERMISSION_OPTION).ok_or("the permission option is not defined")?;
    let mut rows = String::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        let permission = match options.get_extension(&option).as_enum_number() {
            Some(1) => "TenantRead",
            Some(2) => "TenantWrite",
            Some(3) => "Operator",
            Some(4) => "FleetJoin",
            Some(5) => "Fleet",
            _ => {
                return Err(format!("method {} has no option {PERMISSION_OPTION}", method.full_name()).into());
            }
        };
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        rows.push_str(&format!("    (\"{path}\", Permission::{permission}),\n"));
    }
    Ok(format!("pub(crate) static METHODS: &[(&str, Permission)] = &[\n{rows}];\n"))
}

//! Compiles the `.proto` files without a protoc binary, and fails for a method without a permission
//! and for a text of a request without a kind.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

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
const TEXT_OPTION: &str = "orchid.options.v1.text";
const FIELD_MASK: &str = "google.protobuf.FieldMask";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=orchid");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("orchid.bin"), &encoded)?;
    fs::write(out.join("permissions.rs"), permissions(&compiler.descriptor_pool())?)?;
    fs::write(out.join("texts.rs"), texts(&compiler.descriptor_pool())?)?;

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

/// Generates an implementation of `CheckTexts` for every message of a request.
fn texts(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut messages = BTreeMap::new();
    let mut open: Vec<(MessageDescriptor, bool)> = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        open.push((method.input(), true));
    }
    while let Some((message, is_request)) = open.pop() {
        if messages.contains_key(message.full_name()) {
            continue;
        }
        let mut body = String::new();
        for field in message.fields() {
            body.push_str(&text_checks(pool, &field, is_request)?);
            if let Some(inner) = inner_message(&field) {
                open.push((inner, false));
            }
        }
        messages.insert(message.full_name().to_owned(), body);
    }
    let mut code = String::new();
    for (name, body) in messages {
        let name = name.replacen("orchid", "crate", 1).replace('.', "::");
        let check = if body.is_empty() { "_" } else { "check" };
        code.push_str(&format!(
            "impl CheckTexts for {name} {{\n    fn check_texts(&self, {check}: &mut TextCheck) {{\n{body}    }}\n}}\n"
        ));
    }
    Ok(code)
}

/// Returns the message of Orchid that a field holds.
fn inner_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(inner) if !field.is_map() && inner.package_name().starts_with("orchid.") => Some(inner),
        _ => None,
    }
}

/// Generates the statements that check the texts of one field.
fn text_checks(
    pool: &DescriptorPool,
    field: &FieldDescriptor,
    is_request: bool,
) -> Result<String, Box<dyn Error>> {
    let name = field.name();
    let kind = match field.kind() {
        Kind::String => text_kind(pool, field)?,
        // The names of a map; its values are numbers.
        Kind::Message(_) if field.is_map() => text_kind(pool, field)?,
        Kind::Message(inner) if inner.full_name() == FIELD_MASK => {
            return Ok(format!("        check.mask(\"{name}\", self.{name}.as_ref());\n"));
        }
        _ => None,
    };
    if let Some(kind) = kind {
        let call = if field.is_list() { "list" } else { "text" };
        return Ok(format!("        check.{call}(\"{name}\", &self.{name}, TextKind::{kind});\n"));
    }
    let Some(inner) = inner_message(field) else { return Ok(String::new()) };
    if field.is_list() {
        return Ok(format!(
            "        for (index, inner) in self.{name}.iter().enumerate() {{\n            \
             check.within(&format!(\"/{name}/{{index}}\"), |check| inner.check_texts(check));\n        }}\n"
        ));
    }
    // Pointers start at the resource that a request carries, as in the problems of its document.
    let is_resource = is_request && inner.get_field_by_name("etag").is_some();
    let place = if is_resource { String::new() } else { format!("/{name}") };
    Ok(format!(
        "        if let Some(inner) = &self.{name} {{\n            \
         check.within(\"{place}\", |check| inner.check_texts(check));\n        }}\n"
    ))
}

/// Returns the kind of a text; none for the reports of executors, which are limited elsewhere.
fn text_kind(pool: &DescriptorPool, field: &FieldDescriptor) -> Result<Option<&'static str>, Box<dyn Error>> {
    let option = pool.get_extension_by_name(TEXT_OPTION).ok_or("the text option is not defined")?;
    let kind = match field.options().get_extension(&option).as_enum_number() {
        Some(1) => "Key",
        Some(2) => "Id",
        Some(3) => "Token",
        Some(4) => "Line",
        Some(5) => "Paragraph",
        Some(6) => "Address",
        Some(7) => "Pem",
        Some(8) => "Json",
        Some(9) => "Output",
        Some(10) => return Ok(None),
        _ => return Err(format!("text {} has no option {TEXT_OPTION}", field.full_name()).into()),
    };
    Ok(Some(kind))
}

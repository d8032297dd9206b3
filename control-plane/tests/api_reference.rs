//! Generates the reference in `docs/api.md` from the comments of the `.proto` files, and fails when
//! the page is out of date.
//!
//! `cargo test --workspace --test api_reference -- --ignored` writes the page.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test as a whole")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use orchid_proto::{DESCRIPTOR_SET, Permission, permission_of};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

const MARKER: &str =
    "<!-- Generated from the comments of the .proto files by control-plane/tests/api_reference.rs. -->\n";

/// Numbers of the fields of `FileDescriptorProto` and its children, as comment paths use them.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const MEMBERS: i32 = 2;

fn page_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")
}

/// A `.proto` file with its comments.
struct ProtoFile {
    descriptor: FileDescriptorProto,
    /// Comments by the descriptor path of the element they describe.
    comments: HashMap<Vec<i32>, String>,
}

impl ProtoFile {
    fn new(descriptor: FileDescriptorProto) -> Self {
        let locations = descriptor.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations
            .filter_map(|location| Some((location.path.clone(), location.leading_comments.clone()?)))
            .map(|(path, text)| (path, unwrap_lines(&text)))
            .collect();
        Self { descriptor, comments }
    }

    fn comment(&self, path: &[i32]) -> &str {
        self.comments.get(path).map_or("", String::as_str)
    }

    fn write_service(&self, out: &mut String, number: i32, service: &ServiceDescriptorProto) {
        let name = format!("{}.{}", self.descriptor.package(), service.name());
        writeln!(out, "\n## {name}\n\n{}\n", wrapped(self.comment(&[SERVICES, number]))).unwrap();
        writeln!(out, "| method | request | response | caller | description |\n|---|---|---|---|---|")
            .unwrap();
        for (index, method) in (0..).zip(&service.method) {
            let permission = permission_of(&format!("/{name}/{}", method.name())).expect("a permission");
            let stream = if method.server_streaming() { "stream of " } else { "" };
            writeln!(
                out,
                "| `{}` | `{}` | {stream}`{}` | {} | {} |",
                method.name(),
                short_name(method.input_type()),
                short_name(method.output_type()),
                caller(permission),
                table_cell(self.comment(&[SERVICES, number, MEMBERS, index])),
            )
            .unwrap();
        }
    }

    fn write_message(&self, out: &mut String, number: i32, message: &DescriptorProto) {
        writeln!(out, "\n### {}\n\n{}", message.name(), wrapped(self.comment(&[MESSAGES, number]))).unwrap();
        if message.field.is_empty() {
            return;
        }
        writeln!(out, "\n| field | type | description |\n|---|---|---|").unwrap();
        for (index, field) in (0..).zip(&message.field) {
            let comment = self.comment(&[MESSAGES, number, MEMBERS, index]);
            let kind = field_type(message, field);
            writeln!(out, "| `{}` | {kind} | {} |", field.name(), table_cell(comment)).unwrap();
        }
    }

    fn write_enum(&self, out: &mut String, number: i32, enumeration: &EnumDescriptorProto) {
        writeln!(out, "\n### {}\n\n{}", enumeration.name(), wrapped(self.comment(&[ENUMS, number]))).unwrap();
        writeln!(out, "\n| value | description |\n|---|---|").unwrap();
        for (index, value) in (0..).zip(&enumeration.value) {
            let comment = self.comment(&[ENUMS, number, MEMBERS, index]);
            writeln!(out, "| `{}` | {} |", value.name(), table_cell(comment)).unwrap();
        }
    }
}

/// Wraps prose outside of tables at this column.
const WIDTH: usize = 100;

/// Breaks each paragraph of a comment into lines.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_inclusive([' ', '\n']) {
        if column > 0 && column + word.trim_end().chars().count() > WIDTH {
            out.truncate(out.trim_end().len());
            out.push('\n');
            column = 0;
        }
        out.push_str(word);
        column = if word.ends_with('\n') { 0 } else { column + word.chars().count() };
    }
    out
}

/// Joins the lines of each paragraph of a comment.
fn unwrap_lines(text: &str) -> String {
    let paragraphs = text.split("\n\n").flat_map(|part| part.split("\n \n"));
    let joined: Vec<String> =
        paragraphs.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    joined.join("\n\n")
}

fn table_cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn short_name(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap()
}

fn caller(permission: Permission) -> &'static str {
    match permission {
        Permission::TenantRead => "tenant (read)",
        Permission::TenantWrite => "tenant (write)",
        Permission::Operator => "operator",
        Permission::FleetJoin => "executor with a pool token",
        Permission::Fleet => "executor with a session token",
    }
}

fn field_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    // A map is a repeated nested message of key and value.
    let entry = message.nested_type.iter().find(|nested| nested.name() == short_name(field.type_name()));
    if let Some(entry) = entry {
        let (key, value) = (field_type(entry, &entry.field[0]), field_type(entry, &entry.field[1]));
        return format!("map of {key} to {value}");
    }
    let name = match field.r#type() {
        Type::Message | Type::Enum => short_name(field.type_name()).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    match (field.label(), field.proto3_optional()) {
        (Label::Repeated, _) => format!("list of `{name}`"),
        (_, true) => format!("optional `{name}`"),
        _ => format!("`{name}`"),
    }
}

fn reference() -> String {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("descriptors");
    let ours = set.file.into_iter().filter(|file| file.package().starts_with("orchid."));
    let mut files: Vec<ProtoFile> =
        ours.filter(|file| !file.package().contains("options")).map(ProtoFile::new).collect();
    // The tenants' API comes first: most readers look for it.
    files
        .sort_by_key(|file| (file.descriptor.package() != "orchid.v1", file.descriptor.package().to_owned()));
    let mut out = String::new();
    for file in &files {
        for (number, service) in (0..).zip(&file.descriptor.service) {
            file.write_service(&mut out, number, service);
        }
        if file.descriptor.service.is_empty() {
            writeln!(out, "\n## {}: shared messages", file.descriptor.package()).unwrap();
        }
        for (number, message) in (0..).zip(&file.descriptor.message_type) {
            file.write_message(&mut out, number, message);
        }
        for (number, enumeration) in (0..).zip(&file.descriptor.enum_type) {
            file.write_enum(&mut out, number, enumeration);
        }
    }
    out
}

#[test]
fn api_page_matches_proto_comments() {
    let page = fs::read_to_string(page_path()).expect("docs/api.md");
    let (_, written) = page.split_once(MARKER).expect("the marker of the reference in docs/api.md");
    assert!(
        written == reference(),
        "docs/api.md is out of date: run cargo test --workspace --test api_reference -- --ignored"
    );
}

#[test]
fn every_method_and_field_has_a_comment() {
    let reference = reference();
    let bare: Vec<&str> =
        reference.lines().filter(|line| line.starts_with('|') && line.ends_with("|  |")).collect();
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
#[ignore = "writes docs/api.md"]
fn write_api_page() {
    let page = fs::read_to_string(page_path()).expect("docs/api.md");
    let (head, _) = page.split_once(MARKER).expect("the marker of the reference in docs/api.md");
    fs::write(page_path(), format!("{head}{MARKER}{}", reference())).expect("docs/api.md");
}

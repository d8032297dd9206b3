//! `docs/api.md` ends with a reference that is made of the comments of the `.proto` files. This test fails where the two differ;
//! `cargo test -p orchid-control-plane --test api_reference -- --ignored` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test as a whole")]

use std::{collections::HashMap, fmt::Write as _, fs, path::PathBuf};

use orchid_proto::{DESCRIPTOR_SET, Permission, permission_of};
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

const MARKER: &str = "<!-- What follows is made of the comments of the .proto files, by control-plane/tests/api_reference.rs. -->\n";

/// Which part of a file a comment belongs to, as descriptors number them.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const MEMBERS: i32 = 2;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")
}

/// A file with its comments by their places.
struct File {
    descriptor: FileDescriptorProto,
    comments: HashMap<Vec<i32>, String>,
}

impl File {
    fn new(descriptor: FileDescriptorProto) -> Self {
        let locations = descriptor.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations
            .filter_map(|location| Some((location.path.clone(), location.leading_comments.clone()?)))
            .map(|(path, text)| (path, text.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        Self { descriptor, comments }
    }

    fn comment(&self, path: &[i32]) -> &str {
        self.comments.get(path).map_or("", String::as_str)
    }

    fn service(&self, out: &mut String, number: i32, service: &ServiceDescriptorProto) {
        let name = format!("{}.{}", self.descriptor.package(), service.name());
        writeln!(out, "\n## {name}\n\n{}\n", self.comment(&[SERVICES, number])).unwrap();
        writeln!(out, "| method | takes | answers | for | what |\n|---|---|---|---|---|").unwrap();
        for (index, method) in (0..).zip(&service.method) {
            let permission = permission_of(&format!("/{name}/{}", method.name())).expect("a permission");
            let stream = if method.server_streaming() { "stream of " } else { "" };
            writeln!(
                out,
                "| `{}` | `{}` | {stream}`{}` | {} | {} |",
                method.name(),
                short(method.input_type()),
                short(method.output_type()),
                caller(permission),
                cell(self.comment(&[SERVICES, number, MEMBERS, index])),
            )
            .unwrap();
        }
    }

    fn message(&self, out: &mut String, number: i32, message: &DescriptorProto) {
        writeln!(out, "\n### {}\n\n{}", message.name(), self.comment(&[MESSAGES, number])).unwrap();
        if message.field.is_empty() {
            return;
        }
        writeln!(out, "\n| field | type | what |\n|---|---|---|").unwrap();
        for (index, field) in (0..).zip(&message.field) {
            let comment = self.comment(&[MESSAGES, number, MEMBERS, index]);
            writeln!(out, "| `{}` | {} | {} |", field.name(), kind(message, field), cell(comment)).unwrap();
        }
    }

    fn enumeration(&self, out: &mut String, number: i32, enumeration: &EnumDescriptorProto) {
        writeln!(out, "\n### {}\n\n{}", enumeration.name(), self.comment(&[ENUMS, number])).unwrap();
        writeln!(out, "\n| value | what |\n|---|---|").unwrap();
        for (index, value) in (0..).zip(&enumeration.value) {
            let comment = self.comment(&[ENUMS, number, MEMBERS, index]);
            writeln!(out, "| `{}` | {} |", value.name(), cell(comment)).unwrap();
        }
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn short(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap()
}

fn caller(permission: Permission) -> &'static str {
    match permission {
        Permission::TenantRead => "tenant, reads",
        Permission::TenantWrite => "tenant, writes",
        Permission::Operator => "operator",
        Permission::FleetJoin => "executor with a pool's token",
        Permission::Fleet => "executor with a session",
    }
}

fn kind(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| nested.name() == short(field.type_name()));
    if let Some(entry) = entry {
        return format!("map of {} to {}", kind(entry, &entry.field[0]), kind(entry, &entry.field[1]));
    }
    let name = match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
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
    let mut files: Vec<File> =
        ours.filter(|file| !file.package().contains("options")).map(File::new).collect();
    // What users meet comes first.
    files
        .sort_by_key(|file| (file.descriptor.package() != "orchid.v1", file.descriptor.package().to_owned()));
    let mut out = String::new();
    for file in &files {
        for (number, service) in (0..).zip(&file.descriptor.service) {
            file.service(&mut out, number, service);
        }
        if file.descriptor.service.is_empty() {
            writeln!(out, "\n## {}: shared messages", file.descriptor.package()).unwrap();
        }
        for (number, message) in (0..).zip(&file.descriptor.message_type) {
            file.message(&mut out, number, message);
        }
        for (number, enumeration) in (0..).zip(&file.descriptor.enum_type) {
            file.enumeration(&mut out, number, enumeration);
        }
    }
    out
}

#[test]
fn the_reference_is_what_the_protos_say() {
    let page = fs::read_to_string(path()).expect("docs/api.md");
    let (_, written) = page.split_once(MARKER).expect("the marker of the reference in docs/api.md");
    assert!(
        written == reference(),
        "docs/api.md differs from the protos: cargo test -p orchid-control-plane --test api_reference -- --ignored"
    );
}

#[test]
fn every_method_and_field_is_documented() {
    let reference = reference();
    let bare: Vec<&str> =
        reference.lines().filter(|line| line.starts_with('|') && line.ends_with("|  |")).collect();
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
#[ignore = "writes docs/api.md"]
fn write_the_reference() {
    let page = fs::read_to_string(path()).expect("docs/api.md");
    let (head, _) = page.split_once(MARKER).expect("the marker of the reference in docs/api.md");
    fs::write(path(), format!("{head}{MARKER}{}", reference())).expect("docs/api.md");
}

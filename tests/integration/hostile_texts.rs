//! Every text of every method, found in the descriptor set, is sent with hostile content: the
//! server refuses it, names the field, and spends no time on it.

use std::time::{Duration, Instant};

use orchid_proto::{DESCRIPTOR_SET, Permission, permission_of};
use orchid_tests::{ScriptedExecutor, StackOptions, Tenant, TestStack};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// Time that the server may spend on a request that it refuses.
const MAX_WORK: Duration = Duration::from_millis(100);
/// Multiple of a plain call's time that is added, for machines that are slow or busy.
const SLACK: u32 = 3;
/// Tries of a call that takes too long. Another process may have had the processor meanwhile.
const TRIES: usize = 4;
const LARGE: usize = 1024 * 1024 + 1;

/// Sends and receives messages as bytes.
#[derive(Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// A text of a request: the numbers of the fields that lead to it, and its pointer.
#[derive(Clone)]
struct TextField {
    numbers: Vec<u32>,
    pointer: String,
    kind: FieldKind,
}

#[derive(Clone, Copy, PartialEq)]
enum FieldKind {
    Text,
    /// A `google.protobuf.Struct`, which holds texts at any depth.
    Document,
    /// A report of an executor, which is limited where it is stored.
    Report,
}

struct Method {
    path: String,
    texts: Vec<TextField>,
    streams: bool,
}

/// Returns the methods of Orchid with the texts of their requests.
fn methods() -> Vec<Method> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let mut found = Vec::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("orchid.")) {
        for service in &file.service {
            for method in &service.method {
                let mut texts = Vec::new();
                collect(&set, method.input_type(), &[], "", &mut texts);
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                found.push(Method { path, texts, streams: method.server_streaming() });
            }
        }
    }
    assert!(found.len() > 40, "{} methods", found.len());
    found
}

fn message<'s>(set: &'s FileDescriptorSet, name: &str) -> Option<&'s DescriptorProto> {
    set.file.iter().find_map(|file| {
        let short = name.strip_prefix(&format!(".{}.", file.package()))?;
        file.message_type.iter().find(|message| message.name() == short)
    })
}

fn collect(set: &FileDescriptorSet, name: &str, numbers: &[u32], pointer: &str, texts: &mut Vec<TextField>) {
    let Some(found) = message(set, name) else { return };
    for field in &found.field {
        let inner = (field.r#type() == Type::Message).then(|| field.type_name());
        let is_list = field.label() == Label::Repeated;
        let resource =
            |name| message(set, name).is_some_and(|inner| inner.field.iter().any(|f| f.name() == "etag"));
        let step = match inner {
            Some(inner) if numbers.is_empty() && resource(inner) => String::new(),
            _ => format!("/{}{}", field.name(), if is_list { "/0" } else { "" }),
        };
        let pointer = format!("{pointer}{step}");
        let mut numbers = numbers.to_vec();
        numbers.push(u32::try_from(field.number()).unwrap());
        match (field.r#type(), inner) {
            (Type::String, _) => {
                let kind = if is_report(name, field) { FieldKind::Report } else { FieldKind::Text };
                texts.push(TextField { numbers, pointer, kind });
            }
            (_, Some(".google.protobuf.Struct")) => {
                texts.push(TextField { numbers, pointer, kind: FieldKind::Document });
            }
            (_, Some(".google.protobuf.FieldMask")) => {
                numbers.push(1);
                texts.push(TextField {
                    numbers,
                    pointer: format!("{pointer}/paths/0"),
                    kind: FieldKind::Text,
                });
            }
            (_, Some(inner)) if inner.starts_with(".orchid.") => {
                collect(set, inner, &numbers, &pointer, texts)
            }
            _ => {}
        }
    }
}

fn is_report(message: &str, field: &FieldDescriptorProto) -> bool {
    let is_id = matches!(field.name(), "tenant_id" | "execution_id" | "id");
    message.starts_with(".orchid.executor.") && !is_id && message != ".orchid.executor.v1.RegisterRequest"
}

/// Encodes a field with these bytes.
fn encoded(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 12);
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut out);
    prost::encoding::encode_varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

fn nested(numbers: &[u32], content: &[u8]) -> Vec<u8> {
    numbers.iter().rev().fold(content.to_vec(), |inner, number| encoded(*number, &inner))
}

/// Encodes a Struct with one member.
fn structure(name: &str, value: &[u8]) -> Vec<u8> {
    encoded(1, &[encoded(1, name.as_bytes()), encoded(2, value)].concat())
}

fn hostile(kind: FieldKind) -> Vec<(&'static str, Vec<u8>)> {
    let large = "x".repeat(LARGE);
    match kind {
        FieldKind::Text | FieldKind::Report => vec![
            ("1 MiB", large.into_bytes()),
            ("NUL", b"a\0b".to_vec()),
            ("a control character", b"\x01".to_vec()),
            ("another control character", b"\x7f".to_vec()),
            ("bytes that are not UTF-8", vec![0xff]),
        ],
        FieldKind::Document => {
            let text = |text: &str| encoded(3, text.as_bytes());
            // Each level is a member `a` with the next object.
            let deep = |levels| {
                (0..levels).fold(Vec::new(), |inner: Vec<u8>, _| structure("a", &encoded(5, &inner)))
            };
            vec![
                ("1 MiB", structure("a", &text(&large))),
                ("a name of 1 MiB", structure(&large, &text("a"))),
                ("NUL", structure("a", &text("a\0b"))),
                ("NUL in a name", structure("a\0b", &text("a"))),
                ("40 levels", deep(40)),
                ("5000 levels", deep(5000)),
            ]
        }
    }
}

struct Callers {
    channel: Channel,
    tenant: Tenant,
    executor: ScriptedExecutor,
}

impl Callers {
    fn request(&self, path: &str, body: &[u8]) -> Request<Vec<u8>> {
        let body = body.to_vec();
        match permission_of(path).unwrap() {
            Permission::TenantRead | Permission::TenantWrite => self.tenant.request(body),
            Permission::Operator => Request::new(body),
            Permission::FleetJoin => {
                let mut request = Request::new(body);
                let token = format!("Bearer {}", orchid_tests::environment::POOL_TOKEN);
                request.metadata_mut().insert("authorization", token.parse().unwrap());
                request
            }
            Permission::Fleet => self.executor.request(body),
        }
    }

    /// Calls a method, and returns its status and the time that it took.
    async fn call(&self, method: &Method, body: &[u8]) -> (Option<Status>, Duration) {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.unwrap();
        let path: PathAndQuery = method.path.parse().unwrap();
        let request = self.request(&method.path, body);
        let started = Instant::now();
        let status = if method.streams {
            match grpc.server_streaming(request, path, RawCodec).await {
                Ok(stream) => stream.into_inner().message().await.err(),
                Err(status) => Some(status),
            }
        } else {
            grpc.unary(request, path, RawCodec).await.err()
        };
        (status, started.elapsed())
    }

    /// Calls a method until the server has spent little enough time, and returns the status.
    async fn quick_call(&self, method: &Method, what: &str, body: &[u8]) -> Option<Status> {
        // The same number of bytes, in a field that no message has: read, and skipped.
        let plain = encoded(1000, &vec![b'x'; body.len()]);
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let (_, base) = self.call(method, &plain).await;
            let (status, took) = self.call(method, body).await;
            if took <= MAX_WORK + base * SLACK {
                return status;
            }
            seen.push((took, base));
        }
        panic!("{} took too long for {what}: {seen:?} (and a plain call)", method.path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_refused_quickly_with_its_field() {
    let settings = vec![("ORCHID_REQUESTS_PER_SECOND", "100000".to_owned())];
    let options = StackOptions { executors: 0, control_plane_settings: settings, ..StackOptions::default() };
    let stack = TestStack::start(options).await;
    let callers = Callers {
        channel: stack.channel(0),
        tenant: stack.tenant().await,
        executor: stack.scripted_executor().await,
    };
    let mut texts = 0;
    let mut wrong = Vec::new();
    for method in methods() {
        for text in &method.texts {
            texts += 1;
            for (what, content) in hostile(text.kind) {
                let place = format!("{} {}: {what}", method.path, text.pointer);
                let body = nested(&text.numbers, &content);
                let status = callers.quick_call(&method, &place, &body).await;
                if let Some(problem) = judge(text, what, status.as_ref()) {
                    wrong.push(format!("{place}: {problem}"));
                }
            }
        }
    }
    assert!(texts > 80, "{texts} texts");
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    drop(callers);
    stack.end().await;
}

/// Explains what is wrong with the response to a hostile text, if anything is.
fn judge(text: &TextField, what: &str, status: Option<&Status>) -> Option<String> {
    let Some(status) = status else {
        return (text.kind != FieldKind::Report).then(|| "was accepted".to_owned());
    };
    if status.code() != Code::InvalidArgument {
        return Some(status.to_string());
    }
    // The rest of the item is empty, so that another field of it may be refused first.
    if text.kind == FieldKind::Report && !what.contains("UTF-8") {
        return None;
    }
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    // The decoder does not count the elements of lists.
    let wanted = if what.contains("UTF-8") { text.pointer.replace("/0", "") } else { text.pointer.clone() };
    let is_named = fields
        .iter()
        .any(|field| *field == wanted || (text.kind == FieldKind::Document && field.starts_with(&wanted)));
    (!is_named).then(|| format!("names {fields:?} instead of {wanted}"))
}

//! Digests, signatures and identifiers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::call::LibraryFunction;
use super::call::ParamType::{Object, Text};
use super::call::{CallArg, CheckedArgs, text};
use super::jwt;
use crate::expr::eval::evaluation::{EvalResult, Evaluation};
use crate::value::Rcvar;

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "sha256",
        "sha256(text) → text",
        "the SHA-256 of the text, in lower-case hexadecimal",
        ("sha256('abc')", "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""),
        &[Text],
        |evaluation, args| {
            charge_digest(evaluation, args.text(0))?;
            text(evaluation, hex::encode(Sha256::digest(args.text(0))))
        },
    ),
    LibraryFunction::new(
        "md5",
        "md5(text) → text",
        "the MD5 of the text, in lower-case hexadecimal",
        ("md5('abc')", "\"900150983cd24fb0d6963f7d28e17f72\""),
        &[Text],
        |evaluation, args| {
            charge_digest(evaluation, args.text(0))?;
            text(evaluation, hex::encode(Md5::digest(args.text(0))))
        },
    ),
    LibraryFunction::new(
        "hmac_sha256",
        "hmac_sha256(key: text, text, encoding?: 'hex' | 'base64') → text",
        "the HMAC-SHA-256 of the text, in lower-case hexadecimal (default) or Base64",
        (
            "hmac_sha256('key', 'The quick brown fox jumps over the lazy dog')",
            "\"f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8\"",
        ),
        &[Text, Text, Text],
        hmac_sha256,
    )
    .optional(1),
    LibraryFunction::new(
        "jwt_sign",
        "jwt_sign(claims: object, key: text, alg: text, header?: object) → text",
        "a signed JSON Web Token; the key is the shared secret for `alg` HS256, HS384 or HS512, and a private key (PKCS#8 in PEM) for RS256, RS384, RS512, PS256, PS384, PS512, ES256 or ES384",
        ("length(split(jwt_sign({sub: 'orchid'}, 'key', 'HS256'), '.'))", "3"),
        &[Object, Text, Text, Object],
        jwt::sign,
    )
    .optional(1),
    LibraryFunction::new(
        "uuid",
        "uuid() → text",
        "a random UUID (version 4), different for each call",
        ("length(uuid())", "36"),
        &[],
        |evaluation, _| {
            let bytes = evaluation.env.draw();
            text(evaluation, uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
        },
    ),
];

/// Charges a digest at 8 bytes a step, in addition to the cost of any call: hashing is slow.
fn charge_digest(evaluation: &mut Evaluation<'_>, text: &str) -> EvalResult<()> {
    evaluation.charge_steps(text.len() / 8)
}

fn hmac_sha256(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    charge_digest(evaluation, args.text(0))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(args.text(0).as_bytes())
        .map_err(|_| evaluation.fail("the key cannot be used"))?;
    charge_digest(evaluation, args.text(1))?;
    mac.update(args.text(1).as_bytes());
    let digest = mac.finalize().into_bytes();
    match args.value(2).map_or("hex", |_| args.text(2)) {
        "hex" => text(evaluation, hex::encode(digest)),
        "base64" => text(evaluation, STANDARD.encode(digest)),
        _ => Err(evaluation.fail("the encoding is neither 'hex' nor 'base64'")),
    }
}

//! Digests, signatures and identifiers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jmespath::Rcvar;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::Function;
use super::Param::{Object, Text};
use super::call::{Arg, Args, text};
use super::jwt;
use crate::expr::{Outcome, Run};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "sha256",
        "sha256(text) → text",
        "the SHA-256 of the text, in lower-case hexadecimal",
        ("sha256('abc')", "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""),
        &[Text],
        |run, args| {
            pay_digest(run, args.text(0))?;
            text(run, hex::encode(Sha256::digest(args.text(0))))
        },
    ),
    Function::new(
        "md5",
        "md5(text) → text",
        "the MD5 of the text, in lower-case hexadecimal",
        ("md5('abc')", "\"900150983cd24fb0d6963f7d28e17f72\""),
        &[Text],
        |run, args| {
            pay_digest(run, args.text(0))?;
            text(run, hex::encode(Md5::digest(args.text(0))))
        },
    ),
    Function::new(
        "hmac_sha256",
        "hmac_sha256(key: text, text, encoding?: 'hex' | 'base64') → text",
        "the HMAC of the text with SHA-256, in lower-case hexadecimal or in Base64",
        (
            "hmac_sha256('key', 'The quick brown fox jumps over the lazy dog')",
            "\"f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8\"",
        ),
        &[Text, Text, Text],
        hmac_sha256,
    )
    .optional(1),
    Function::new(
        "jwt_sign",
        "jwt_sign(claims: object, key: text, alg: text, header?: object) → text",
        "a signed JSON Web Token; `alg` is HS256, HS384, HS512 (the key is the secret), RS256, RS384, RS512, PS256, PS384, PS512, ES256 or ES384 (the key is PKCS#8 in PEM)",
        ("length(split(jwt_sign({sub: 'orchid'}, 'key', 'HS256'), '.'))", "3"),
        &[Object, Text, Text, Object],
        jwt::sign,
    )
    .optional(1),
    Function::new(
        "uuid",
        "uuid() → text",
        "a new random UUID (version 4); each call makes another",
        ("length(uuid())", "36"),
        &[],
        |run, _| {
            let bytes = run.env.draw();
            text(run, uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
        },
    ),
];

/// A digest is slow work for its text: 8 bytes a step, beside what any function pays.
fn pay_digest(run: &mut Run<'_>, text: &str) -> Outcome<()> {
    run.pay_steps(text.len() / 8)
}

fn hmac_sha256(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    pay_digest(run, args.text(0))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(args.text(0).as_bytes())
        .map_err(|_| run.fail("the key cannot be used"))?;
    pay_digest(run, args.text(1))?;
    mac.update(args.text(1).as_bytes());
    let digest = mac.finalize().into_bytes();
    match args.value(2).map_or("hex", |_| args.text(2)) {
        "hex" => text(run, hex::encode(digest)),
        "base64" => text(run, STANDARD.encode(digest)),
        _ => Err(run.fail("the encoding is neither 'hex' nor 'base64'")),
    }
}

//! JSON Web Tokens (RFC 7519), signed with shared secrets or private keys.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::{hmac, signature};

use super::call::{CallArg, CheckedArgs, text};
use super::json::bounded_json;
use crate::expr::eval::evaluation::{EvalResult, Evaluation};
use crate::value::{Rcvar, Variable};

/// Steps that a signature costs. An RSA signature takes about a millisecond.
const SIGNATURE_STEPS: usize = 20_000;

/// Signs a token: `jwt_sign(claims, key, alg, header)`. No error contains any part of the key.
pub(super) fn sign(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    evaluation.charge_steps(SIGNATURE_STEPS)?;
    let alg = args.text(2).to_owned();
    let mut header = std::collections::BTreeMap::from([
        ("alg".to_owned(), Rcvar::new(Variable::String(alg.clone()))),
        ("typ".to_owned(), Rcvar::new(Variable::String("JWT".to_owned()))),
    ]);
    if let Some(Variable::Object(members)) = args.value(3).map(|value| &**value) {
        for (name, value) in members {
            // The header must name the algorithm that signs.
            if name == "alg" {
                return Err(
                    evaluation.fail("the header must not have a member alg; it is the third argument")
                );
            }
            header.insert(name.clone(), value.clone());
        }
    }
    let header = bounded_json(evaluation, &Variable::Object(header))?;
    let claims = match args.value(0) {
        Some(claims) => bounded_json(evaluation, claims)?,
        None => return Err(evaluation.fail("no claims")),
    };
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature =
        signature_of(&alg, args.text(1), signed.as_bytes()).map_err(|message| evaluation.fail(message))?;
    text(evaluation, format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn signature_of(alg: &str, key: &str, message: &[u8]) -> Result<Vec<u8>, &'static str> {
    let secret =
        |algorithm| Ok(hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), message).as_ref().to_vec());
    match alg {
        "HS256" => secret(hmac::HMAC_SHA256),
        "HS384" => secret(hmac::HMAC_SHA384),
        "HS512" => secret(hmac::HMAC_SHA512),
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256, key, message),
        "RS384" => rsa(&signature::RSA_PKCS1_SHA384, key, message),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512, key, message),
        "PS256" => rsa(&signature::RSA_PSS_SHA256, key, message),
        "PS384" => rsa(&signature::RSA_PSS_SHA384, key, message),
        "PS512" => rsa(&signature::RSA_PSS_SHA512, key, message),
        "ES256" => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, key, message),
        "ES384" => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, key, message),
        _ => Err(
            "the algorithm is not one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384",
        ),
    }
}

fn rsa(
    padding: &'static dyn signature::RsaEncoding,
    key: &str,
    message: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let pair = signature::RsaKeyPair::from_pkcs8(&pkcs8(key)?)
        .map_err(|_| "the key is not a usable RSA key in PKCS#8")?;
    let mut signed = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut signed).map_err(|_| "signing failed")?;
    Ok(signed)
}

fn ecdsa(
    algorithm: &'static signature::EcdsaSigningAlgorithm,
    key: &str,
    message: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let random = SystemRandom::new();
    let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8(key)?, &random)
        .map_err(|_| "the key is not a usable key of this curve in PKCS#8")?;
    Ok(pair.sign(&random, message).map_err(|_| "signing failed")?.as_ref().to_vec())
}

/// Decodes the bytes between `-----BEGIN PRIVATE KEY-----` and its end line.
fn pkcs8(pem: &str) -> Result<Vec<u8>, &'static str> {
    let body = pem
        .split_once("-----BEGIN PRIVATE KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
        .map(|(body, _)| body)
        .ok_or("the key is not PKCS#8 in PEM (BEGIN PRIVATE KEY)")?;
    let base64: String = body.chars().filter(|char| !char.is_whitespace()).collect();
    STANDARD.decode(base64).map_err(|_| "the key is not PKCS#8 in PEM (BEGIN PRIVATE KEY)")
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair as _;

    use super::*;
    use crate::expr::tests::eval;

    #[test]
    fn signature_covers_header_and_claims() {
        let token =
            eval("jwt_sign({sub: 'orchid', n: `9007199254740993`}, 'key', 'HS256', {kid: 'k1'})").unwrap();
        let token = token.trim_matches('"');
        let parts: Vec<&str> = token.split('.').collect();
        let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(text(parts[0]), r#"{"alg":"HS256","kid":"k1","typ":"JWT"}"#);
        assert_eq!(text(parts[1]), r#"{"n":9007199254740993,"sub":"orchid"}"#);
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn ecdsa_signature_verifies_with_the_public_key() {
        let random = SystemRandom::new();
        let made =
            signature::EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .unwrap();
        let pair = signature::EcdsaKeyPair::from_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            made.as_ref(),
            &random,
        )
        .unwrap();
        let pem = format!(
            "-----BEGIN {0}-----\n{1}\n-----END {0}-----\n",
            "PRIVATE KEY",
            STANDARD.encode(made.as_ref())
        );
        let signed = signature_of("ES256", &pem, b"message").unwrap();
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
            .verify(b"message", &signed)
            .unwrap();
    }

    #[test]
    fn wrong_key_or_algorithm_error_hides_the_key() {
        for (alg, words) in
            [("RS256", "not PKCS#8 in PEM"), ("ES256", "not PKCS#8 in PEM"), ("none", "not one of HS256")]
        {
            let error = signature_of(alg, "hush", b"m").unwrap_err();
            assert!(error.contains(words) && !error.contains("hush"), "{error}");
        }
    }
}

//! Encodings of text: percent-encoding, Base64, hexadecimal and XML. All of them encode UTF-8
//! bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

use super::call::LibraryFunction;
use super::call::ParamType::Text;
use super::call::{CallArg, CheckedArgs, text};
use crate::expr::eval::evaluation::{EvalResult, Evaluation};
use crate::links::percent_encode;
use crate::value::Rcvar;

/// Decodes Base64 with or without padding. The url-safe alphabet is mapped to the standard one
/// before.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "url_encode",
        "url_encode(text) → text",
        "the text with everything percent-encoded except letters, digits and `-._~`",
        ("url_encode('a b&c/ü')", "\"a%20b%26c%2F%C3%BC\""),
        &[Text],
        |evaluation, args| text(evaluation, percent_encode(args.text(0))),
    ),
    LibraryFunction::new(
        "url_decode",
        "url_decode(text) → text",
        "the percent-decoded text; `+` stays a plus sign",
        ("url_decode('a%20b%26c')", "\"a b&c\""),
        &[Text],
        url_decode,
    ),
    LibraryFunction::new(
        "base64_encode",
        "base64_encode(text) → text",
        "the text in standard Base64 with padding",
        ("base64_encode('orchid!')", "\"b3JjaGlkIQ==\""),
        &[Text],
        |evaluation, args| {
            let subject = args.text(0);
            evaluation.charge_text(subject.len())?;
            text(evaluation, STANDARD.encode(subject))
        },
    ),
    LibraryFunction::new(
        "base64_decode",
        "base64_decode(text) → text",
        "the text decoded from standard or url-safe Base64, with or without padding",
        ("base64_decode('b3JjaGlkIQ')", "\"orchid!\""),
        &[Text],
        base64_decode,
    ),
    LibraryFunction::new(
        "hex",
        "hex(text) → text",
        "the bytes of the text in lower-case hexadecimal",
        ("hex('aü')", "\"61c3bc\""),
        &[Text],
        |evaluation, args| {
            let subject = args.text(0);
            evaluation.charge_text(subject.len())?;
            text(evaluation, hex::encode(subject))
        },
    ),
    LibraryFunction::new(
        "xml_escape",
        "xml_escape(text) → text",
        "the text with `&`, `<`, `>`, `\"` and `'` escaped for XML",
        ("xml_escape('a<b & c')", "\"a&lt;b &amp; c\""),
        &[Text],
        xml_escape,
    ),
];

fn url_decode(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let decoded = percent_decode_str(args.text(0))
        .decode_utf8()
        .map_err(|_| evaluation.fail("the bytes are not UTF-8 text"))?;
    text(evaluation, decoded)
}

fn base64_decode(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let subject = args.text(0);
    evaluation.charge_text(subject.len())?;
    let standard = subject.trim().replace('-', "+").replace('_', "/");
    let bytes = LENIENT.decode(standard).map_err(|_| evaluation.fail("the text is not Base64"))?;
    let decoded = String::from_utf8(bytes).map_err(|_| evaluation.fail("the bytes are not UTF-8 text"))?;
    text(evaluation, decoded)
}

fn xml_escape(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let subject = args.text(0);
    // Charged before the text is built: escaping adds at most five bytes to a character.
    evaluation.charge_text(subject.len().saturating_mul(5))?;
    let mut escaped = String::with_capacity(subject.len());
    for char in subject.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    text(evaluation, escaped)
}

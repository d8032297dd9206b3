//! Encodings of text. Text is taken as its UTF-8 bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jmespath::Rcvar;
use percent_encoding::percent_decode_str;

use super::Function;
use super::Param::Text;
use super::call::{Arg, Args, text};
use crate::expr::{Outcome, Run};
use crate::links::percent_encode;

/// Standard and url-safe alphabets are both read (one is mapped to the other first), with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "url_encode",
        "url_encode(text) → text",
        "the text percent-encoded, all but letters, digits and `-._~`",
        ("url_encode('a b&c/ü')", "\"a%20b%26c%2F%C3%BC\""),
        &[Text],
        |run, args| text(run, percent_encode(args.text(0))),
    ),
    Function::new(
        "url_decode",
        "url_decode(text) → text",
        "the text with its percent-encoding undone; `+` stays",
        ("url_decode('a%20b%26c')", "\"a b&c\""),
        &[Text],
        url_decode,
    ),
    Function::new(
        "base64_encode",
        "base64_encode(text) → text",
        "standard Base64, with padding",
        ("base64_encode('orchid!')", "\"b3JjaGlkIQ==\""),
        &[Text],
        |run, args| {
            let subject = args.text(0);
            run.pay_text(subject.len())?;
            text(run, STANDARD.encode(subject))
        },
    ),
    Function::new(
        "base64_decode",
        "base64_decode(text) → text",
        "text from Base64 or its url-safe form, padded or not",
        ("base64_decode('b3JjaGlkIQ')", "\"orchid!\""),
        &[Text],
        base64_decode,
    ),
    Function::new(
        "hex",
        "hex(text) → text",
        "the bytes of the text in lower-case hexadecimal",
        ("hex('aü')", "\"61c3bc\""),
        &[Text],
        |run, args| {
            let subject = args.text(0);
            run.pay_text(subject.len())?;
            text(run, hex::encode(subject))
        },
    ),
    Function::new(
        "xml_escape",
        "xml_escape(text) → text",
        "the text with `&`, `<`, `>`, `\"` and `'` escaped for XML",
        ("xml_escape('a<b & c')", "\"a&lt;b &amp; c\""),
        &[Text],
        xml_escape,
    ),
];

fn url_decode(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let decoded = percent_decode_str(args.text(0))
        .decode_utf8()
        .map_err(|_| run.fail("the bytes are not UTF-8 text"))?;
    text(run, decoded)
}

fn base64_decode(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let subject = args.text(0);
    run.pay_text(subject.len())?;
    let standard = subject.trim().replace('-', "+").replace('_', "/");
    let bytes = LENIENT.decode(standard).map_err(|_| run.fail("the text is not Base64"))?;
    let decoded = String::from_utf8(bytes).map_err(|_| run.fail("the bytes are not UTF-8 text"))?;
    text(run, decoded)
}

fn xml_escape(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let subject = args.text(0);
    run.pay_text(subject.len().saturating_mul(5))?;
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
    text(run, escaped)
}

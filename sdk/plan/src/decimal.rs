//! Exact decimals of up to 36 digits.
//!
//! Numeric cursors are compared and moved as decimals, whether the API sends them as JSON numbers
//! or as text. Nothing is rounded; numbers with more digits are refused.

use std::cmp::Ordering;
use std::fmt;

/// Maximum number of digits, before and after the point together.
const MAX_DIGITS: u32 = 36;

/// `mantissa` × 10^-`scale`, below 10^36, with at most 36 digits after the point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// Parses a JSON number. Leading zeros are allowed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (number, exponent) = match rest.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (number, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        // The length is bounded before the digits are read, so that a hostile text costs nothing.
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.len() > 128 {
            return None;
        }
        let scale = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        }
        // A negative scale means trailing zeros, as in `1e3`. They become digits of the mantissa.
        if scale < 0 {
            let zeros = u32::try_from(-scale).ok().filter(|zeros| mantissa == 0 || *zeros <= MAX_DIGITS)?;
            mantissa = if mantissa == 0 { 0 } else { mantissa.checked_mul(10_i128.pow(zeros))? };
        }
        let scale = u32::try_from(scale.max(0)).ok()?;
        Self { mantissa: if negative { -mantissa } else { mantissa }, scale }.bounded()
    }

    fn bounded(self) -> Option<Self> {
        (self.mantissa.unsigned_abs() < 10_u128.pow(MAX_DIGITS) && self.scale <= MAX_DIGITS).then_some(self)
    }

    /// Returns the difference, with as many digits after the point as the more precise operand.
    pub(crate) fn checked_sub(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let aligned = |number: Self| number.mantissa.checked_mul(10_i128.checked_pow(scale - number.scale)?);
        let mantissa = aligned(self)?.checked_sub(aligned(other)?)?;
        Self { mantissa, scale }.bounded()
    }

    /// Returns the integral part.
    pub(crate) fn whole(self) -> i128 {
        self.mantissa / 10_i128.pow(self.scale)
    }

    /// Returns the integral part of the number times 10^`places`.
    pub(crate) fn scaled(self, places: u32) -> Option<i128> {
        Some(self.mantissa.checked_mul(10_i128.pow(places))? / 10_i128.pow(self.scale))
    }

    pub(crate) fn compare(self, other: Self) -> Ordering {
        let parts = |number: Self| {
            let unit = 10_i128.pow(number.scale);
            // Euclidean division makes the fraction non-negative, so that -0.5 sorts below -0.4.
            // Scaling the mantissas to a common scale instead could overflow an i128.
            let fraction = number.mantissa.rem_euclid(unit) * 10_i128.pow(MAX_DIGITS - number.scale);
            (number.mantissa.div_euclid(unit), fraction)
        };
        parts(self).cmp(&parts(other))
    }
}

/// Prints every digit, including trailing zeros after the point.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let scale = self.scale as usize;
        // Pads with zeros so that at least one digit precedes the point.
        let digits = format!("{:0>width$}", self.mantissa.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let point = if scale > 0 { "." } else { "" };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn json_numbers_and_texts_are_parsed() {
        for (text, written) in [
            ("0", "0"),
            ("-0", "0"),
            ("007", "7"),
            ("1.50", "1.50"),
            ("-0.05", "-0.05"),
            ("1e3", "1000"),
            ("12.5e1", "125"),
            ("1.5e-3", "0.0015"),
            ("18446744073709551615", "18446744073709551615"),
            ("0e99", "0"),
        ] {
            assert_eq!(decimal(text).to_string(), written, "{text}");
        }
        for wrong in
            ["", "-", "+1", "1.", ".5", "1e", "1e1.5", "0x1", "1 ", "1,5", "NaN", "1e37", "1e-37", "--1"]
        {
            assert!(Decimal::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Decimal::parse(&"9".repeat(36)).is_some());
        assert!(Decimal::parse(&"9".repeat(37)).is_none());
        assert!(Decimal::parse(&"9".repeat(4000)).is_none());
    }

    #[test]
    fn order_compares_every_digit() {
        let long = "0.000000000000000000000000000000000001";
        for (less, more) in [
            ("9007199254740992", "9007199254740993"),
            ("-1", "-0.5"),
            ("-0.5", "0"),
            ("0", long),
            ("1.4999", "1.5"),
            ("99999999999999999999999999999999999.9", "999999999999999999999999999999999999"),
        ] {
            assert_eq!(decimal(less).compare(decimal(more)), Ordering::Less, "{less} {more}");
            assert_eq!(decimal(more).compare(decimal(less)), Ordering::Greater, "{less} {more}");
        }
        assert_eq!(decimal("1.50").compare(decimal("1.5")), Ordering::Equal);
    }

    #[test]
    fn difference_keeps_the_digits_after_the_point() {
        for (a, b, expected) in [
            ("9007199254740993", "1", "9007199254740992"),
            ("1.50", "0.25", "1.25"),
            ("1.5", "0.50", "1.00"),
            ("5", "7.5", "-2.5"),
            ("1700000000.123456", "600", "1699999400.123456"),
        ] {
            assert_eq!(decimal(a).checked_sub(decimal(b)).unwrap().to_string(), expected, "{a} {b}");
        }
        assert!(decimal(&"9".repeat(36)).checked_sub(decimal("0.1")).is_none());
    }

    proptest! {
        #[test]
        fn any_parsed_text_round_trips(text in "-?[0-9]{0,20}(\\.[0-9]{0,20})?(e-?[0-9]{1,3})?") {
            if let Some(number) = Decimal::parse(&text) {
                prop_assert_eq!(decimal(&number.to_string()).compare(number), Ordering::Equal);
                prop_assert_eq!(number.checked_sub(number).map(|zero| zero.mantissa), Some(0));
            }
        }

        #[test]
        fn integers_keep_their_order(a: i64, b: i64) {
            prop_assert_eq!(decimal(&a.to_string()).compare(decimal(&b.to_string())), a.cmp(&b));
        }
    }
}

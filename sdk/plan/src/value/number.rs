//! JSON numbers that never change: integers of any size and decimals of any length keep their
//! value.
//!
//! A number that is neither a 64-bit integer nor equal to the shortest form of a double keeps its
//! text. Expressions compare it exactly, and it is printed as it came.

use std::cmp::Ordering;
use std::fmt;

/// A JSON number.
#[derive(Clone, Debug)]
pub(crate) enum Number {
    /// An integer in the range of `i64`.
    Signed(i64),
    /// An integer above the range of `i64`, in that of `u64`.
    Unsigned(u64),
    /// A decimal whose value is that of a finite double's shortest form.
    Double(f64),
    /// The text of any other number.
    Exact(Box<str>),
}

/// Digits up to which every decimal is the shortest form of its nearest double.
const DOUBLE_DIGITS: usize = 15;
/// Magnitudes between which doubles have [`DOUBLE_DIGITS`] digits.
const DOUBLE_RANGE: std::ops::Range<f64> = 1e-290..1e290;
/// Integers from here on can differ from the double that is nearest to them (2^53).
const DOUBLE_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// Creates a number from text that follows JSON's grammar of numbers.
    pub(super) fn from_json(text: &str) -> Self {
        if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return match (text.parse::<i64>(), text.parse::<u64>()) {
                // Only a double has a negative zero.
                (Ok(0), _) if text.starts_with('-') => Self::Double(-0.0),
                (Ok(signed), _) => Self::Signed(signed),
                (_, Ok(unsigned)) => Self::Unsigned(unsigned),
                _ => Self::Exact(text.into()),
            };
        }
        match text.parse::<f64>() {
            Ok(double) if double.is_finite() && is_shortest_form(text, double) => Self::Double(double),
            _ => Self::Exact(text.into()),
        }
    }

    /// Parses a JSON number without white space around it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        super::scan::is_number(text.as_bytes()).then(|| Self::from_json(text))
    }

    /// Creates a number from an integer of up to 128 bits.
    pub(crate) fn from_whole(whole: i128) -> Self {
        match (i64::try_from(whole), u64::try_from(whole)) {
            (Ok(signed), _) => Self::Signed(signed),
            (_, Ok(unsigned)) => Self::Unsigned(unsigned),
            _ => Self::Exact(whole.to_string().into()),
        }
    }

    /// Creates a number from a double, unless it is not finite.
    pub(crate) fn from_f64(double: f64) -> Option<Self> {
        double.is_finite().then_some(Self::Double(double))
    }

    /// Returns the number, if it is an integer in the range of `i64`.
    pub(crate) fn as_i64(&self) -> Option<i64> {
        if let Self::Signed(signed) = self { Some(*signed) } else { None }
    }

    /// Returns the number, if it is an integer in the range of `u64`.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Signed(signed) => u64::try_from(*signed).ok(),
            Self::Unsigned(unsigned) => Some(*unsigned),
            Self::Double(_) | Self::Exact(_) => None,
        }
    }

    /// Returns the nearest double; beyond the range of doubles it is infinite.
    pub(crate) fn as_f64(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "the nearest double is wanted")]
        match self {
            Self::Signed(signed) => *signed as f64,
            Self::Unsigned(unsigned) => *unsigned as f64,
            Self::Double(double) => *double,
            Self::Exact(text) => text.parse().unwrap_or(f64::NAN),
        }
    }

    /// Returns the number, if it is an integer of up to 128 bits.
    pub(crate) fn whole(&self) -> Option<i128> {
        match self {
            Self::Signed(signed) => Some(i128::from(*signed)),
            Self::Unsigned(unsigned) => Some(i128::from(*unsigned)),
            Self::Double(_) => None,
            Self::Exact(text) => text.parse().ok(),
        }
    }

    /// Returns true if the number is an integer: written without a point and an exponent.
    pub(crate) fn is_integer(&self) -> bool {
        match self {
            Self::Signed(_) | Self::Unsigned(_) => true,
            Self::Double(_) => false,
            Self::Exact(text) => !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')),
        }
    }

    /// Returns true if the number is beyond 64-bit integers and doubles.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// Compares two numbers as JMESPath's operators do: as doubles, unless one of them is beyond a
    /// double.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        if self.is_exact() || other.is_exact() {
            return self.compare_exactly(other);
        }
        self.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Less)
    }

    /// Compares the values of two numbers by every digit. This is a total order.
    pub(crate) fn compare_exactly(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Double(double), whole) if double.abs() < DOUBLE_INTEGER_MAX && !whole.is_exact() => {
                compare_mixed(whole, *double).reverse()
            }
            (whole, Self::Double(double)) if double.abs() < DOUBLE_INTEGER_MAX && !whole.is_exact() => {
                compare_mixed(whole, *double)
            }
            (a, b) => match (a.whole(), b.whole()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => DecimalDigits::of(&a.to_string()).compare(&DecimalDigits::of(&b.to_string())),
            },
        }
    }

    /// Returns true if both are written alike, or are the same integer or double. An integer never
    /// equals a decimal.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a == b,
            _ => self.is_integer() == other.is_integer() && self.compare_exactly(other) == Ordering::Equal,
        }
    }
}

/// Compares an integer of 64 bits with a double below 2^53, whose integral part is exact.
fn compare_mixed(whole: &Number, double: f64) -> Ordering {
    #[expect(clippy::cast_possible_truncation, reason = "below 2^53, and truncation is intended")]
    let integral = double.trunc() as i128;
    let whole = whole.whole().unwrap_or_default();
    whole.cmp(&integral).then_with(|| 0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal))
}

/// Returns whether the shortest form of a double has the value of the text that was parsed as it.
fn is_shortest_form(text: &str, double: f64) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
    if digits == 0 || (digits <= DOUBLE_DIGITS && DOUBLE_RANGE.contains(&double.abs())) {
        return true;
    }
    DecimalDigits::of(text).compare(&DecimalDigits::of(&double_text(double))) == Ordering::Equal
}

/// A decimal as its significant digits: ±0.`digits` × 10^`point`. Zero has no digits.
struct DecimalDigits {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl DecimalDigits {
    /// Reads a JSON number. An exponent beyond 64 bits counts as the largest one.
    fn of(text: &str) -> Self {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = [whole.as_bytes(), fraction.as_bytes()].concat();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        digits.truncate(significant);
        let most = if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
        let exponent =
            exponent.parse::<i64>().map_or(most, |exponent| exponent.clamp(i64::MIN / 2, i64::MAX / 2));
        let point = exponent + i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(zeros).unwrap_or(0);
        Self { negative: negative && !digits.is_empty(), digits, point }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => -1,
        };
        let magnitude = || self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if sign(self) == 0 => Ordering::Equal,
            Ordering::Equal if self.negative => magnitude().reverse(),
            Ordering::Equal => magnitude(),
            different => different,
        }
    }
}

/// Returns the shortest text that parses as the same double.
fn double_text(double: f64) -> String {
    serde_json::Number::from_f64(double).map_or_else(|| double.to_string(), |number| number.to_string())
}

/// Prints the number as JSON.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(signed) => write!(f, "{signed}"),
            Self::Unsigned(unsigned) => write!(f, "{unsigned}"),
            Self::Double(double) => f.write_str(&double_text(*double)),
            Self::Exact(text) => f.write_str(text),
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        Self::from_json(&number.to_string())
    }
}

impl From<i64> for Number {
    fn from(signed: i64) -> Self {
        Self::Signed(signed)
    }
}

impl From<i32> for Number {
    fn from(signed: i32) -> Self {
        Self::Signed(signed.into())
    }
}

impl From<u64> for Number {
    fn from(unsigned: u64) -> Self {
        i64::try_from(unsigned).map_or(Self::Unsigned(unsigned), Self::Signed)
    }
}

impl From<usize> for Number {
    fn from(unsigned: usize) -> Self {
        Self::from(unsigned as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn every_number_is_printed_with_its_value() {
        for (text, printed, exact) in [
            ("18446744073709551615", "18446744073709551615", false),
            ("18446744073709551616", "18446744073709551616", true),
            ("-9223372036854775809", "-9223372036854775809", true),
            ("123456789012345678901234567890", "123456789012345678901234567890", true),
            ("1E400", "1E400", true),
            ("-1e-400", "-1e-400", true),
            ("0e400", "0.0", false),
            ("1.10", "1.1", false),
            ("0.1", "0.1", false),
            ("0.12345678901234567", "0.12345678901234567", true),
            ("0.123456789012345678901", "0.123456789012345678901", true),
            ("100000000000000000000000", "100000000000000000000000", true),
            ("1e23", "1e+23", false),
            ("5e-324", "5e-324", false),
            ("2.4703282292062327208e-324", "2.4703282292062327208e-324", true),
            ("-0", "-0.0", false),
        ] {
            let read = number(text);
            assert_eq!((read.to_string().as_str(), read.is_exact()), (printed, exact), "{text}");
        }
        for wrong in ["", "-", "01", "1.", ".5", "1e", "+1", " 1", "1 ", "NaN", "0x1"] {
            assert!(Number::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn order_follows_every_digit() {
        let ascending = [
            "-1e400",
            "-123456789012345678901234567891",
            "-123456789012345678901234567890",
            "-9223372036854775808",
            "-5.5",
            "-5",
            "-1e-400",
            "0",
            "1e-400",
            "5e-324",
            "0.1",
            "0.10000000000000000555",
            "5",
            "5.5",
            "9007199254740992.0",
            "9007199254740992.5",
            "9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "1e23",
            "100000000000000000000001",
            "1e300",
            "1e400",
            "1e401",
            "1e99999999999999999999",
        ];
        for (index, less) in ascending.iter().enumerate() {
            assert_eq!(number(less).compare_exactly(&number(less)), Ordering::Equal, "{less}");
            for more in &ascending[index + 1..] {
                assert_eq!(number(less).compare_exactly(&number(more)), Ordering::Less, "{less} {more}");
                assert_eq!(number(more).compare_exactly(&number(less)), Ordering::Greater, "{less} {more}");
            }
        }
    }

    #[test]
    fn operators_compare_doubles_unless_a_number_is_beyond_them() {
        let compare = |a: &str, b: &str| number(a).compare(&number(b));
        assert_eq!(compare("9007199254740993", "9007199254740992"), Ordering::Equal);
        assert_eq!(
            compare("123456789012345678901234567890", "123456789012345678901234567891"),
            Ordering::Less
        );
        assert_eq!(compare("1e400", "10e399"), Ordering::Equal);
        assert_eq!(compare("1e400", "5"), Ordering::Greater);
    }

    #[test]
    fn same_numbers_have_the_same_kind() {
        assert!(!number("5").is_same(&number("5.0")));
        assert!(number("1e400").is_same(&number("10e399")));
        assert!(!number("100000000000000000000000").is_same(&number("1e23")));
    }

    proptest! {
        #[test]
        fn printing_keeps_the_value(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?") {
            let read = number(&text);
            let again = number(&read.to_string());
            prop_assert_eq!(read.compare_exactly(&again), Ordering::Equal);
            let same = DecimalDigits::of(&text).compare(&DecimalDigits::of(&read.to_string()));
            prop_assert_eq!(same, Ordering::Equal, "{}", read);
        }
    }
}

//! Counts the elements of the largest list in a JSON text, without building it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Returns the number of elements of the largest list that is not inside another one; `None` if
/// there is no list, or the text is not JSON.
pub(crate) fn largest_list(json: &[u8]) -> Option<u64> {
    serde_json::from_slice::<LargestList>(json).ok()?.0
}

/// The size of the largest list of a value.
struct LargestList(Option<u64>);

impl<'de> Deserialize<'de> for LargestList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = LargestList;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<LargestList, A::Error> {
        let mut count = 0;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(LargestList(Some(count)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<LargestList, A::Error> {
        let mut largest = None;
        while let Some((_, LargestList(size))) = members.next_entry::<IgnoredAny, LargestList>()? {
            largest = largest.max(size);
        }
        Ok(LargestList(largest))
    }

    fn visit_bool<E>(self, _: bool) -> Result<LargestList, E> {
        Ok(LargestList(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<LargestList, E> {
        Ok(LargestList(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<LargestList, E> {
        Ok(LargestList(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<LargestList, E> {
        Ok(LargestList(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<LargestList, E> {
        Ok(LargestList(None))
    }

    fn visit_unit<E>(self) -> Result<LargestList, E> {
        Ok(LargestList(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_the_largest_outer_list_are_counted() {
        assert_eq!(largest_list(b"[1,[2,3,4],{}]"), Some(3));
        assert_eq!(largest_list(br#"{"a":[1],"b":{"c":[1,2,3],"d":"x"},"e":null,"f":1.5}"#), Some(3));
        assert_eq!(largest_list(br#"{"a":[]}"#), Some(0));
        assert_eq!(largest_list(br#"{"a":{"b":true}}"#), None);
        assert_eq!(largest_list(b"[1"), None);
    }
}

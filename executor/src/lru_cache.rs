//! A small bounded cache that drops the entry that was not used for longest.
//!
//! Finding that entry looks at all of them, so a cache should hold hundreds of entries and not
//! many thousands. It keeps no locks; owners share it behind their own.

use std::collections::HashMap;
use std::hash::Hash;

/// A map of at most `capacity` entries; inserting into a full one drops the least recently used.
pub(crate) struct LruCache<K, V> {
    entries: HashMap<K, CacheEntry<V>>,
    capacity: usize,
    /// Number of uses so far; the clock by which entries are compared.
    uses: u64,
}

struct CacheEntry<V> {
    value: V,
    last_use: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> LruCache<K, V> {
    /// Creates an empty cache.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), capacity, uses: 0 }
    }

    /// Returns a copy of the value and counts this as a use of it.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.last_use = self.uses;
        Some(entry.value.clone())
    }

    /// Inserts a value, dropping the least recently used one if the cache is full.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.entries.len() >= self.capacity {
            let oldest =
                self.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.entries.remove(&oldest);
            }
        }
        self.uses += 1;
        self.entries.insert(key, CacheEntry { value, last_use: self.uses });
    }

    /// Returns all entries in no particular order, without counting a use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::LruCache;

    #[test]
    fn full_cache_drops_the_least_recently_used_entry() {
        let mut cache = LruCache::new(3);
        cache.insert(1, "one");
        for key in 2..=20 {
            cache.insert(key, "other");
            assert_eq!(cache.get(&1), Some("one"), "an entry in use stays");
        }
        let mut kept: Vec<i32> = cache.iter().map(|(key, _)| *key).collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 19, 20]);
        assert_eq!(cache.get(&2), None);
    }
}

//! The bytes that the engine holds beside what its caller handed in.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use orchid_plan::Value;

/// Change of a buffer that is too small to matter.
const ABOUT: usize = 16 * 1024;

/// Sum of the buffers of one attempt. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct BufferMeter(Arc<AtomicUsize>);

/// The part of one buffer in the sum; dropping it removes the part.
#[derive(Debug)]
pub(crate) struct MeteredBuffer {
    meter: BufferMeter,
    bytes: usize,
}

impl BufferMeter {
    /// Returns the sum.
    pub(crate) fn bytes(&self) -> usize {
        // Only a number for the caller: nothing is ordered by it.
        self.0.load(Ordering::Relaxed)
    }

    /// Adds an empty buffer.
    pub(crate) fn buffer(&self) -> MeteredBuffer {
        MeteredBuffer { meter: self.clone(), bytes: 0 }
    }

    /// Returns the same text, counted until its last slice is dropped.
    pub(crate) fn hold(&self, text: Bytes) -> Bytes {
        let mut buffer = self.buffer();
        buffer.set(text.len());
        Bytes::from_owner(HeldText { text, _buffer: buffer })
    }

    /// Returns the same value, counted with its approximate size until its last clone is dropped.
    pub(crate) fn hold_value(&self, value: Value, bytes: usize) -> HeldValue {
        HeldValue { value, buffer: self.held(bytes) }
    }

    /// Counts something of this size, unless it is too small to matter.
    pub(crate) fn held(&self, bytes: usize) -> Option<Arc<MeteredBuffer>> {
        (bytes >= ABOUT).then(|| {
            let mut buffer = self.buffer();
            buffer.set(bytes);
            Arc::new(buffer)
        })
    }
}

/// A value, and its part in the sum. Clones share both.
#[derive(Clone)]
pub(crate) struct HeldValue {
    value: Value,
    #[expect(dead_code, reason = "dropped with the value")]
    buffer: Option<Arc<MeteredBuffer>>,
}

impl HeldValue {
    /// Wraps a value that is small, or counted elsewhere.
    pub(crate) fn uncounted(value: Value) -> Self {
        Self { value, buffer: None }
    }
}

impl Deref for HeldValue {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl MeteredBuffer {
    /// Sets the size of the buffer.
    pub(crate) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.meter.0.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Sets the size of a buffer that grows often, unless it has hardly changed.
    pub(crate) fn set_about(&mut self, bytes: usize) {
        if self.bytes.abs_diff(bytes) >= ABOUT {
            self.set(bytes);
        }
    }
}

impl Drop for MeteredBuffer {
    fn drop(&mut self) {
        self.set(0);
    }
}

struct HeldText {
    text: Bytes,
    _buffer: MeteredBuffer,
}

impl AsRef<[u8]> for HeldText {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_count_as_long_as_they_are_held() {
        let meter = BufferMeter::default();
        let mut buffer = meter.buffer();
        buffer.set(10);
        buffer.set(7);
        let text = meter.hold(Bytes::from_static(b"abc"));
        let slice = text.slice(1..);
        drop(text);
        assert_eq!((slice.as_ref(), meter.bytes()), (b"bc".as_slice(), 10));
        drop((slice, buffer));
        let held = meter.hold_value(Value::null(), ABOUT);
        let clone = held.clone();
        drop(held);
        assert_eq!(meter.bytes(), ABOUT);
        drop(clone);
        let small = meter.hold_value(Value::null(), ABOUT - 1);
        assert_eq!(meter.bytes(), 0);
        drop(small);
    }
}

//! The orders of the demo upstream: a fixed number, each a pure function of its index.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

/// The number of orders; not a multiple of the page size, so that the last page is short.
pub(crate) const ORDER_COUNT: usize = 1_987;

/// The time of the oldest order: 2025-01-06T08:00:00Z.
const FIRST_ORDER_EPOCH_SECONDS: i64 = 1_736_150_400;

/// Name, article number and unit price in cents.
const PRODUCTS: [(&str, &str, u64); 16] = [
    ("Anodised desk lamp", "LMP-014", 5_990),
    ("Beech standing desk, 140 cm", "DSK-140", 48_900),
    ("Cable tray, black", "CBL-002", 2_450),
    ("Ceramic mug, 350 ml", "MUG-350", 1_290),
    ("Cork pinboard, 60 × 90", "PIN-069", 3_490),
    ("Desk fan, USB-C", "FAN-005", 2_990),
    ("Felt desk mat", "MAT-080", 3_900),
    ("Filing cabinet, 3 drawers", "CAB-003", 18_900),
    ("Footrest, adjustable", "FTR-011", 6_490),
    ("Linen notebook, dotted", "NTB-A5D", 1_450),
    ("Mesh office chair", "CHR-220", 32_900),
    ("Monitor arm, single", "ARM-001", 8_990),
    ("Noise-absorbing panel", "PNL-120", 11_500),
    ("Pen tray, walnut", "TRY-007", 2_290),
    ("Rolling whiteboard", "WBD-180", 24_900),
    ("Wool seat cushion", "CSH-040", 4_290),
];
const COUNTRIES: [&str; 8] = ["DE", "FR", "NL", "SE", "PL", "ES", "IT", "AT"];
const CARRIERS: [&str; 3] = ["parcel", "freight", "pickup"];

/// An order as the API returns it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Order {
    id: u64,
    number: String,
    status: &'static str,
    customer: Customer,
    items: Vec<OrderItem>,
    currency: &'static str,
    total: f64,
    shipping: OrderShipping,
    created_at: String,
    updated_at: String,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Customer {
    number: String,
    country: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct OrderItem {
    sku: &'static str,
    product: &'static str,
    quantity: u64,
    unit_price: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct OrderShipping {
    method: &'static str,
    tracking: Option<String>,
}

/// Returns the order at an index, oldest first.
pub(super) fn order(index: usize) -> Order {
    let mut random = SplitMix::new(index as u64);
    let lines: Vec<(usize, u64)> = (0..=random.below(4))
        .map(|_| (random.below(PRODUCTS.len() as u64) as usize, 1 + random.below(5)))
        .collect();
    let cents: u64 = lines.iter().map(|(product, quantity)| PRODUCTS[*product].2 * quantity).sum();
    let created = created_at(index, &mut random);
    let status = status(index, &mut random);
    let shipped = matches!(status, "shipped" | "delivered");
    Order {
        id: 500_000 + index as u64,
        number: format!("SO-{:06}", 100_001 + index),
        status,
        customer: Customer {
            number: format!("C-{:05}", 10_000 + random.below(640)),
            country: COUNTRIES[random.below(COUNTRIES.len() as u64) as usize],
        },
        items: lines.into_iter().map(item).collect(),
        currency: "EUR",
        total: in_units(cents),
        shipping: OrderShipping {
            method: CARRIERS[random.below(CARRIERS.len() as u64) as usize],
            tracking: shipped.then(|| format!("TRK{:010}", random.below(10_000_000_000))),
        },
        created_at: text(created),
        updated_at: text(created + TimeDelta::minutes(5 + random.below(4_000) as i64)),
        note: (random.below(12) == 0).then(|| "Deliver to the back entrance, please – ring twice".to_owned()),
    }
}

fn item((product, quantity): (usize, u64)) -> OrderItem {
    let (name, sku, cents) = PRODUCTS[product];
    OrderItem { sku, product: name, quantity, unit_price: in_units(cents) }
}

/// Returns the creation time: one order about every 17 minutes.
fn created_at(index: usize, random: &mut SplitMix) -> DateTime<Utc> {
    let seconds = FIRST_ORDER_EPOCH_SECONDS + index as i64 * 1_020 + random.below(900) as i64;
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// Returns the status by age: old orders are delivered, and one in twenty is cancelled.
fn status(index: usize, random: &mut SplitMix) -> &'static str {
    let age = ORDER_COUNT - index.min(ORDER_COUNT);
    match (random.below(20), age) {
        (0, _) => "cancelled",
        (_, 0..40) => "placed",
        (_, 40..120) => "paid",
        (_, 120..260) => "shipped",
        _ => "delivered",
    }
}

fn in_units(cents: u64) -> f64 {
    cents as f64 / 100.0
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The SplitMix64 generator: small, and with the same numbers on every platform.
struct SplitMix(u64);

impl SplitMix {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn order_is_the_same_every_time() {
        let first = serde_json::to_value(order(0)).unwrap();
        assert_eq!(first, serde_json::to_value(order(0)).unwrap());
        assert_eq!(first["number"], "SO-100001");
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn orders_have_unique_numbers_right_totals_rising_times() {
        let all: Vec<Order> = (0..ORDER_COUNT).map(order).collect();
        let numbers: BTreeSet<&str> = all.iter().map(|order| order.number.as_str()).collect();
        assert_eq!(numbers.len(), ORDER_COUNT);
        assert!(all.is_sorted_by(|a, b| a.created_at < b.created_at));
        for order in &all {
            let sum: f64 = order.items.iter().map(|item| item.unit_price * item.quantity as f64).sum();
            assert!((sum - order.total).abs() < 0.005, "{order:?}");
            assert!((1..=4).contains(&order.items.len()), "{order:?}");
        }
    }
}

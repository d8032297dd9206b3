//! The address guard: which IP addresses requests of tenants may reach.
//!
//! In: addresses, as literals in a url or from the connector's own resolver, right before they are connected to. Out:
//! let through, or refused with what kind of address it is. It never resolves a name, and never sees a url's path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fetch::cidr::Cidr;

/// An address that plans may not reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind}, and fetch.allow_private does not open it")]
pub struct AddressRefused {
    /// The address as it was asked for.
    pub address: IpAddr,
    /// What kind of address it is.
    pub kind: &'static str,
}

/// Lets public addresses through, and those that the operator opened.
#[derive(Debug, Clone, Default)]
pub struct AddressGuard {
    open: Vec<Cidr>,
}

impl AddressGuard {
    /// A guard that opens these ranges beside the public addresses.
    pub fn new(open: Vec<Cidr>) -> AddressGuard {
        AddressGuard { open }
    }

    /// Whether the address may be connected to. An address that carries an IPv4 one inside is judged by both.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let inner = embedded_v4(address);
        if self.is_open(address) || inner.is_some_and(|v4| self.is_open(IpAddr::V4(v4))) {
            return Ok(());
        }
        let kind = match (address, inner) {
            (IpAddr::V4(v4), _) => kind_of_v4(v4),
            (IpAddr::V6(v6), Some(v4)) => kind_of_v4(v4).or_else(|| kind_of_v6(v6)),
            (IpAddr::V6(v6), None) => kind_of_v6(v6),
        };
        match kind {
            Some(kind) => Err(AddressRefused { address, kind }),
            None => Ok(()),
        }
    }

    fn is_open(&self, address: IpAddr) -> bool {
        self.open.iter().any(|range| range.contains(address))
    }
}

/// Ranges of RFC 6890 and its successors that are not the public internet; the metadata services of the large clouds lie
/// in the link-local range, except for the last two.
const REFUSED_V4: [(Ipv4Addr, u8, &str); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "of this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "of a carrier's shared space"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved or broadcast"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's metadata service"),
    (Ipv4Addr::new(100, 100, 100, 200), 32, "a cloud's metadata service"),
];

const REFUSED_V6: [(Ipv6Addr, u8, &str); 12] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "a local NAT64 translation"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discard-only"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved for protocols"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "for documentation"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "of segment routing"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique local"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

fn kind_of_v4(address: Ipv4Addr) -> Option<&'static str> {
    let refused = REFUSED_V4
        .iter()
        .find(|(base, length, _)| Cidr::new(IpAddr::V4(*base), *length).contains(IpAddr::V4(address)));
    refused.map(|(_, _, kind)| *kind)
}

fn kind_of_v6(address: Ipv6Addr) -> Option<&'static str> {
    let refused = REFUSED_V6
        .iter()
        .find(|(base, length, _)| Cidr::new(IpAddr::V6(*base), *length).contains(IpAddr::V6(address)));
    refused.map(|(_, _, kind)| *kind)
}

/// The IPv4 address that an IPv6 one stands for: mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), translated
/// (`::ffff:0:a.b.c.d`), NAT64 (`64:ff9b::a.b.c.d`), 6to4 (`2002:aabb:ccdd::`), Teredo (`2001:0:…`, the client's address
/// inverted) and ISATAP (`…:0:5efe:a.b.c.d`).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let s = v6.segments();
    let last = v4_of(s[6], s[7]);
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0xffff | 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => Some(last),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(last),
        [0x2002, high, low, ..] => Some(v4_of(high, low)),
        [0x2001, 0, ..] => Some(v4_of(!s[6], !s[7])),
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some(last),
        _ => None,
    }
}

fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &AddressGuard, address: &str) -> Option<&'static str> {
        guard.check(address.parse().unwrap()).err().map(|refused| refused.kind)
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_in_every_spelling() {
        let guard = AddressGuard::default();
        let refused = [
            ("0.0.0.0", "of this network"),
            ("0.1.2.3", "of this network"),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.1", "of a carrier's shared space"),
            ("100.127.255.255", "of a carrier's shared space"),
            ("100.100.100.200", "of a carrier's shared space"),
            ("127.0.0.1", "loopback"),
            ("127.255.0.9", "loopback"),
            ("169.254.169.254", "link-local"),
            ("168.63.129.16", "a cloud's metadata service"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved for protocols"),
            ("192.168.1.1", "private"),
            ("198.19.0.1", "for benchmarks"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved or broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.1.2.3", "private"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::127.0.0.1", "loopback"),
            ("::ffff:0:10.0.0.1", "private"),
            ("64:ff9b::10.0.0.1", "private"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::1", "a local NAT64 translation"),
            ("2002:7f00:1::", "loopback"),
            ("2002:c0a8:101::1", "private"),
            ("2001:0:1:2:3:4:80ff:fffe", "loopback"),
            ("2001:db8::1", "for documentation"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("fe80::5efe:8.8.8.8", "link-local"),
            ("2606:4700::5efe:10.0.0.1", "private"),
            ("fc00::1", "unique local"),
            ("fd00:ec2::254", "unique local"),
            ("ff02::1", "multicast"),
        ];
        for (address, kind) in refused {
            assert_eq!(check(&guard, address), Some(kind), "{address}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        let guard = AddressGuard::default();
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ];
        for address in public {
            assert_eq!(check(&guard, address), None, "{address}");
        }
    }

    #[test]
    fn the_operators_list_opens_ranges_and_nothing_beside_them() {
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap(), "fd12::/16".parse().unwrap()]);
        assert_eq!(check(&guard, "127.0.0.1"), None);
        assert_eq!(check(&guard, "::ffff:127.0.0.1"), None, "the same address in another spelling");
        assert_eq!(check(&guard, "fd12::1"), None);
        assert_eq!(check(&guard, "fd13::1"), Some("unique local"));
        assert_eq!(check(&guard, "10.0.0.1"), Some("private"));
        assert_eq!(check(&guard, "::1"), Some("loopback"));
    }
}

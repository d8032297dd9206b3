//! The address guard: which IP addresses plans may reach.
//!
//! It checks literals in URLs, and every address that the connector is about to connect to. It
//! never resolves a name and never sees the path of a URL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fetch::address::range::AddressRange;

/// An address that plans may not reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind} and not in fetch.allow_private")]
pub struct AddressRefused {
    /// The refused address.
    pub address: IpAddr,
    /// The kind of address, such as `loopback`.
    pub kind: &'static str,
}

/// Allows public addresses, and those private ones that the operator has allowed.
#[derive(Debug, Clone, Default)]
pub struct AddressGuard {
    allowed: Vec<AddressRange>,
}

impl AddressGuard {
    /// Creates a guard that allows these ranges in addition to public addresses.
    pub fn new(allowed: Vec<AddressRange>) -> Self {
        Self { allowed }
    }

    /// Checks an address. An IPv6 address with an embedded IPv4 address is checked as both.
    ///
    /// # Errors
    ///
    /// Fails when the address is neither public nor in an allowed range.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let embedded = embedded_v4(address);
        if self.is_allowed(address) || embedded.is_some_and(|v4| self.is_allowed(IpAddr::V4(v4))) {
            return Ok(());
        }
        let kind = match (address, embedded) {
            (IpAddr::V4(v4), _) => refused_v4(v4),
            (IpAddr::V6(v6), Some(v4)) => refused_v4(v4).or_else(|| refused_v6(v6)),
            (IpAddr::V6(v6), None) => refused_v6(v6),
        };
        match kind {
            Some(kind) => Err(AddressRefused { address, kind }),
            None => Ok(()),
        }
    }

    fn is_allowed(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|range| range.contains(address))
    }
}

/// IPv4 ranges that are not public (RFC 6890 and its successors), with their kind. The metadata
/// services of the large clouds are in the link-local range, except for the last two entries.
const REFUSED_V4: [(Ipv4Addr, u8, &str); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "in this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "in a carrier's shared space"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "reserved for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "reserved for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "reserved for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "reserved for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved or broadcast"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's metadata service"),
    (Ipv4Addr::new(100, 100, 100, 200), 32, "a cloud's metadata service"),
];

/// The same for IPv6.
const REFUSED_V6: [(Ipv6Addr, u8, &str); 12] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "a local NAT64 translation"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discard-only"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved for protocols"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "reserved for documentation"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "reserved for documentation"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "reserved for segment routing"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique local"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// Returns the kind of an address that is not public.
fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    let refused = REFUSED_V4.iter().find(|(base, length, _)| {
        AddressRange::new(IpAddr::V4(*base), *length).contains(IpAddr::V4(address))
    });
    refused.map(|(_, _, kind)| *kind)
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    let refused = REFUSED_V6.iter().find(|(base, length, _)| {
        AddressRange::new(IpAddr::V6(*base), *length).contains(IpAddr::V6(address))
    });
    refused.map(|(_, _, kind)| *kind)
}

/// Returns the IPv4 address that is embedded in an IPv6 address: mapped (`::ffff:a.b.c.d`),
/// compatible (`::a.b.c.d`), translated (`::ffff:0:a.b.c.d`), NAT64 (`64:ff9b::a.b.c.d`), 6to4
/// (`2002:aabb:ccdd::`), Teredo (`2001:0:…`, with the client's address inverted) and ISATAP
/// (`…:0:5efe:a.b.c.d`).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let s = v6.segments();
    let last = v4_of(s[6], s[7]);
    match s {
        // `::` and `::1` look like compatible addresses, but have meanings of their own in
        // REFUSED_V6.
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
    fn private_addresses_are_refused_in_every_notation() {
        let guard = AddressGuard::default();
        let refused = [
            ("0.0.0.0", "in this network"),
            ("0.1.2.3", "in this network"),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.1", "in a carrier's shared space"),
            ("100.127.255.255", "in a carrier's shared space"),
            ("100.100.100.200", "in a carrier's shared space"),
            ("127.0.0.1", "loopback"),
            ("127.255.0.9", "loopback"),
            ("169.254.169.254", "link-local"),
            ("168.63.129.16", "a cloud's metadata service"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved for protocols"),
            ("192.168.1.1", "private"),
            ("198.19.0.1", "reserved for benchmarks"),
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
            ("2001:db8::1", "reserved for documentation"),
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
    fn public_addresses_are_allowed() {
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
    fn allowed_ranges_open_nothing_else() {
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap(), "fd12::/16".parse().unwrap()]);
        assert_eq!(check(&guard, "127.0.0.1"), None);
        assert_eq!(check(&guard, "::ffff:127.0.0.1"), None, "the same address in another notation");
        assert_eq!(check(&guard, "fd12::1"), None);
        assert_eq!(check(&guard, "fd13::1"), Some("unique local"));
        assert_eq!(check(&guard, "10.0.0.1"), Some("private"));
        assert_eq!(check(&guard, "::1"), Some("loopback"));
    }
}

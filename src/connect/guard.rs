//! Where a connector may connect to: the hosts of its file and its account, and public addresses only.
//!
//! A connector file or an account's base is text that somebody wrote; without this, it could make the
//! desk call machines inside the company. Names are resolved here and every address is looked at, so
//! that the address which was checked is the one that is connected to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Error;

/// Whether an address belongs to no private, local or special network.
pub fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => public_v4(v4),
        IpAddr::V6(v6) => public_v6(v6),
    }
}

fn public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_broadcast()
        || v4.is_documentation()
        || a == 0
        || a >= 224 // multicast and reserved
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (b == 18 || b == 19))) // benchmarks
}

fn public_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    // Addresses that carry an IPv4 one are as public as that one.
    let o = v6.octets();
    let carried = match (first, second) {
        (0, 0) => return v6.to_ipv4_mapped().is_some_and(public_v4),
        (0x64, 0xff9b) => Some(Ipv4Addr::new(o[12], o[13], o[14], o[15])),
        (0x2002, _) => Some(Ipv4Addr::new(o[2], o[3], o[4], o[5])),
        _ => None,
    };
    // Only 2000::/3 is handed out; 2001::/23 is Teredo and its like, 2001:db8::/32 is for books.
    first & 0xe000 == 0x2000
        && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        && !(first == 0x3fff && second < 0x1000)
        && carried.is_none_or(public_v4)
        || first == 0x64 && carried.is_some_and(public_v4)
}

/// Which URLs an account's requests may go to.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<String>,
    allow_private: bool,
}

impl Guard {
    /// Allows the hosts of a file and the account's own base.
    pub fn new(hosts: &[String], base: &Url, allow_private: bool) -> Guard {
        let own = authority(base);
        Guard { hosts: hosts.iter().map(|host| host.to_lowercase()).chain(own).collect(), allow_private }
    }

    /// Refuses a URL that this account has no business with.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason.
    pub fn check(&self, url: &Url) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Refused(why));
        if url.scheme() != "https" && !(self.allow_private && url.scheme() == "http") {
            return refuse(format!("{} is not https", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a URL with a user name in it".into());
        }
        let Some(own) = authority(url).filter(|own| self.hosts.contains(own)) else {
            return refuse(format!("{} is not among the allowed hosts", url.host_str().unwrap_or("no host")));
        };
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            _ => None,
        };
        if !self.allow_private && literal.is_some_and(|address| !public(address)) {
            return refuse(format!("{own} is a private address; allow_private = true permits it"));
        }
        Ok(())
    }
}

/// Host, and port where it is not the scheme's own; that is how allowed hosts are written.
fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The client's resolver: refuses a name if any of its addresses is private.
#[derive(Clone, Copy, Debug)]
pub struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            all_public(name.as_str(), &found)?;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Checks what a name resolved to.
///
/// # Errors
/// When it has a private address, even beside public ones: the next connection might take that one.
pub fn all_public(name: &str, found: &[SocketAddr]) -> Result<(), Error> {
    match found.iter().find(|address| !public(address.ip())) {
        Some(address) => Err(Error::Refused(format!(
            "{name} resolves to the private address {}; allow_private = true permits it",
            address.ip()
        ))),
        None => Ok(()),
    }
}

/// The resolver for a client, or none where private addresses are permitted.
pub fn resolver(allow_private: bool) -> Option<Arc<PublicOnly>> {
    (!allow_private).then(|| Arc::new(PublicOnly))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling of an inside address that has fooled somebody's check.
    const INSIDE: [&str; 34] = [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://017700000001/",
        "https://0/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://10.255.255.255/",
        "https://172.16.0.1/",
        "https://172.31.255.254/",
        "https://192.168.0.1/",
        "https://169.254.169.254/",
        "https://2852039166/",
        "https://100.64.0.1/",
        "https://192.0.0.8/",
        "https://198.18.0.1/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001::1]/",
        "https://[fc00::1]/",
        "https://[fd12:3456::1]/",
        "https://[fe80::1]/",
        "https://[ff02::1]/",
    ];

    #[test]
    fn inside_addresses_are_refused_in_every_spelling() {
        for source in INSIDE {
            let url = Url::parse(source).unwrap();
            let guard = Guard::new(&[], &url, false);
            assert!(matches!(guard.check(&url), Err(Error::Refused(_))), "{source}");
            assert!(Guard::new(&[], &url, true).check(&url).is_ok(), "{source} with allow_private");
        }
    }

    #[test]
    fn other_schemes_hosts_and_ports_are_refused() {
        let base = Url::parse("https://social.example.kr").unwrap();
        let guard = Guard::new(&["api.example.com".into()], &base, false);
        for (source, allowed) in [
            ("https://social.example.kr/api", true),
            ("https://SOCIAL.example.kr:443/api", true),
            ("https://api.example.com/x", true),
            ("http://social.example.kr/api", false),
            ("https://social.example.kr:8443/api", false),
            ("https://social.example.kr.evil.example/", false),
            ("https://social.example.kr@evil.example/", false),
            ("https://user:pass@social.example.kr/", false),
            ("https://evil.example/", false),
            ("file:///etc/passwd", false),
            ("gopher://social.example.kr/", false),
            ("ftp://social.example.kr/", false),
        ] {
            assert_eq!(guard.check(&Url::parse(source).unwrap()).is_ok(), allowed, "{source}");
        }
    }

    #[test]
    fn a_name_with_one_private_address_is_refused() {
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        assert!(all_public("good.example", &[at("93.184.215.14"), at("2606:2800:21f::1")]).is_ok());
        for inside in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:192.168.0.1"] {
            assert!(all_public("evil.example", &[at("93.184.215.14"), at(inside)]).is_err(), "{inside}");
        }
    }

    #[tokio::test]
    async fn the_resolver_itself_refuses_localhost() {
        let error = PublicOnly.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.to_string().contains("private address"), "{error}");
    }
}

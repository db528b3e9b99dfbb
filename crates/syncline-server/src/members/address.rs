//! Where a hub of a dataset can be connected to, as it is told from one to the other, and which of what is told is believed.
//!
//! An address that comes from somebody else is data: it has one form, a bounded length, and is used only when what is sent there is as safe on its way
//! as on the way over which the address came. Owns no state.

use std::fmt;
use std::sync::Arc;

use syncline_api::Target;

/// No address is longer, in bytes.
pub(crate) const LONGEST: usize = 512;

/// `http(s)://HOST:PORT/DATASET`, in the one form that it has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(Arc<str>);

impl Address {
    /// Of a dataset on a node; `None` when nobody could connect there, or only some could say where it is.
    pub(crate) fn of(target: &Target) -> Option<Self> {
        let text = target.to_string();
        let nowhere = target.ip().is_some_and(|ip| ip.is_unspecified() || ip.is_multicast());
        let fits = !target.dataset.is_empty() && target.port != 0 && !nowhere && text.len() <= LONGEST;
        fits.then(|| Self(text.into()))
    }

    /// Reads one that is in its one form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        Self::of(&Target::parse(text).ok()?).filter(|address| &*address.0 == text)
    }

    pub(crate) fn target(&self) -> Target {
        Target::parse(&self.0).expect("it was made of one")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Over which way addresses come to a node: the safest of those that it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// One of them is TLS: a token, and what is replicated, never leaves it.
    secure: bool,
    /// All of them stay on this machine.
    local: bool,
}

impl Way {
    /// A node that is reached and that reaches others at these addresses.
    pub(crate) fn of<'a>(ways: impl IntoIterator<Item = &'a Target>) -> Self {
        let mut all = Self { secure: false, local: true };
        for way in ways {
            all.secure |= way.secure;
            all.local &= way.is_loopback();
        }
        all
    }

    /// Whether an address that came that way may be connected to.
    pub(crate) fn admits(self, address: &Address) -> bool {
        let target = address.target();
        match (target.secure, target.is_loopback()) {
            // Somebody else's "this machine" is not this one.
            (secure, true) => self.local && (secure || !self.secure),
            (true, false) => true,
            (false, false) => !self.secure && !self.local,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(ways: &[&str]) -> Way {
        let ways: Vec<Target> = ways.iter().map(|way| Target::parse(way).unwrap()).collect();
        Way::of(&ways)
    }

    #[test]
    fn an_address_has_one_form() {
        for text in ["http://127.0.0.1:7070/d", "https://hub.example:443/a.b-c_1", "http://[::1]:80/d"] {
            assert_eq!(Address::parse(text).unwrap().as_str(), text);
        }
        let long = format!("http://{}:1/d", "a.".repeat(300));
        for text in [
            "http://127.0.0.1:7070",
            "http://127.0.0.1/d",
            "http://127.0.0.1:7070/d/",
            "HTTP://127.0.0.1:7070/d",
            "http://0.0.0.0:7070/d",
            "http://[::]:7070/d",
            "http://224.0.0.1:7070/d",
            "http://127.0.0.1:0/d",
            "http://u:p@127.0.0.1:7070/d",
            "ftp://127.0.0.1:7070/d",
            "http://hub:7070/d?x",
            "http://hub:7070/../d",
            "",
            &long,
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_goes_where_it_is_less_safe_than_where_it_came_from() {
        let address = |text: &str| Address::parse(text).unwrap();
        let tls = way(&["https://a.example:1/d", "http://127.0.0.1:2/d"]);
        assert!(tls.admits(&address("https://b.example:1/d")));
        assert!(!tls.admits(&address("http://b.example:1/d")));
        assert!(!tls.admits(&address("http://127.0.0.1:1/d")), "another machine's");
        assert!(!tls.admits(&address("https://localhost:1/d")));
        let here = way(&["http://127.0.0.1:2/d"]);
        assert!(here.admits(&address("http://127.0.0.1:1/d")) && here.admits(&address("http://[::1]:1/d")));
        assert!(here.admits(&address("https://b.example:1/d")));
        assert!(!here.admits(&address("http://b.example:1/d")), "off this machine, in the clear");
        assert!(!way(&["https://127.0.0.1:2/d"]).admits(&address("http://127.0.0.1:1/d")));
        let clear = way(&["http://a.internal:1/d"]);
        assert!(clear.admits(&address("http://b.internal:1/d")) && !clear.admits(&address("http://127.0.0.1:1/d")));
    }
}

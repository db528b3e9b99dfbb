//! Where a node and its dataset are: `http(s)://HOST:PORT/DATASET`.

use std::fmt;

use url::Url;

use crate::{Error, Result};

/// The port of a node when the address names none.
pub const DEFAULT_PORT: u16 = 7070;

/// A node, and a dataset on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether to speak TLS.
    pub secure: bool,
    /// Host name or address; IPv6 in brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The dataset's name; empty when only the node is named.
    pub dataset: String,
}

impl Target {
    /// Reads an address.
    ///
    /// # Errors
    /// `Invalid` when the text is no address of a node.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Target { text: text.chars().take(200).collect(), reason };
        let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(wrong(format!("its scheme is {other:?}"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "a token does not belong into an address; give it with --token or SYNCLINE_TOKEN".into(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("nothing may follow the dataset's name".into()));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it has no host".into()))?;
        // The default ports of the two schemes are dropped by the parser; a node's default is its own.
        let port = if url.port().is_none() && names_port(text) { url.port_or_known_default() } else { url.port() };
        let dataset = url.path().trim_matches('/');
        if !dataset.is_empty() {
            check_name(dataset).map_err(wrong)?;
        }
        Ok(Self { secure, host: host.to_owned(), port: port.unwrap_or(DEFAULT_PORT), dataset: dataset.to_owned() })
    }

    /// `http(s)://HOST:PORT`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}:{}", if self.secure { "https" } else { "http" }, self.host, self.port)
    }

    /// Whether the host is this machine, by its name.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|address| address.is_loopback())
    }

    /// The host's address, when it is one and not a name.
    #[must_use]
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// `HOST:PORT`, for messages.
    #[must_use]
    pub fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin(), self.dataset)
    }
}

/// Whether the address spells out a port, even a scheme's default one.
fn names_port(text: &str) -> bool {
    let authority = text.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or("");
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a text may name a dataset: it becomes a directory's name and a part of addresses.
///
/// # Errors
/// Why it may not.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 128 {
        return Err(format!("a dataset's name has 1 to 128 characters, not {}", name.len()));
    }
    if name.starts_with('.') || !name.chars().all(allowed) {
        return Err(format!(
            "{name:?} is no dataset name: use letters, digits, '-', '_' and '.', and do not start with '.'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let target = |secure, host: &str, port, dataset: &str| Target {
            secure,
            host: host.into(),
            port,
            dataset: dataset.into(),
        };
        for (text, expected) in [
            ("http://127.0.0.1:7070/tpch", target(false, "127.0.0.1", 7070, "tpch")),
            ("https://hub.example/tpch/", target(true, "hub.example", 7070, "tpch")),
            ("https://hub.example:443/a.b-c_1", target(true, "hub.example", 443, "a.b-c_1")),
            ("http://[::1]:80", target(false, "[::1]", 80, "")),
        ] {
            assert_eq!(Target::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, part) in [
            ("hub:7070/x", "scheme"),
            ("ftp://hub/x", "scheme"),
            ("http://user:secret@hub/x", "token"),
            ("http://hub/a/b", "name"),
            ("http://hub/..", "write http"),
            ("http://hub/.hidden", "name"),
            ("http://hub/x?y", "follow"),
            ("http://", "host"),
        ] {
            let outcome = Target::parse(text);
            match outcome {
                // `..` is resolved away by the URL parser: what is left names the node alone, never a parent.
                Ok(target) => assert_eq!((target.dataset.as_str(), text), ("", "http://hub/..")),
                Err(error) => {
                    assert!(error.to_string().contains(part), "{text}: {error}");
                    assert!(!error.to_string().contains("secret@") || text.contains("secret"), "{error}");
                }
            }
        }
    }
}

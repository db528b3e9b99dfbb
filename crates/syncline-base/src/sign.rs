//! Signatures: Ed25519 (RFC 8032), by `ring`, which connections bring along anyway.
//!
//! Owns no state: a pair of keys lives where its owner puts it. A signature is a function of key and bytes: the same bytes are signed
//! alike again.
//!
//! Not here: what is signed, where keys are kept, and who believes them.

use std::fmt;

use ring::rand::SecureRandom as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// The bytes of a public key, and of a secret one.
pub const KEY_LEN: usize = 32;
/// The bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// A secret key with its public one.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    public: [u8; KEY_LEN],
}

impl KeyPair {
    /// Draws a secret key from the operating system; `None` when that gives none.
    #[must_use]
    pub fn draw() -> Option<[u8; KEY_LEN]> {
        let mut secret = [0; KEY_LEN];
        ring::rand::SystemRandom::new().fill(&mut secret).ok()?;
        Some(secret)
    }

    /// The pair of a secret key.
    #[must_use]
    pub fn of(secret: &[u8; KEY_LEN]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).expect("any 32 bytes are a secret key of Ed25519");
        let mut public = [0; KEY_LEN];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { pair, public }
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> [u8; KEY_LEN] {
        self.public
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut signature = [0; SIGNATURE_LEN];
        signature.copy_from_slice(self.pair.sign(bytes).as_ref());
        signature
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Whether the owner of a public key has signed these bytes.
#[must_use]
pub fn verify(public: &[u8; KEY_LEN], bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(bytes, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, test 1: the secret key and its public one, and the signature of no bytes.
    #[test]
    fn it_is_the_ed25519_of_the_standard() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let secret = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let pair = KeyPair::of(&secret.try_into().unwrap());
        assert_eq!(pair.public()[..], hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"));
        let signature = pair.sign(b"");
        assert_eq!(
            signature[..],
            hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
                 d25bf5f0595bbe24655141438e7a100b")
        );
        assert!(verify(&pair.public(), b"", &signature));
        assert!(!verify(&pair.public(), b"x", &signature));
        assert!(!verify(&KeyPair::of(&[7; 32]).public(), b"", &signature));
        assert!(!verify(&[255; 32], b"", &signature), "a key that is none signs nothing");
    }

    #[test]
    fn no_two_are_drawn_alike() {
        assert_ne!(KeyPair::draw().unwrap(), KeyPair::draw().unwrap());
    }
}

//! Tokens that are kept in the store are sealed there with a key of the installation.

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use sha2::{Digest, Sha256};

use super::Secret;
use crate::clock::random_bytes;

const NONCE: usize = 12;
const TAG: usize = 16;

/// Seals texts with AES-256-GCM, each for one place: what was sealed for another is not opened.
#[derive(Clone)]
pub(super) struct Sealer([u8; 32]);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Sealer {
    /// A sealer with a key of any length; a good one is 32 random bytes, written as text.
    pub fn new(key: &Secret) -> Sealer {
        Sealer(Sha256::digest(key.reveal().as_bytes()).into())
    }

    /// Seals `text` for `place`.
    pub fn seal(&self, place: &str, text: &str) -> Option<String> {
        let (nonce, mut tag) = (random_bytes::<NONCE>(), [0; TAG]);
        let cipher = Cipher::aes_256_gcm();
        let sealed = encrypt_aead(cipher, &self.0, Some(&nonce), place.as_bytes(), text.as_bytes(), &mut tag).ok()?;
        Some(BASE64_STANDARD_NO_PAD.encode([&nonce[..], &tag[..], &sealed[..]].concat()))
    }

    /// Opens what was sealed for `place` with the same key; nothing if it was not.
    pub fn open(&self, place: &str, sealed: &str) -> Option<String> {
        let bytes = BASE64_STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, rest) = bytes.split_at_checked(NONCE)?;
        let (tag, sealed) = rest.split_at_checked(TAG)?;
        let text = decrypt_aead(Cipher::aes_256_gcm(), &self.0, Some(nonce), place.as_bytes(), sealed, tag).ok()?;
        String::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_key_in_its_place_and_nowhere_else() {
        let sealer = Sealer::new(&Secret::new("key"));
        let sealed = sealer.seal("shop", "token-123").unwrap();
        assert!(!sealed.contains("token"));
        assert_ne!(sealer.seal("shop", "token-123").unwrap(), sealed, "the same text looks different each time");
        assert_eq!(sealer.open("shop", &sealed).as_deref(), Some("token-123"));
        assert_eq!(sealer.open("office", &sealed), None);
        assert_eq!(Sealer::new(&Secret::new("other")).open("shop", &sealed), None);
        let mut broken = sealed.into_bytes();
        broken[40] ^= 1;
        assert_eq!(sealer.open("shop", std::str::from_utf8(&broken).unwrap()), None);
        assert_eq!(sealer.open("shop", "short"), None);
    }
}

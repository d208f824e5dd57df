//! Whether a delivery comes from who it says: HMAC-SHA256 over its raw bytes, compared in constant time.
//!
//! Schemes differ only in data (header, prefix, encoding, what is signed), which a connector file declares.

use std::sync::{Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::super::{
    Secret, SecretSource,
    format::{Encoding, Part, Signature, Signed},
};
use crate::{clock::Time, text::hex};

/// A secret that changes is looked for at most this often, in milliseconds.
const LOOK_AGAIN: i64 = 5_000;

/// What a header says of a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery<'a> {
    /// Its id, where the platform gives one.
    pub id: &'a str,
    /// When it was sent, as the header has it.
    pub timestamp: &'a str,
    /// Its bytes.
    pub body: &'a [u8],
}

/// A secret that may hold several keys and may change while we run.
#[derive(Debug)]
pub(super) struct Keys {
    source: SecretSource,
    known: Mutex<(Time, Vec<Key>)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key(Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Keys {
    /// Reads the keys.
    ///
    /// # Errors
    /// Where the secret was looked for in vain, or what is wrong with it; never its text.
    pub fn read(source: &SecretSource, now: Time) -> Result<Keys, String> {
        let keys = parse(&source.read()?)?;
        Ok(Keys { source: source.clone(), known: Mutex::new((now, keys)) })
    }

    /// Whether one of `signatures`, a header's value, is one of ours over `delivery`. A secret that was changed is
    /// read again before the answer is no.
    pub fn signed(&self, scheme: &Signature, delivery: &Delivery<'_>, signatures: &str, now: Time) -> bool {
        let theirs: Vec<Vec<u8>> = signatures
            .split_whitespace()
            .filter_map(|one| decode(scheme.encoding, one.strip_prefix(scheme.prefix.as_str())?))
            .collect();
        // Nothing to compare with is no reason to read a file.
        if theirs.is_empty() {
            return false;
        }
        let ours = |keys: &[Key]| keys.iter().any(|key| theirs.iter().any(|one| matches(key, &scheme.signed, delivery, one)));
        let known = self.known();
        ours(&known) || self.look_again(now).is_some_and(|keys| ours(&keys))
    }

    /// The signature of `text` alone, as the platform wants it in answer to a challenge.
    pub fn sign(&self, scheme: &Signature, text: &str) -> String {
        let signature = self.known().first().map(|key| mac(key, &Signed::default(), &of(text)).finalize().into_bytes());
        let signature = signature.unwrap_or_default();
        let written = match scheme.encoding {
            Encoding::Hex => hex(&signature),
            Encoding::Base64 => STANDARD.encode(signature),
        };
        format!("{}{written}", scheme.prefix)
    }

    /// Whether `text` is one of the keys.
    pub fn is(&self, text: &str, now: Time) -> bool {
        let theirs = Sha256::digest(text.as_bytes());
        let ours = |keys: &[Key]| keys.iter().any(|key| bool::from(Sha256::digest(&key.0).ct_eq(&theirs)));
        let known = self.known();
        ours(&known) || self.look_again(now).is_some_and(|keys| ours(&keys))
    }

    fn known(&self) -> Vec<Key> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The keys as they are now, if they have changed.
    fn look_again(&self, now: Time) -> Option<Vec<Key>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 - known.0.0 < LOOK_AGAIN {
            return None;
        }
        known.0 = now;
        let keys = self.source.read().and_then(|secret| parse(&secret)).ok().filter(|keys| *keys != known.1)?;
        known.1.clone_from(&keys);
        Some(keys)
    }
}

/// A delivery of nothing but `text`.
fn of(text: &str) -> Delivery<'_> {
    Delivery { body: text.as_bytes(), ..Delivery::default() }
}

fn parse(secret: &Secret) -> Result<Vec<Key>, String> {
    let keys = secret.reveal().split_whitespace().map(|one| match one.strip_prefix("whsec_") {
        Some(coded) => STANDARD.decode(coded).map(Key).map_err(|_| "what follows whsec_ is not base64".to_owned()),
        None => Ok(Key(one.as_bytes().to_vec())),
    });
    let keys = keys.collect::<Result<Vec<Key>, String>>()?;
    // An empty key is one that everybody has.
    if keys.is_empty() || keys.iter().any(|key| key.0.is_empty()) { Err("it is empty".into()) } else { Ok(keys) }
}

fn mac(key: &Key, signed: &Signed, delivery: &Delivery<'_>) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("any length");
    for part in &signed.0 {
        mac.update(match part {
            Part::Text(text) => text.as_bytes(),
            Part::Id => delivery.id.as_bytes(),
            Part::Timestamp => delivery.timestamp.as_bytes(),
            Part::Body => delivery.body,
        });
    }
    mac
}

fn matches(key: &Key, signed: &Signed, delivery: &Delivery<'_>, signature: &[u8]) -> bool {
    mac(key, signed, delivery).verify_slice(signature).is_ok()
}

fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Hex => {
            let nibble = |byte: u8| char::from(byte).to_digit(16);
            let pair = |pair: &[u8]| Some((nibble(pair[0])? * 16 + nibble(*pair.get(1)?)?) as u8);
            text.as_bytes().chunks(2).map(pair).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(source: &str) -> Signature {
        toml::from_str(&format!("header = 'x'\nsecret = 's'\n{source}")).unwrap()
    }

    fn keys(secret: &str) -> Keys {
        Keys::read(&SecretSource::Given(Secret::new(secret)), Time(0)).unwrap()
    }

    /// Vectors that others computed: RFC 4231 case 2, and the one of the Standard Webhooks libraries.
    #[test]
    fn known_vectors_are_right() {
        let plain = scheme("prefix = 'sha256='");
        let delivery = of("what do ya want for nothing?");
        let good = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(keys("Jefe").signed(&plain, &delivery, good, Time(0)));
        assert_eq!(keys("Jefe").sign(&plain, "what do ya want for nothing?"), good);
        let standard = scheme("prefix = 'v1,'\nencoding = 'base64'\nsigned = '{{ id }}.{{ timestamp }}.{{ body }}'");
        let delivery =
            Delivery { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: "1614265330", body: br#"{"test": 2432232314}"# };
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let known = keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert!(known.signed(&standard, &delivery, good, Time(0)));
        assert!(known.signed(&standard, &delivery, &format!("v1,aaaa v2,{good} {good}"), Time(0)), "one of several");
        for (bad, id, timestamp, body) in [
            ("", delivery.id, delivery.timestamp, delivery.body),
            ("v1,", delivery.id, delivery.timestamp, delivery.body),
            (&good[3..], delivery.id, delivery.timestamp, delivery.body),
            (good, "msg_other", delivery.timestamp, delivery.body),
            (good, delivery.id, "1614265331", delivery.body),
            (good, delivery.id, delivery.timestamp, br#"{"test": 2432232315}"#),
            (&good[..good.len() - 4], delivery.id, delivery.timestamp, delivery.body),
        ] {
            assert!(!known.signed(&standard, &Delivery { id, timestamp, body }, bad, Time(0)), "{bad}");
        }
    }

    #[test]
    fn a_key_is_changed_without_a_gap() {
        let plain = scheme("");
        let old = keys("old").sign(&plain, "x");
        let new = keys("new").sign(&plain, "x");
        let both = keys("new\nold\n");
        assert!(both.signed(&plain, &of("x"), &old, Time(0)) && both.signed(&plain, &of("x"), &new, Time(0)));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "old").unwrap();
        let known = Keys::read(&SecretSource::File(path.clone()), Time(0)).unwrap();
        std::fs::write(&path, "new").unwrap();
        assert!(!known.signed(&plain, &of("x"), &new, Time(LOOK_AGAIN - 1)), "not looked for at each wrong signature");
        assert!(known.signed(&plain, &of("x"), &new, Time(LOOK_AGAIN)));
        assert!(!known.signed(&plain, &of("x"), &old, Time(3 * LOOK_AGAIN)), "the old one is gone");
    }

    #[test]
    fn an_empty_secret_is_none_and_none_is_shown() {
        for secret in ["", "  \n", "whsec_", "whsec_!!"] {
            assert!(Keys::read(&SecretSource::Given(Secret::new(secret)), Time(0)).is_err(), "{secret}");
        }
        assert!(!format!("{:?}", keys("hush")).contains("hush"));
        assert!(keys("hush").is("hush", Time(0)) && !keys("hush").is("hus", Time(0)) && !keys("hush").is("", Time(0)));
    }
}

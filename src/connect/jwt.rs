//! Signs a JWT (RFC 7519) with an account's own key.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use minijinja::{Value, context};
use openssl::{ecdsa::EcdsaSig, hash::MessageDigest, nid::Nid, pkey::PKey, pkey::Private, sign::Signer};
use serde_json::{Map, Value as Json, json};

use super::{
    Error,
    format::auth::{Algorithm, Jwt},
};
use crate::clock::Time;

/// Signs the token that `jwt` describes, good from now on.
///
/// # Errors
/// When the key is none, or a template's value is missing; the key is never shown.
pub(super) fn sign(jwt: &Jwt, values: &Value, now: Time) -> Result<String, Error> {
    let seconds = now.0 / 1_000;
    let values = context! { now => seconds, ..values.clone() };
    let mut header = Map::from_iter([("alg".to_owned(), json!(name(jwt.algorithm))), ("typ".to_owned(), json!("JWT"))]);
    for (key, template) in &jwt.header {
        header.insert(key.clone(), template.render(&values)?.into());
    }
    let mut claims = jwt.claims.render(&values)?;
    if let Some(claims) = claims.as_object_mut() {
        claims.entry("iat").or_insert_with(|| seconds.into());
        let lifetime = i64::try_from(jwt.lifetime.0.as_secs()).unwrap_or(i64::MAX);
        claims.entry("exp").or_insert_with(|| seconds.saturating_add(lifetime).into());
    }
    let part = |json: &Json| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&Json::Object(header)), part(&claims));
    let pem = jwt.key.render(&values)?;
    let key = PKey::private_key_from_pem(pem.as_bytes());
    // Its text may hold the key.
    let key = key.map_err(|_| Error::Refused("the key for [auth.jwt] is no private key in PEM".into()))?;
    let signature = signature(jwt.algorithm, &key, signed.as_bytes())
        .ok_or_else(|| Error::Refused(format!("the key for [auth.jwt] does not sign {}", name(jwt.algorithm))))?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::RS256 => "RS256",
    }
}

fn signature(algorithm: Algorithm, key: &PKey<Private>, text: &[u8]) -> Option<Vec<u8>> {
    let fits = match algorithm {
        Algorithm::ES256 => key.ec_key().ok()?.group().curve_name() == Some(Nid::X9_62_PRIME256V1),
        Algorithm::RS256 => key.rsa().is_ok(),
    };
    let mut signer = Signer::new(MessageDigest::sha256(), key).ok().filter(|_| fits)?;
    let der = signer.sign_oneshot_to_vec(text).ok()?;
    match algorithm {
        Algorithm::RS256 => Some(der),
        // RFC 7518, 3.4: both numbers at full length, one after the other.
        Algorithm::ES256 => {
            let both = EcdsaSig::from_der(&der).ok()?;
            Some([both.r().to_vec_padded(32).ok()?, both.s().to_vec_padded(32).ok()?].concat())
        }
    }
}

/// A new key that signs what `algorithm` says, PEM: for the recorded replies of a file.
pub(super) fn new_key(algorithm: Algorithm) -> Option<String> {
    let key = match algorithm {
        Algorithm::ES256 => {
            let group = openssl::ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
            PKey::from_ec_key(openssl::ec::EcKey::generate(&group).ok()?).ok()?
        }
        Algorithm::RS256 => PKey::from_rsa(openssl::rsa::Rsa::generate(2048).ok()?).ok()?,
    };
    String::from_utf8(key.private_key_to_pem_pkcs8().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use openssl::{bn::BigNum, sign::Verifier};

    use super::*;

    #[test]
    fn both_algorithms_sign_what_the_public_key_verifies() {
        let jwt: Jwt = toml::from_str(
            "algorithm = 'ES256'\nkey = '{{ secret.key }}'\nheader = { kid = 'K1' }\nlifetime = '20m'\n\
             claims = { iss = '{{ secret.issuer }}', aud = 'appstoreconnect-v1' }",
        )
        .unwrap();
        for algorithm in [Algorithm::ES256, Algorithm::RS256] {
            let jwt = Jwt { algorithm, ..jwt.clone() };
            let pem = new_key(algorithm).unwrap();
            let values = context! { secret => context! { key => pem, issuer => "me" } };
            let token = sign(&jwt, &values, Time(1_795_000_000_000)).unwrap();
            let parts: Vec<Vec<u8>> = token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
            let read = |bytes: &[u8]| serde_json::from_slice::<Json>(bytes).unwrap();
            assert_eq!(read(&parts[0]), json!({"alg": name(algorithm), "typ": "JWT", "kid": "K1"}));
            assert_eq!(
                read(&parts[1]),
                json!({"iss": "me", "aud": "appstoreconnect-v1", "iat": 1_795_000_000, "exp": 1_795_001_200})
            );
            let key = PKey::private_key_from_pem(pem.as_bytes()).unwrap();
            let signature = match algorithm {
                Algorithm::RS256 => parts[2].clone(),
                Algorithm::ES256 => {
                    let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
                    let (r, s) = parts[2].split_at(32);
                    EcdsaSig::from_private_components(number(r), number(s)).unwrap().to_der().unwrap()
                }
            };
            let signed = token.rsplit_once('.').unwrap().0;
            assert!(
                Verifier::new(MessageDigest::sha256(), &key).unwrap().verify_oneshot(&signature, signed.as_bytes()).unwrap()
            );
        }
        let wrong = context! { secret => context! { key => new_key(Algorithm::RS256).unwrap(), issuer => "me" } };
        assert!(sign(&jwt, &wrong, Time(0)).unwrap_err().to_string().contains("does not sign ES256"));
        let none = context! { secret => context! { key => "KEY-TEXT", issuer => "me" } };
        let error = sign(&jwt, &none, Time(0)).unwrap_err().to_string();
        assert!(error.contains("no private key") && !error.contains("KEY-TEXT"), "{error}");
    }
}

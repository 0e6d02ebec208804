//! The one JSON Web Token we make: RS256 over `{uid, exp}`, as DC/OS wants it. Pure.

use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// A key that signs.
pub(super) struct Key(RsaKeyPair);

impl Key {
    /// An RSA key in PEM, PKCS#8 or PKCS#1.
    pub(super) fn from_pem(pem: &str) -> Option<Self> {
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
            _ => None,
        }
        .map(Self)
    }

    /// A token for `uid` that ends at this time since the epoch. None if the key cannot sign.
    pub(super) fn jwt(&self, uid: &str, expires: Duration) -> Option<String> {
        let claims = serde_json::json!({ "uid": uid, "exp": expires.as_secs() }).to_string();
        let head = base64_url(br#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", base64_url(claims.as_bytes()));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        Some(format!("{signed}.{}", base64_url(&signature)))
    }
}

/// Base64 with padding, as HTTP wants it.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = encode(bytes, b'+', b'/');
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// Base64 for URLs, without padding.
fn base64_url(bytes: &[u8]) -> String {
    encode(bytes, b'-', b'_')
}

fn encode(bytes: &[u8], n62: u8, n63: u8) -> String {
    let letter = |value: u32| {
        char::from(match u8::try_from(value & 63).unwrap_or(0) {
            n @ 0..26 => b'A' + n,
            n @ 26..52 => b'a' + n - 26,
            n @ 52..62 => b'0' + n - 52,
            62 => n62,
            _ => n63,
        })
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend((0..=group.len()).map(|n| letter(bits >> (18 - 6 * n))));
    }
    text
}

#[cfg(test)]
mod tests {
    use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (bytes, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
        assert_eq!(base64_url(&[0xfb, 0xff, 0xfe]), "-__-");
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn both_kinds_of_pem_sign_a_token_that_verifies() {
        for name in ["pkcs8", "pkcs1"] {
            let path = format!("{}/tests/fixtures/keys/test-only-{name}.pem", env!("CARGO_MANIFEST_DIR"));
            let key = Key::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap();
            let jwt = key.jwt("lb", Duration::from_secs(1_500_000_000)).unwrap();
            let (signed, signature) = jwt.rsplit_once('.').unwrap();
            let want =
                base64_url(br#"{"alg":"RS256","typ":"JWT"}"#) + "." + &base64_url(br#"{"exp":1500000000,"uid":"lb"}"#);
            assert_eq!(signed, want);
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.0.public_key());
            public.verify(signed.as_bytes(), &decode_url(signature)).unwrap();
        }
    }

    fn decode_url(text: &str) -> Vec<u8> {
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bits = 0_u32;
        let mut have = 0;
        let mut bytes = Vec::new();
        for c in text.chars() {
            bits = bits << 6 | u32::try_from(digits.find(c).unwrap()).unwrap();
            have += 6;
            if have >= 8 {
                have -= 8;
                bytes.push(u8::try_from(bits >> have & 0xff).unwrap());
            }
        }
        bytes
    }
}

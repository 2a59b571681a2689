//! One DKIM-Signature or ARC-Message-Signature as far as the body's hash needs it: algorithm, canonical form, `l=`.
//!
//! Strangers wrote it: what cannot be read with certainty is no signature, and never an error.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};

/// How the hash was made. The key is not needed for that, nor the signature itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha256,
}

/// RFC 6376 section 3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Simple,
    Relaxed,
}

/// Which hash of a body a signature needs; equal ones are computed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) algorithm: Algorithm,
    pub(super) form: Form,
    /// Bytes of the canonical form that are signed; `None`: all.
    pub(super) limit: Option<u64>,
}

/// What one signature says of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) wanted: Wanted,
    pub(super) hash: Vec<u8>,
    pub(super) domain: Option<String>,
}

/// Bytes of `d=` that are kept: the longest name that the DNS allows.
const DOMAIN_MAX: usize = 253;

/// Reads the value of a field. `None` where it is none that can be used: a tag twice, no hash, another algorithm,
/// no byte of the body covered.
pub(super) fn parse(value: &[u8]) -> Option<Signature> {
    let [mut a, mut c, mut l, mut bh, mut d] = [None; 5];
    for tag in value.split(|&byte| byte == b';') {
        let Some(equals) = memchr::memchr(b'=', tag) else { continue };
        let slot = match tag[..equals].trim_ascii() {
            b"a" => &mut a,
            b"c" => &mut c,
            b"l" => &mut l,
            b"bh" => &mut bh,
            b"d" => &mut d,
            _ => continue,
        };
        if slot.replace(tag[equals + 1..].trim_ascii()).is_some() {
            return None;
        }
    }
    let algorithm = match a?.to_ascii_lowercase().as_slice() {
        b"rsa-sha1" => Algorithm::Sha1,
        b"rsa-sha256" | b"ed25519-sha256" => Algorithm::Sha256,
        _ => return None,
    };
    let hash = base64(bh?)?;
    let length = if algorithm == Algorithm::Sha1 { 20 } else { 32 };
    let limit = match l {
        Some(digits) => Some(number(digits)?),
        None => None,
    };
    let domain = d.and_then(domain);
    let wanted = Wanted { algorithm, form: body_form(c)?, limit };
    (hash.len() == length && limit != Some(0)).then_some(Signature { wanted, hash, domain })
}

/// The domain for people to read; `None` where no domain is written so.
fn domain(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= DOMAIN_MAX)?;
    text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')).then(|| text.to_owned())
}

/// The second half of `c=`. A lone name is the header's, and the body's is then simple.
fn body_form(c: Option<&[u8]>) -> Option<Form> {
    let lower = c.unwrap_or(b"simple/simple").to_ascii_lowercase();
    let mut names = lower.split(|&byte| byte == b'/').map(<[u8]>::trim_ascii);
    let known = |name: &[u8]| match name {
        b"simple" => Some(Form::Simple),
        b"relaxed" => Some(Form::Relaxed),
        _ => None,
    };
    names.next().and_then(known)?;
    let form = names.next().map_or(Some(Form::Simple), known)?;
    names.next().is_none().then_some(form)
}

/// Up to 76 digits are allowed; what does not fit is larger than any message.
fn number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX))
}

/// With or without its padding, and whatever the bits are that belong to no byte.
const FORGIVING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Decodes base64 in which white space may stand anywhere. Nothing else may, and it must end as it should.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let dense: Vec<u8> = text.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect();
    GeneralPurpose::new(&alphabet::STANDARD, FORGIVING).decode(dense).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

    fn wanted(text: &str) -> Option<Wanted> {
        parse(text.as_bytes()).map(|signature| signature.wanted)
    }

    #[test]
    fn defaults_and_halves_of_the_form() {
        let form = |c: &str| wanted(&format!("v=1; a=rsa-sha256;{c} bh={HASH}; b=x")).map(|w| w.form);
        assert_eq!(form(""), Some(Form::Simple));
        assert_eq!(form("c=relaxed;"), Some(Form::Simple), "a lone name is the header's");
        assert_eq!(form("c=simple/relaxed;"), Some(Form::Relaxed));
        assert_eq!(form("c=Relaxed / Relaxed ;"), Some(Form::Relaxed));
        for odd in ["c=nowsp;", "c=relaxed/;", "c=simple/simple/simple;", "c=;", "c=/relaxed;"] {
            assert_eq!(form(odd), None, "{odd}");
        }
    }

    #[test]
    fn folded_values_and_lengths() {
        let folded = "v=1;\r\n\ta=ed25519-sha256; bh=2jUSOH9NhtVGCQWNr9B\r\n\t rIAPreKQjO6Sn7XIkf\r\n JVOzv8=;\n d =\n example.org ;l= 12 ;";
        let signature = parse(folded.as_bytes()).unwrap();
        assert_eq!(signature.hash.len(), 32);
        assert_eq!(signature.domain.as_deref(), Some("example.org"));
        assert_eq!(signature.wanted.limit, Some(12));
        let limit = |l: &str| wanted(&format!("a=rsa-sha256; bh={HASH}; l={l}")).map(|w| w.limit);
        assert_eq!(limit(&"9".repeat(76)), Some(Some(u64::MAX)), "more than any message");
        for odd in ["", "0", "-1", "+5", "0x10", "1 2", "ten"] {
            assert_eq!(limit(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_domain_is_one_or_is_not_shown() {
        let domain = |d: &str| parse(format!("a=rsa-sha256; bh={HASH}; d={d}").as_bytes()).expect("signed").domain;
        for good in ["example.org", "xn--bcher-kva.example", "bücher.example", "_x.example"] {
            assert_eq!(domain(good).as_deref(), Some(good));
        }
        for odd in ["a\u{1b}[2J", "a b", "bank.example, key checked)", "a\r\n b", &"a".repeat(254), "a\u{202e}b"] {
            assert_eq!(domain(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_no_signature_is_none() {
        for odd in [
            String::new(),
            ";;;".into(),
            "a=rsa-sha256".into(),
            format!("bh={HASH}"),
            format!("a=rsa-sha512; bh={HASH}"),
            format!("a=rsa-sha1; bh={HASH}"),
            format!("a=rsa-sha256; a=rsa-sha256; bh={HASH}"),
            format!("a=rsa-sha256; bh={HASH}; bh={HASH}"),
            "a=rsa-sha256; bh=2jUSOH9NhtVGCQWNr9BrIA==".into(),
            "a=rsa-sha256; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8===".into(),
            "a=rsa-sha256; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJV*zv8=".into(),
            "a=rsa-sha256; bh=2jUSOH9=htVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=".into(),
        ] {
            assert_eq!(parse(odd.as_bytes()), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
            parse(&[b"a=rsa-sha256; bh=", &bytes[..]].concat());
        }

        #[test]
        fn base64_of_any_bytes_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(base64(crate::report::base64::encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}

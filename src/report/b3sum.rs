//! Lines of the check file of b3sum, as `b3sum --check` reads them.
//!
//! Pure.

use crate::model::Digest;

/// The line for a file, with its end; `None` for a name that b3sum has no form for: one that is not UTF-8, and what
/// it would take for another name.
pub fn line(path: &[u8], digest: &Digest) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    // b3sum takes the replacement character for a name that could not be written, and newer ones drop a last CR.
    if path.contains('\u{fffd}') || path.contains('\0') || path.ends_with('\r') || path.is_empty() {
        return None;
    }
    if path.contains(['\\', '\n']) {
        let path = path.replace('\\', "\\\\").replace('\n', "\\n");
        return Some(format!("\\{digest}  {path}\n"));
    }
    Some(format!("{digest}  {path}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_b3sum_does() {
        let digest = Digest::of(b"");
        let hex = digest.to_string();
        assert_eq!(line(b"a/cur/1 2:2,S", &digest), Some(format!("{hex}  a/cur/1 2:2,S\n")));
        assert_eq!(line(b"a\\b\nc", &digest), Some(format!("\\{hex}  a\\\\b\\nc\n")));
        for bad in [&b""[..], b"\xff", "a\u{fffd}".as_bytes(), b"a\r"] {
            assert_eq!(line(bad, &digest), None);
        }
    }
}

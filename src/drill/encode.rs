//! The two transfer encodings, as a careful mail program writes them. Pure.

/// base64 in lines of 76 characters, each ended by LF.
pub fn base64_lines(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3 / 2);
    for line in bytes.chunks(57) {
        for group in line.chunks(3) {
            push_group(&mut out, group);
        }
        out.push('\n');
    }
    out
}

fn push_group(out: &mut String, group: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |at: usize| group.get(at).map_or(0, |&b| u32::from(b));
    let word = byte(0) << 16 | byte(1) << 8 | byte(2);
    for at in 0..4 {
        let digit = DIGITS[(word >> (18 - 6 * at) & 63) as usize];
        out.push(if at > group.len() { '=' } else { digit as char });
    }
}

/// quoted-printable with soft breaks before column 76. Line ends stay as they are.
pub fn quoted_printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 5 / 4);
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        let (text, end) = line.strip_suffix(b"\n").map_or((line, ""), |text| (text, "\n"));
        let mut column = 0;
        for (at, &byte) in text.iter().enumerate() {
            let last = at + 1 == text.len();
            let token = match byte {
                b'=' => "=3D".to_string(),
                b' ' | b'\t' if last => format!("={byte:02X}"),
                b' ' | b'\t' | b'!'..=b'~' => (byte as char).to_string(),
                _ => format!("={byte:02X}"),
            };
            if column + token.len() > 75 {
                out.push_str("=\n");
                column = 0;
            }
            column += token.len();
            out.push_str(&token);
        }
        out.push_str(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_published_vectors() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in pairs {
            assert_eq!(base64_lines(plain.as_bytes()).trim_end(), coded);
        }
        assert!(base64_lines(&[0xfb; 200]).lines().all(|l| l.len() <= 76));
    }

    #[test]
    fn quoted_printable_protects_and_breaks() {
        assert_eq!(quoted_printable("a=ü \n".as_bytes()), "a=3D=C3=BC=20\n");
        let long = quoted_printable(&[b'x'; 200]);
        assert!(long.lines().all(|l| l.len() <= 76) && long.replace("=\n", "").len() == 200);
    }
}

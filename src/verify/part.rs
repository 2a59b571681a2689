//! What the header of one part says of its body: content type, boundary, transfer encoding.
//!
//! May not keep more than the first bytes of the two fields that it reads.

/// Bytes kept of one field, folded lines included.
const FIELD_KEPT: usize = 8 << 10;
/// A longer boundary is none; the standard allows 70.
const BOUNDARY_MAX: usize = 1000;

/// The two fields as they are gathered.
#[derive(Debug, Default)]
pub(super) struct Part {
    content_type: Option<Vec<u8>>,
    encoding: Option<Vec<u8>>,
    open: Open,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[default]
    Neither,
    ContentType,
    Encoding,
}

/// What a body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Any byte may occur, by declaration.
    Binary,
    Base64,
    Quoted,
    /// A message within the message.
    Message,
    Multipart {
        boundary: Vec<u8>,
        report: bool,
    },
}

impl Part {
    /// One header line without its end; `name` is given where it begins a field.
    pub(super) fn line(&mut self, line: &[u8], name: Option<&[u8]>) {
        let value = match name {
            Some(name) => {
                self.open = self.opens(name);
                line.get(line.iter().position(|&byte| byte == b':').map_or(line.len(), |colon| colon + 1)..)
            }
            None if matches!(line.first(), Some(b' ' | b'\t')) => Some(line),
            None => None,
        };
        let field = match self.open {
            Open::ContentType => self.content_type.get_or_insert_default(),
            Open::Encoding => self.encoding.get_or_insert_default(),
            Open::Neither => return,
        };
        if let Some(value) = value {
            field.extend_from_slice(&value[..value.len().min(FIELD_KEPT - field.len().min(FIELD_KEPT))]);
        }
    }

    /// Whether a field is one of the two. The first one counts where it comes twice.
    fn opens(&self, name: &[u8]) -> Open {
        if name.eq_ignore_ascii_case(b"Content-Type") && self.content_type.is_none() {
            Open::ContentType
        } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") && self.encoding.is_none() {
            Open::Encoding
        } else {
            Open::Neither
        }
    }

    pub(super) fn kind(&self) -> Kind {
        let field = self.content_type.as_deref().unwrap_or_default();
        let content_type = type_of(field);
        let encoding = first_word(self.encoding.as_deref().unwrap_or_default()).to_ascii_lowercase();
        if let Some(subtype) = content_type.strip_prefix(b"multipart/")
            && let Some(boundary) = parameter(field, b"boundary")
        {
            let boundary = boundary.trim_ascii_end().to_vec();
            if !boundary.is_empty() && boundary.len() <= BOUNDARY_MAX {
                return Kind::Multipart { boundary, report: subtype == b"report" };
            }
        }
        match encoding.as_slice() {
            b"base64" => Kind::Base64,
            b"quoted-printable" => Kind::Quoted,
            b"binary" if !is_text(&content_type) => Kind::Binary,
            _ if matches!(content_type.as_slice(), b"message/rfc822" | b"message/global" | b"message/news") => {
                Kind::Message
            }
            b"8bit" if holds_bytes(&content_type) => Kind::Binary,
            _ if parameter(field, b"charset").is_some_and(|charset| is_wide(&charset)) => Kind::Binary,
            _ => Kind::Text,
        }
    }
}

/// Types whose content is text, even where some software calls it binary to keep its long lines.
fn is_text(content_type: &[u8]) -> bool {
    matches!(content_type, b"text/plain" | b"text/html")
}

/// Types that some software sends raw and calls 8bit.
fn holds_bytes(content_type: &[u8]) -> bool {
    [&b"image/"[..], b"audio/", b"video/", b"application/"].iter().any(|prefix| content_type.starts_with(prefix))
}

/// Charsets whose text holds NUL bytes.
fn is_wide(charset: &[u8]) -> bool {
    let charset = charset.to_ascii_lowercase();
    charset.starts_with(b"utf-16") || charset.starts_with(b"utf-32")
}

fn first_word(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii_start();
    let end = value.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b';').unwrap_or(value.len());
    value[..end].trim_ascii()
}

/// `type/subtype` in small letters, without the white space that folding leaves.
fn type_of(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|&byte| byte == b';').unwrap_or(field.len());
    first_word(&field[..end]).to_ascii_lowercase()
}

/// The value of one parameter, quoted or not.
fn parameter(field: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    let mut rest = &field[field.iter().position(|&byte| byte == b';')? + 1..];
    loop {
        let equals = rest.iter().position(|&byte| byte == b'=' || byte == b';')?;
        let name = rest[..equals].trim_ascii();
        let named = rest[equals] == b'=';
        rest = &rest[equals + 1..];
        if !named {
            continue;
        }
        let (value, after) = parameter_value(rest.trim_ascii_start());
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// One value, and what follows it.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';' || byte.is_ascii_whitespace()).unwrap_or(text.len());
        return (text[..end].to_vec(), &text[end..]);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, &escaped)| escaped)),
            _ => value.push(byte),
        }
    }
    (value, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::header::name;

    fn kind(header: &[u8]) -> Kind {
        let mut part = Part::default();
        for line in header.split(|&byte| byte == b'\n') {
            part.line(line, name(line));
        }
        part.kind()
    }

    #[test]
    fn boundaries_folded_quoted_and_bare() {
        let multipart = |boundary: &[u8], report| Kind::Multipart { boundary: boundary.to_vec(), report };
        assert_eq!(
            kind(b"content-type: Multipart/Mixed;\n\tcharset=x;\n boundary=\"a;b\\\"=c \"; x=y"),
            multipart(b"a;b\"=c", false)
        );
        assert_eq!(kind(b"Content-Type: multipart/report; report-type=x; BOUNDARY=abc"), multipart(b"abc", true));
        assert_eq!(kind(b"Content-Type: multipart/mixed"), Kind::Text);
        assert_eq!(kind(b"Content-Type: multipart/mixed; boundary=\"open"), multipart(b"open", false));
    }

    #[test]
    fn encodings_and_bodies_that_may_hold_any_byte() {
        assert_eq!(kind(b"Content-Transfer-Encoding: BASE64\nContent-Type: text/plain"), Kind::Base64);
        assert_eq!(kind(b"Content-Transfer-Encoding: quoted-printable"), Kind::Quoted);
        assert_eq!(kind(b"Content-Transfer-Encoding: binary"), Kind::Binary);
        assert_eq!(kind(b"Content-Transfer-Encoding: binary\nContent-Type: text/plain; charset=x"), Kind::Text);
        assert_eq!(kind(b"Content-Transfer-Encoding: binary\nContent-Type: text/plain; charset=utf-16"), Kind::Binary);
        assert_eq!(kind(b"Content-Transfer-Encoding: 8bit\nContent-Type: image/png"), Kind::Binary);
        assert_eq!(kind(b"Content-Type: text/plain; charset=UTF-16LE"), Kind::Binary);
        assert_eq!(kind(b"Content-Type: text/plain; charset=koi8-r"), Kind::Text);
        assert_eq!(kind(b"Content-Type: message/rfc822"), Kind::Message);
    }
}

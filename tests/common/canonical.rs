//! The body of a message as a signature sees it: the oracle that the checks are held to.

/// The canonical form of RFC 6376, written for clearness.
pub fn canonical(body: &[u8], relaxed: bool) -> Vec<u8> {
    let mut text = body.to_vec();
    if !text.ends_with(b"\n") {
        // A CR at the very end is no line end.
        text.extend_from_slice(b"\r\n");
    }
    let mut lines: Vec<Vec<u8>> =
        text[..text.len() - 1].split(|&b| b == b'\n').map(|line| one_line(line, relaxed)).collect();
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    if relaxed && lines.is_empty() { Vec::new() } else { [&lines.join(&b"\r\n"[..])[..], b"\r\n"].concat() }
}

fn one_line(line: &[u8], relaxed: bool) -> Vec<u8> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !relaxed {
        return line.to_vec();
    }
    let white = |b: &u8| *b == b' ' || *b == b'\t';
    let indent = line.first().is_some_and(white);
    let words: Vec<&[u8]> = line.split(|b| white(b)).filter(|word| !word.is_empty()).collect();
    let text = words.join(&b' ');
    if indent && !text.is_empty() { [b" ", &text[..]].concat() } else { text }
}

//! As much of an IMAP client (RFC 3501) as a judge needs: commands, literals, FETCH answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
}

/// A message as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub flags: BTreeSet<String>,
    /// As the server writes it.
    pub received: String,
    pub message_id: String,
    pub guid: String,
    pub body: blake3::Hash,
}

/// A mailbox as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    pub uidvalidity: u64,
    pub next_uid: u64,
    pub modseq: u64,
    pub messages: BTreeMap<u64, Seen>,
}

impl Imap {
    pub fn connect(port: u16) -> Result<Imap> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(150)))?;
        let mut imap = Imap { stream: BufReader::new(stream), tag: 0 };
        let greeting = imap.line()?;
        if greeting.starts_with(b"* OK") { Ok(imap) } else { Err(Error::other("no greeting")) }
    }

    /// One line of the answer, with the literals that it announces inside.
    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                return Err(Error::other("the server hung up"));
            }
            let Some(length) = announced(&line) else { return Ok(line) };
            let at = line.len();
            line.resize(at + length, 0);
            self.stream.read_exact(&mut line[at..])?;
        }
    }

    /// Sends a command; the untagged lines of the answer and the tagged one.
    pub fn command(&mut self, command: &[u8]) -> Result<(Vec<Vec<u8>>, String)> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        let stream = self.stream.get_mut();
        stream.write_all(&[tag.as_bytes(), command, b"\r\n"].concat())?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            match line.strip_prefix(tag.as_bytes()) {
                Some(end) => return Ok((lines, String::from_utf8_lossy(end).trim().to_owned())),
                None => lines.push(line),
            }
        }
    }

    /// A command that the server must not refuse.
    #[track_caller]
    pub fn must(&mut self, command: &str) -> Vec<Vec<u8>> {
        let (lines, end) = self.command(command.as_bytes()).unwrap_or_else(|e| panic!("{command}: {e}"));
        assert!(end.starts_with("OK"), "{command}: {end}");
        lines
    }

    /// Puts a message into a mailbox.
    #[track_caller]
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &[u8]) {
        let head = format!("APPEND {mailbox} ({flags}) {{{}+}}\r\n", message.len());
        let (_, end) = self.command(&[head.as_bytes(), message].concat()).expect("APPEND");
        assert!(end.starts_with("OK"), "APPEND {mailbox}: {end}");
    }

    /// Everything that there is to know of a mailbox.
    #[track_caller]
    pub fn golden(&mut self, mailbox: &str) -> Golden {
        self.try_golden(mailbox).unwrap_or_else(|why| panic!("{mailbox}: {why}"))
    }

    /// The same, or what the server says instead.
    pub fn try_golden(&mut self, mailbox: &str) -> std::result::Result<Golden, String> {
        let status = self.ask(&format!("EXAMINE \"{mailbox}\" (CONDSTORE)"))?;
        let told = counters(&String::from_utf8_lossy(&status.concat()))?;
        let lines = self.ask("UID FETCH 1:* (UID FLAGS INTERNALDATE X-GUID BODY.PEEK[])")?;
        let messages = lines.iter().filter_map(|line| fetched(line)).collect();
        Ok(Golden { messages, ..told })
    }

    /// What is told of a mailbox that is not opened.
    pub fn try_status(&mut self, mailbox: &str) -> std::result::Result<Golden, String> {
        let lines = self.ask(&format!("STATUS \"{mailbox}\" (UIDVALIDITY UIDNEXT HIGHESTMODSEQ)"))?;
        counters(&String::from_utf8_lossy(&lines.concat()))
    }

    /// Sends a command and does not wait for its end.
    pub fn begin(&mut self, command: &str) {
        self.tag += 1;
        let line = format!("t{} {command}\r\n", self.tag);
        self.stream.get_mut().write_all(line.as_bytes()).expect("the server listens");
    }

    /// A command that may fail.
    pub fn ask(&mut self, command: &str) -> std::result::Result<Vec<Vec<u8>>, String> {
        match self.command(command.as_bytes()) {
            Ok((lines, end)) if end.starts_with("OK") => Ok(lines),
            Ok((_, end)) => Err(format!("{command}: {end}")),
            Err(error) => Err(format!("{command}: {error}")),
        }
    }

    /// UIDs of what matches.
    #[track_caller]
    pub fn search(&mut self, what: &str) -> Vec<u64> {
        let lines = self.must(&format!("UID SEARCH {what}"));
        let text = String::from_utf8_lossy(&lines.concat()).into_owned();
        let answer = text.lines().filter_map(|line| line.strip_prefix("* SEARCH"));
        answer.flat_map(str::split_whitespace).filter_map(|uid| uid.parse().ok()).collect()
    }
}

/// The counters of a mailbox, from an answer that tells them.
fn counters(text: &str) -> std::result::Result<Golden, String> {
    let number = |name: &str| {
        let rest = text.split(name).nth(1).ok_or_else(|| format!("no {name} in {text}"))?;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| format!("{name}: {digits}"))
    };
    let (uidvalidity, next_uid, modseq) = (number("UIDVALIDITY")?, number("UIDNEXT")?, number("HIGHESTMODSEQ")?);
    Ok(Golden { uidvalidity, next_uid, modseq, messages: BTreeMap::new() })
}

/// The length of the literal that a line ends with.
fn announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|&b| b == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

/// UID and content of a FETCH answer.
fn fetched(line: &[u8]) -> Option<(u64, Seen)> {
    let body_at = find(line, b"BODY[] {")?;
    let (head, rest) = (String::from_utf8_lossy(&line[..body_at]).into_owned(), &line[body_at + 8..]);
    let close = find(rest, b"}\r\n")?;
    let length: usize = std::str::from_utf8(&rest[..close]).ok()?.parse().ok()?;
    let body = rest.get(close + 3..close + 3 + length)?;
    let after = |name: &str, end: char| head.split_once(name).map(|(_, rest)| rest.split(end).next().unwrap_or(rest));
    let uid = after("UID ", ' ')?.parse().ok()?;
    let flags =
        after("FLAGS (", ')')?.split_whitespace().filter(|flag| *flag != "\\Recent").map(str::to_owned).collect();
    let received = after("INTERNALDATE \"", '"')?.to_owned();
    let guid = after("X-GUID ", ' ')?.trim_matches('"').to_owned();
    let text = String::from_utf8_lossy(body);
    let message_id = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or_default().to_owned();
    Some((uid, Seen { flags, received, message_id, guid, body: blake3::hash(body) }))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

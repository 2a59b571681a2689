//! What stands around a message in an mbox file whose copy is kept in another format: the line before it and the fields
//! that the server writes into its header, as the file itself, the records and the copy tell them.
//!
//! Reads through lanes. May not decide which copy heals, nor plan.

use super::account::{EngineError, Mailbox};
use super::job::Job;
use super::mbox_flags::{self, Marks};
use super::rebuild::Ward;
use crate::model::container::{self, Own, OwnField};
use crate::model::server::Ledger;
use crate::model::{Encoding, Format, Span};
use crate::store;
use crate::store::dovecot::flag;
use crate::store::maildir::name;
use crate::store::mbox::scan::digest_of;
use crate::store::mbox::{Named, from_line};
use crate::verify::Hashing;

/// Bytes of a copy's header in which its sender is looked for.
const HEADER: usize = 64 << 10;
/// Lines of other messages that are asked who delivered them.
const NEIGHBOURS: usize = 3;
/// Who sent what nobody sent.
const NOBODY: &[u8] = b"MAILER-DAEMON";

/// Says what the file is to say around a message. `ours` is what is left of that.
pub fn around(
    job: &mut Job<'_>,
    mailbox: &Mailbox,
    ward: &Ward,
    ours: &Own,
) -> Result<Result<Own, String>, EngineError> {
    let copy = match read(job, ward)? {
        Ok(copy) => copy,
        Err(why) => return Ok(Err(why)),
    };
    let Some(head) = copy.head else { return Ok(Err("the copy has no end of its header".to_owned())) };
    if !copy.ends {
        return Ok(Err("the copy ends within a line, and no mbox keeps a message so".to_owned()));
    }
    let line = line(job, mailbox, ward, ours, &copy)?;
    let uid = Named::parse(&ward.harm.name).and_then(|named| named.uid);
    let same = ours.head == Some(head);
    // The number that counts for all messages only as it is on record.
    let validity = recorded(ward).and_then(|named| named.validity);
    let counts = |field: &&OwnField| field.name() != b"x-imapbase" || validity.is_none() || field.number() == validity;
    let kept = ours.fields.iter().filter(|field| field.sound).filter(counts);
    let mut fields: Vec<OwnField> =
        kept.map(|field| OwnField { at: if same { field.at } else { head }, ..field.clone() }).collect();
    let lacks = |fields: &[OwnField], name: &[u8]| !fields.iter().any(|field| field.name() == name);
    let end = copy.end();
    let made = |text: String| OwnField { at: head, text: [text.as_bytes(), end].concat(), sound: true };
    if let Some(uid) = uid.filter(|_| lacks(&fields, b"x-uid")) {
        // Where the server puts it.
        let behind = fields.iter().take_while(|field| field.name() == b"x-imapbase").count();
        fields.insert(behind, made(format!("X-UID: {uid}")));
    }
    if uid.is_some() {
        let ledger = ledger(job, ward)?;
        let marks = marks(ward, &ledger);
        let there: Vec<Vec<u8>> = fields.iter().map(OwnField::name).collect();
        let ours = |name: &[u8]| there.iter().any(|own| own == name);
        mbox_flags::write(&mut fields, &marks, &ours, head, std::str::from_utf8(end).unwrap_or("\n"));
    }
    // Servers write it with each message; without it a line of the message itself may end it.
    if (uid.is_some() || copy.quotes) && lacks(&fields, b"content-length") {
        fields.push(made(format!("Content-Length: {}", copy.length - head - copy.empty)));
    }
    Ok(Ok(Own { line, begins: true, fields, head: Some(head), length: copy.length, empty: copy.empty }))
}

/// A copy in the form that the file keeps.
#[derive(Default)]
struct Copied {
    length: u64,
    /// Bytes before the empty line that ends the header, and of that line.
    head: Option<u64>,
    empty: u64,
    /// The beginning of the header.
    header: Vec<u8>,
    /// It ends with a line.
    ends: bool,
    /// A line of its body looks like one that begins a message.
    quotes: bool,
    /// The line in hand.
    line: Vec<u8>,
}

impl Copied {
    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = from_line::LINE_MAX.saturating_sub(self.line.len()).min(piece.len());
            self.line.extend_from_slice(&piece[..room]);
            self.length += piece.len() as u64;
            self.ends = piece.ends_with(b"\n");
            if self.ends {
                self.line_ends();
            }
        }
    }

    fn line_ends(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.head {
            Some(_) => self.quotes |= from_line::parse(&line).is_some(),
            None if line == b"\n" || line == b"\r\n" => {
                self.empty = line.len() as u64;
                self.head = Some(self.length - self.empty);
            }
            None if self.header.len() < HEADER => self.header.extend(line),
            None => {}
        }
    }

    fn end(&self) -> &'static [u8] {
        if self.empty == 2 { b"\r\n" } else { b"\n" }
    }

    /// Who sent it, as whoever delivered it noted, and as it says itself.
    fn senders(&self) -> [Option<Vec<u8>>; 2] {
        [&b"return-path:"[..], b"from:"].map(|name| {
            let mut lines = self.header.split(|&byte| byte == b'\n');
            let line = lines.find(|line| line.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name)))?;
            let value = line[name.len()..].trim_ascii();
            let inner = match (memchr::memchr(b'<', value), memchr::memrchr(b'>', value)) {
                (Some(open), Some(close)) if open < close => &value[open + 1..close],
                _ => value,
            };
            let address = inner.contains(&b'@') && inner.iter().all(u8::is_ascii_graphic);
            address.then(|| inner.to_vec())
        })
    }
}

/// Reads the copy once more: what is put into the place of a message is exactly what was chosen.
fn read(job: &mut Job<'_>, ward: &Ward) -> Result<Result<Copied, String>, EngineError> {
    let (lane, root) = from(job, ward);
    let (mut copy, mut hashing) = (Copied::default(), Hashing::new());
    let form = (&ward.from.form, Some(Encoding::Plain));
    let fetched = job.lanes.lanes[lane].fetch(root, &ward.from.path, form, &mut |bytes| {
        hashing.feed(bytes);
        copy.feed(bytes);
        Ok(())
    })?;
    if let Err(trouble) = fetched {
        return Ok(Err(format!("the copy cannot be read: {}", trouble.detail)));
    }
    let hashes = hashing.finish();
    Ok(match (hashes.digest, hashes.length) == (ward.content, ward.length) {
        true => Ok(copy),
        false => Err("the copy changed since it was read".to_owned()),
    })
}

fn recorded(ward: &Ward) -> Option<Named> {
    Named::parse(&ward.harm.row.as_ref()?.name)
}

fn from(job: &Job<'_>, ward: &Ward) -> (usize, u32) {
    let generation = &job.generations[ward.from.source.unwrap_or(0) as usize];
    (generation.lane, generation.root)
}

/// The line that begins the message: the one on record if anybody's name makes it, else as its server would have written it.
fn line(job: &mut Job<'_>, mailbox: &Mailbox, ward: &Ward, ours: &Own, copy: &Copied) -> Result<Vec<u8>, EngineError> {
    let recorded = recorded(ward);
    let present = Named::parse(&ward.harm.name).filter(|_| ours.begins);
    let received = [recorded, present].into_iter().flatten().find_map(|named| named.received);
    let received = received.unwrap_or(ward.received.sec);
    let local = received + job.store_lane().zone().offset_at(received);
    let written = |sender: &[u8]| {
        let line = from_line::write(sender, local);
        [line.strip_suffix(b"\n").unwrap_or(&line), copy.end()].concat()
    };
    let own = from_line::sender(&ours.line).filter(|_| ours.begins).map(<[u8]>::to_vec);
    let [noted, named] = copy.senders();
    let mut senders: Vec<Vec<u8>> = [own, noted].into_iter().flatten().collect();
    senders.extend(neighbours(job, mailbox)?);
    senders.extend(named);
    senders.push(NOBODY.to_vec());
    let is_recorded = |line: &[u8]| recorded.is_some_and(|named| named.check == Some(digest_of(line.trim_ascii_end())));
    let lines: Vec<Vec<u8>> = senders.iter().map(|sender| written(sender)).collect();
    let known = lines.iter().find(|line| is_recorded(line)).or(lines.first());
    Ok(known.cloned().unwrap_or_default())
}

/// Whom the lines of other messages in the file name.
fn neighbours(job: &mut Job<'_>, mailbox: &Mailbox) -> Result<Vec<Vec<u8>>, EngineError> {
    let Some(file) = job.store.file_of(&mailbox.dir) else { return Ok(Vec::new()) };
    let named = mailbox.messages().filter_map(|(_, entry)| Named::parse(&entry.name));
    let sound: Vec<Span> = named.filter(|n| n.check.is_some() && !n.harmed).map(|n| n.line).take(NEIGHBOURS).collect();
    let (root, mut senders) = (job.store.root, Vec::new());
    for span in sound {
        let mut line = Vec::new();
        let given = job.store_lane().range((root, &file), span, None, &mut |bytes| {
            line.extend_from_slice(bytes);
            Ok(())
        })?;
        let sender = given.ok().and_then(|_| from_line::sender(&line)).map(<[u8]>::to_vec);
        senders.extend(sender.filter(|sender| !senders.contains(sender)));
    }
    Ok(senders)
}

/// What the server of the copy notes of it where only an index has flags.
fn ledger(job: &mut Job<'_>, ward: &Ward) -> Result<Ledger, EngineError> {
    let Some((Format::Sdbox | Format::Mdbox, dir, _)) = store::split_message_path(&ward.from.path) else {
        return Ok(Ledger::default());
    };
    let (lane, root) = from(job, ward);
    Ok(job.lanes.lanes[lane].ledger(root, &container::folder(&dir))?.unwrap_or_default())
}

/// The flags of the copy.
fn marks<'l>(ward: &Ward, ledger: &'l Ledger) -> Marks<'l> {
    match store::split_message_path(&ward.from.path) {
        Some((Format::Maildir, _, file)) => Marks::of(flag::of_letters(name::parse(file).flags)),
        Some((Format::Sdbox | Format::Mdbox, _, file)) => {
            let key = file.split(|&byte| byte == b',').next().and_then(|key| key.strip_prefix(b"u."));
            let uid = key.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            uid.map(|uid| mbox_flags::noted(ledger, uid)).unwrap_or_default()
        }
        _ => Marks::default(),
    }
}

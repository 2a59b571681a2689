//! Storage files that the mailboxes of an account share (mdbox), put together anew: every message keeps its place and its
//! length, so that the map, and every index that goes by it, stays true.
//!
//! Plans nothing by itself: makes the parts of one file for `rebuild`. Reads through lanes; writes nothing.

use super::account::{EngineError, Mailbox};
use super::compose::Parts;
use super::harm::Harm;
use super::job::Job;
use super::rebuild::Ward;
use crate::model::container::{self, Framed, Lies, Own, Storage};
use crate::model::plan::Slice;
use crate::model::{Digest, Encoding, Format, RelPath, Stat};
use crate::store::dovecot::{Guid, message_guid};
use crate::store::mdbox::Named;
use crate::store::mdbox::map::Place;
use crate::store::sdbox::frame::{HEADER, MAGIC, MAGIC_POST};
use crate::verify::Hashing;
use std::collections::BTreeMap;

/// What the map and the index say of a message now, whatever the catalog knew.
pub fn named(mailbox: &Mailbox, harm: &Harm) -> Option<Named> {
    let lost = || mailbox.lost.iter().find(|entry| mailbox.key(&entry.name) == harm.key);
    if harm.present { Named::parse(&harm.name) } else { Named::parse(&lost()?.name) }
}

/// What is known of a message that the server shows no more: its UID and its GUID.
pub fn known(harm: &Harm) -> Option<(u32, Guid)> {
    let named = Named::parse(&harm.name).filter(|_| !harm.present)?;
    named.uid.zip(named.guid)
}

/// The file that a message lies in, or should.
pub fn file_of(mailbox: &Mailbox, harm: &Harm) -> Option<RelPath> {
    let place = named(mailbox, harm)?.place?;
    container::shared(&mailbox.dir)?.storage.join(format!("m.{}", place.file).as_bytes()).ok()
}

/// The parts of the file `target`, which stands there as `standing`.
pub fn parts(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    (target, standing): (&RelPath, Option<Stat>),
    wards: &[Ward],
) -> Result<Result<Vec<Slice>, String>, EngineError> {
    let root = job.store.root;
    let storage = match job.store_lane().storage(root, target)? {
        Ok(storage) if storage.complete => storage,
        Ok(_) => return Ok(Err(NO_MAP.to_owned())),
        Err(trouble) => return Ok(Err(format!("the map of the storage cannot be read: {}", trouble.detail))),
    };
    let mut healed: BTreeMap<u64, (Place, Parts)> = BTreeMap::new();
    for ward in wards {
        let Some((place, guid)) = named(&mailboxes[ward.harm.mailbox], &ward.harm).and_then(|n| n.place.zip(n.guid))
        else {
            return Ok(Err("nothing tells where in the storage it is".to_owned()));
        };
        // A message that two mailboxes show is one.
        if healed.contains_key(&u64::from(place.offset)) {
            continue;
        }
        match message(job, mailboxes, ward, place, guid)? {
            Ok(parts) => drop(healed.insert(place.offset.into(), (place, parts))),
            Err(why) => return Ok(Err(why)),
        }
    }
    let made = wards.iter().filter_map(|ward| ward.harm.internal_date()).map(|date| date.sec).max();
    Ok(whole(&storage, standing.map_or(0, |stat| stat.size), healed, made.unwrap_or(0)))
}

const NO_MAP: &str = "the map of the storage is gone or garbled, which alone says where each message has to be: repair again \
                      once it is made anew; where that cannot be, bring dovecot.map.index* back from a copy of the same time";

/// Puts messages, what stays and what fills between them into their places.
fn whole(
    storage: &Storage,
    size: u64,
    mut healed: BTreeMap<u64, (Place, Parts)>,
    made: i64,
) -> Result<Vec<Slice>, String> {
    let last = healed.keys().next_back().copied().unwrap_or(0);
    let first = storage.frames.first().map_or(0, |frame| frame.offset);
    let mut out = Parts::default();
    match storage.begins {
        true => out.keep(0, first),
        false => out.made(file_header(first, made).ok_or("nothing tells how the file began")?),
    }
    let mut at = first;
    for frame in &storage.frames {
        if frame.offset < at {
            return Err("by the map messages lie one over the other".to_owned());
        }
        if frame.offset > at {
            if frame.offset > size {
                return Err("the map does not tell of all that lay in the file".to_owned());
            }
            out.keep(at, frame.offset);
        }
        match healed.remove(&frame.offset) {
            Some((place, parts)) if u64::from(place.size) == frame.size => out.extend(parts),
            Some(_) => return Err(CHANGED.to_owned()),
            None if frame.end() <= size && (frame.sound || frame.shown > 0) => out.keep(frame.offset, frame.end()),
            // The server's purge walks over what was deleted, and takes an end in the middle of that for damage.
            None if frame.shown == 0 => out.extend(filler(frame).ok_or("too little room for what was deleted")?),
            None if frame.offset > last => {
                // Behind the last message that comes back nothing needs a place.
                out.keep(frame.offset, size);
                at = size.max(frame.offset);
                break;
            }
            None => {
                return Err(format!(
                    "the message that lay at byte {} of the file has no whole copy, and without it those behind it would \
                     not be where the map says",
                    frame.offset
                ));
            }
        }
        at = frame.end();
    }
    if !healed.is_empty() {
        return Err(CHANGED.to_owned());
    }
    out.keep(at, size);
    Ok(out.0)
}

const CHANGED: &str = "the map changed since it was read; run again";

/// `2 M1e C65a1b2c3`, in so many bytes: the time is nobody's witness.
pub fn file_header(length: u64, made: i64) -> Option<Vec<u8>> {
    let line = format!("2 M{HEADER:x} C{:08x}\n", u32::try_from(made).unwrap_or(0)).into_bytes();
    (line.len() as u64 == length).then_some(line)
}

/// What takes the place of a message that its owner deleted and of which too little is left: no mailbox shows it, and the
/// server's next purge walks over it.
fn filler(frame: &Framed) -> Option<Parts> {
    let guid = hex(&Digest::of(&frame.offset.to_le_bytes()).0[..16]);
    let tail = |length: u64| format!("\n\x01\x03\nR00000001\nV{length:08x}\nG{guid}\n\n");
    let length = frame.size.checked_sub((HEADER + tail(0).len()) as u64).filter(|&length| length < 1 << 32)?;
    let (head, tail) = (header(length), tail(length).into_bytes());
    Some(Parts(vec![Slice::Made { bytes: head }, Slice::Fill { length }, Slice::Made { bytes: tail }]))
}

fn header(length: u64) -> Vec<u8> {
    [MAGIC, format!("{length:016X}\n").as_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One message from its copy, with what has to stand around it.
fn message(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    ward: &Ward,
    place: Place,
    guid: Guid,
) -> Result<Result<Parts, String>, EngineError> {
    let content = match read(job, ward)? {
        Ok(content) => content,
        Err(why) => return Ok(Err(why)),
    };
    let around = (HEADER + MAGIC_POST.len()) as u64 + content.length;
    let Some(room) = u64::from(place.size).checked_sub(around) else { return Ok(Err(OTHER_LENGTH.to_owned())) };
    let mailbox = &mailboxes[ward.harm.mailbox];
    let mut own = Own::default();
    if let (true, Ok(path)) = (ward.harm.present, mailbox.dir.join(&ward.harm.name)) {
        let root = job.store.root;
        // What the medium does not give, the copy has.
        own = job.store_lane().own(root, &path)?.unwrap_or_default();
    }
    let known = Known {
        guid: hex(&guid),
        received: ward.harm.row.as_ref().map(|row| row.attrs.mtime.sec),
        crlf: content.crlf,
        mailboxes: std::iter::once(mailbox).chain(mailboxes).map(|mailbox| mailbox.name.clone().into_bytes()).collect(),
    };
    let Some(lines) = known.trailer(&lines(&own), &content.lines, room) else {
        return Ok(Err(OTHER_LENGTH.to_owned()));
    };
    let mut parts = Parts::default();
    parts.made(header(content.length));
    parts.copy(&ward.from, 0, content.length);
    parts.made([MAGIC_POST, &lines.concat()].concat());
    Ok(Ok(parts))
}

/// A message from its copy with all that stands around it, wherever there is room, and the length of that.
pub fn anew(
    job: &mut Job<'_>,
    mailbox: &Mailbox,
    ward: &Ward,
    guid: Guid,
) -> Result<Result<(Parts, u64), String>, EngineError> {
    let content = match read(job, ward)? {
        Ok(content) => content,
        Err(why) => return Ok(Err(why)),
    };
    let known = Known {
        guid: hex(&guid),
        received: ward.harm.internal_date().map(|date| date.sec),
        crlf: content.crlf,
        mailboxes: vec![mailbox.name.clone().into_bytes()],
    };
    let Some(lines) = known.lines(&[], &content.lines) else {
        return Ok(Err("nothing tells when it was received".to_owned()));
    };
    let behind = [MAGIC_POST, &lines.concat()].concat();
    let length = HEADER as u64 + content.length + behind.len() as u64;
    let mut parts = Parts::default();
    parts.made(header(content.length));
    parts.copy(&ward.from, 0, content.length);
    parts.made(behind);
    Ok(Ok((parts, length)))
}

const OTHER_LENGTH: &str = "the copy with what the server notes of it is not as long as the message was by the map, as where \
                            one of the two is stored compressed";

/// What a copy gives.
struct Content {
    length: u64,
    /// With every line end as CRLF.
    crlf: u64,
    /// What its server notes of it.
    lines: Vec<Vec<u8>>,
}

/// Reads the copy once more: what is put into the place of a message is exactly what was chosen.
fn read(job: &mut Job<'_>, ward: &Ward) -> Result<Result<Content, String>, EngineError> {
    let generation = &job.generations[ward.from.source.unwrap_or(0) as usize];
    let (lane, root) = (generation.lane, generation.root);
    let (mut hashing, mut feeds, mut last) = (Hashing::new(), 0, 0);
    let form = (&ward.from.form, Some(Encoding::Plain));
    let fetched = job.lanes.lanes[lane].fetch(root, &ward.from.path, form, &mut |bytes| {
        hashing.feed(bytes);
        for &byte in bytes {
            feeds += u64::from(byte == b'\n' && last != b'\r');
            last = byte;
        }
        Ok(())
    })?;
    if let Err(trouble) = fetched {
        return Ok(Err(format!("the copy cannot be read: {}", trouble.detail)));
    }
    let hashes = hashing.finish();
    if (hashes.digest, hashes.length) != (ward.content, ward.length) {
        return Ok(Err("the copy changed since it was read".to_owned()));
    }
    let own = match container::lies(&ward.from.path) {
        Lies::InStorage => job.lanes.lanes[lane].own(root, &ward.from.path)?.unwrap_or_default(),
        Lies::InMbox | Lies::Alone => Own::default(),
    };
    Ok(Ok(Content { length: hashes.length, crlf: hashes.length + feeds, lines: lines(&own) }))
}

/// The lines of a trailer, each with its end; the empty one last.
fn lines(own: &Own) -> Vec<Vec<u8>> {
    own.fields.iter().map(|field| field.text.clone()).collect()
}

/// What is known of a message beside its bytes.
struct Known {
    guid: String,
    received: Option<i64>,
    crlf: u64,
    /// Names of mailboxes that it may have been delivered to, the likeliest first.
    mailboxes: Vec<Vec<u8>>,
}

impl Known {
    /// The lines behind the message, of `room` bytes: its own where they are right, else the copy's, else such as the server
    /// would have written. One byte more or less would put all that follows out of place.
    fn trailer(&self, own: &[Vec<u8>], theirs: &[Vec<u8>], room: u64) -> Option<Vec<Vec<u8>>> {
        let fits = |lines: &Vec<Vec<u8>>| lines.iter().map(|line| line.len() as u64).sum::<u64>() == room;
        if self.agrees(own) && fits(&own.to_vec()) {
            return Some(own.to_vec());
        }
        let theirs = theirs.to_vec();
        let noted = value(&theirs, b'R').and_then(|text| i64::from_str_radix(&text, 16).ok());
        let made = self.received.or(noted).map(|received| {
            let line = |text: String| format!("{text}\n").into_bytes();
            let crlf = line(format!("V{:x}", self.crlf));
            vec![
                line(format!("R{received:x}")),
                crlf,
                line(format!("G{}", self.guid)),
                line("B".to_owned()),
                b"\n".to_vec(),
            ]
        });
        let with_guid = |mut lines: Vec<Vec<u8>>| {
            if self.is_named(&lines) {
                return Some(lines);
            }
            let line = lines.iter_mut().find(|line| line.first() == Some(&b'G'))?;
            *line = format!("G{}\n", self.guid).into_bytes();
            Some(lines)
        };
        let copied = with_guid(theirs).filter(|lines| self.agrees(lines));
        let plain = copied.iter().cloned();
        // What is made names a mailbox in any case: a rebuild by the server would know none.
        let renamed =
            || copied.iter().chain(&made).flat_map(|lines| self.mailboxes.iter().map(|name| delivered(lines, name)));
        let own = self.agrees(own).then(|| own.to_vec());
        let mut spread = own.into_iter().chain(copied.clone()).chain(renamed());
        plain.chain(renamed()).find(fits).or_else(|| spread.find_map(|lines| padded(&lines, room)))
    }

    /// The lines behind a message that may take as much room as it needs.
    fn lines(&self, own: &[Vec<u8>], theirs: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let least = |lines: &[Vec<u8>]| lines.iter().map(|line| line.len() as u64).sum::<u64>();
        let rooms = [least(own), least(theirs)];
        rooms.into_iter().find_map(|room| self.trailer(own, theirs, room)).or_else(|| {
            let name = self.mailboxes.first().map_or(0, Vec::len);
            let received = self.received.map(|received| format!("{received:x}").len())?;
            let around = b"R\nV\nG\nB\n\n".len() + self.guid.len() + name + received;
            self.trailer(&[], &[], (around + format!("{:x}", self.crlf).len()) as u64)
        })
    }

    /// Whether these lines are those of this message, with nothing wrong that can be known.
    fn agrees(&self, lines: &[Vec<u8>]) -> bool {
        let compressed = value(lines, b'Z').is_some();
        let crlf = value(lines, b'V').and_then(|text| u64::from_str_radix(&text, 16).ok());
        let received = value(lines, b'R').and_then(|text| i64::from_str_radix(&text, 16).ok());
        let dated = self.received.is_none_or(|known| received == Some(known));
        self.is_named(lines) && dated && (compressed || crlf == Some(self.crlf))
    }

    /// Whether the GUID in the lines is the one in the index, which has a hash of any that is not 32 digits.
    fn is_named(&self, lines: &[Vec<u8>]) -> bool {
        value(lines, b'G').is_some_and(|guid| hex(&message_guid(guid.as_bytes())) == self.guid)
    }
}

fn value(lines: &[Vec<u8>], key: u8) -> Option<String> {
    let line = lines.iter().find(|line| line.first() == Some(&key))?;
    String::from_utf8(line.strip_suffix(b"\n")?[1..].to_vec()).ok()
}

/// The same lines, filled up to `room` bytes: where the server mended a file, it gave a message what was left of another.
/// Zeros before the number that says when it was received change nothing for anybody.
fn padded(lines: &[Vec<u8>], room: u64) -> Option<Vec<Vec<u8>>> {
    let length: u64 = lines.iter().map(|line| line.len() as u64).sum();
    let lacking = usize::try_from(room.checked_sub(length)?).ok().filter(|&lacking| lacking <= PADDING_MAX)?;
    let mut lines = lines.to_vec();
    let line = lines.iter_mut().find(|line| line.first() == Some(&b'R'))?;
    line.splice(1..1, std::iter::repeat_n(b'0', lacking));
    Some(lines)
}

/// Bytes that may be filled up: more are another message.
const PADDING_MAX: usize = 256;

/// The same lines of a message that was delivered to that mailbox.
fn delivered(lines: &[Vec<u8>], mailbox: &[u8]) -> Vec<Vec<u8>> {
    let renamed = |line: &Vec<u8>| match line.first() {
        Some(b'B') => [b"B", mailbox, b"\n"].concat(),
        _ => line.clone(),
    };
    lines.iter().map(renamed).collect()
}

/// Why a message cannot come back to the storage that it was in.
pub fn holds_back(mailbox: &Mailbox, harm: &Harm, recovered: bool) -> Option<&'static str> {
    if mailbox.format != Format::Mdbox {
        return None;
    }
    if !harm.present && recovered {
        return Some("held: a new folder for undecided messages cannot be made of mdbox");
    }
    match named(mailbox, harm) {
        Some(named) if named.place.is_some() && named.guid.is_some() => None,
        Some(_) => Some("held: nothing tells where in the storage it has to be"),
        // It comes back to a place of its own.
        None if known(harm).is_some() => None,
        None => Some(
            "held: the server has noticed the loss and shows it no more, and nothing brings it back under its UID: take it \
             out of the source with doveadm import, which keeps flags, keywords and date and gives it a new UID",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::form::Form;
    use crate::model::plan::Location;
    use crate::store::sdbox::frame;

    fn framed(offset: u64, shown: u16, sound: bool) -> Framed {
        Framed { offset, size: 200, shown, sound, guid: None }
    }

    fn comes_back(offset: u32) -> (u64, (Place, Parts)) {
        let from = Location { source: Some(0), path: RelPath::root(), form: Form::default() };
        let mut parts = Parts::default();
        parts.copy(&from, 0, 200);
        (offset.into(), (Place { file: 1, offset, size: 200 }, parts))
    }

    fn length(parts: &[Slice]) -> u64 {
        let one = |part: &Slice| match part {
            Slice::Keep { span } | Slice::Copy { span, .. } => span.length,
            Slice::Made { bytes } => bytes.len() as u64,
            Slice::Fill { length } => *length,
        };
        parts.iter().map(one).sum()
    }

    #[test]
    fn every_message_keeps_its_place() {
        let frames = vec![framed(16, 1, true), framed(216, 0, true), framed(416, 1, false), framed(616, 1, true)];
        let storage = Storage { complete: true, begins: true, frames, ..Storage::default() };
        let parts = |size, healed: &[u32]| whole(&storage, size, healed.iter().copied().map(comes_back).collect(), 1);
        let whole_file = parts(816, &[416]).expect("parts");
        assert!(
            matches!(&whole_file[..], [Slice::Keep { .. }, Slice::Copy { .. }, Slice::Keep { .. }]),
            "{whole_file:?}"
        );
        assert_eq!(length(&whole_file), 816);
        // Cut off within what was deleted: that is filled, and what has no copy is not there at the end.
        let cut = parts(300, &[416]).expect("parts");
        let fills = |part: &Slice| matches!(part, Slice::Fill { .. });
        assert!(cut.iter().any(fills) && matches!(cut.last(), Some(Slice::Copy { .. })), "{cut:?}");
        assert_eq!(length(&cut), 616);
        assert!(parts(300, &[616]).is_err(), "the third one has no copy");
        assert_eq!(length(&parts(216, &[16]).expect("parts")), 416, "what was deleted at the end is filled too");
        assert!(parts(816, &[417]).is_err(), "the map tells of no such place");
        // Emptied or lost: the line of the file comes back too.
        let all = whole(&Storage { begins: false, ..storage }, 0, [16, 416, 616].map(comes_back).into(), 0x6560_a1b2);
        assert_eq!(length(&all.expect("parts")), 816);
    }

    #[test]
    fn what_fills_a_place_is_a_sound_message() {
        let bytes = |part: &Slice| match part {
            Slice::Made { bytes } => bytes.clone(),
            Slice::Fill { length } => vec![b' '; *length as usize],
            other => panic!("{other:?}"),
        };
        let filled = filler(&framed(16, 0, false)).expect("enough room");
        let filled = filled.0.iter().map(bytes).collect::<Vec<_>>().concat();
        let whole = frame::read_one(&filled, &filled, filled.len() as u64);
        assert_eq!((filled.len(), whole.broken.len(), whole.short_of), (200, 0, None), "{whole:?}");
        assert!(filler(&Framed { size: 60, ..framed(16, 0, false) }).is_none());
    }

    #[test]
    fn lines_behind_a_message_are_as_long_as_they_were() {
        let known = Known {
            guid: "0".repeat(32),
            received: Some(0x6560_a1b1),
            crlf: 0x100,
            mailboxes: vec![b"INBOX".to_vec(), b"Archive".to_vec()],
        };
        let trailer = |mailbox: &str| format!("R6560a1b1\nV100\nG{}\nB{mailbox}\n\n", "0".repeat(32));
        let lines = |text: &str| text.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
        let room = |mailbox: &str| trailer(mailbox).len() as u64;
        let own = lines(&trailer("Archive"));
        assert_eq!(known.trailer(&own, &[], room("Archive")), Some(own.clone()));
        let wrong = lines(&trailer("Archive").replace("V100", "V101"));
        assert_eq!(known.trailer(&wrong, &[], room("Archive")), Some(own.clone()), "made again");
        let theirs =
            lines(&trailer("INBOX").replace('0', "1").replace("V111", "V100").replace("R6561a1b1", "R6560a1b1"));
        assert_eq!(known.trailer(&[], &theirs, room("Archive")), Some(own));
        let longer = known.trailer(&[], &theirs, room("INBOX") + 3).expect("filled up");
        assert!(longer[0].starts_with(b"R0006560a1b1") && longer.concat().len() as u64 == room("INBOX") + 3);
        assert!(known.agrees(&longer), "it says the same");
        assert_eq!(known.trailer(&[], &theirs, room("INBOX") - 1), None);
        assert_eq!(known.trailer(&[], &theirs, room("INBOX") + 300), None, "so much is another message's");
        let free = [known.lines(&[], &theirs), known.lines(&[], &[])].map(|lines| lines.expect("lines").concat());
        assert_eq!(free.map(|bytes| bytes.len() as u64), [room("INBOX"); 2]);
    }
}

//! The damages of the table.

use crate::account::{ANN, Account, ELSEWHERE, Make, Time};
use crate::kit;
use crate::server::give;
use std::fs;
use std::path::{Path, PathBuf};

/// What the server does between damage and repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It did not look.
    Before,
    /// Clients and the administrator read everything, and left.
    Noticed,
    /// The same, and a client stays in another mailbox.
    Running,
}

pub const PHASES: [Phase; 3] = [Phase::Before, Phase::Noticed, Phase::Running];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    Lost,
    LostSynced,
    Truncated,
    Zeroed,
    Emptied,
    BodyBit,
    HeaderBit,
    FileHeaderBit,
    MessageHeaderBit,
    SizeDigit,
    TrailerBit,
    FromLineBit,
    BaseDigit,
    UidDigit,
    StatusBit,
    NoUidlist,
    HalfUidlist,
    ZeroedUidlist,
    NoKeywords,
    RandomIndex,
    RandomLog,
    NoIndexes,
    NoMap,
    FolderLost,
    LostAndFound,
    BlankDisk,
    BlankDiskStarted,
    MessagesDeleted,
    FolderDeleted,
}

use Row::*;

pub const ROWS: [(Row, &str); 29] = [
    (Lost, "one message lost"),
    (LostSynced, "the same, and synced"),
    (Truncated, "message truncated to half"),
    (Zeroed, "4 KiB of a message zeroed"),
    (Emptied, "message emptied"),
    (BodyBit, "one bit in the body"),
    (HeaderBit, "one bit in the header"),
    (FileHeaderBit, "one bit in the file's header line"),
    (MessageHeaderBit, "one bit in the message's frame"),
    (SizeDigit, "one digit of the size in it"),
    (TrailerBit, "one bit in the trailer"),
    (FromLineBit, "one bit in the \"From \" line"),
    (BaseDigit, "one digit of X-IMAPbase"),
    (UidDigit, "one digit of X-UID"),
    (StatusBit, "one bit in Status"),
    (LostAndFound, "message found as #12345"),
    (NoUidlist, "dovecot-uidlist deleted"),
    (HalfUidlist, "dovecot-uidlist cut to half"),
    (ZeroedUidlist, "dovecot-uidlist, 4 KiB zeroed"),
    (NoKeywords, "dovecot-keywords deleted"),
    (RandomIndex, "dovecot.index, 4 KiB random"),
    (RandomLog, "dovecot.index.log, 4 KiB random"),
    (NoIndexes, "all dovecot.index* deleted"),
    (NoMap, "dovecot.map.index* deleted"),
    (FolderLost, "folder removed"),
    (BlankDisk, "blank disk"),
    (BlankDiskStarted, "blank disk, server started"),
    (MessagesDeleted, "messages deleted by the user"),
    (FolderDeleted, "folder deleted by the user"),
];

/// Where messages are damaged: mailbox, UID. They are large, and differ from all that was done that day.
pub const VICTIMS: [(&str, u32); 2] = [("INBOX", 34), ("Archive.2023", 14)];

impl Row {
    /// Whether there is anything to repair.
    pub fn is_harm(self) -> bool {
        !matches!(self, MessagesDeleted | FolderDeleted)
    }

    pub fn phases(self, make: Make) -> &'static [Phase] {
        let of_files = matches!(self, FromLineBit | BaseDigit | UidDigit | StatusBit);
        let shared = matches!(self, Truncated | Zeroed | BodyBit | HeaderBit | MessagesDeleted | FolderDeleted);
        if of_files || make == Make::Mbox {
            return if make == Make::Mbox && (of_files || shared) { &PHASES } else { &[] };
        }
        let framed = matches!(self, FileHeaderBit | MessageHeaderBit | SizeDigit | TrailerBit);
        if make == Make::Mdbox || self == NoMap {
            let there = (framed && self != FileHeaderBit) || shared || matches!(self, Lost | Emptied | NoMap);
            return if make == Make::Mdbox && there { &PHASES } else { &[] };
        }
        let maildirs = matches!(
            self,
            LostAndFound
                | NoUidlist
                | HalfUidlist
                | ZeroedUidlist
                | NoKeywords
                | RandomIndex
                | RandomLog
                | BlankDisk
                | BlankDiskStarted
        );
        if framed != (make == Make::Sdbox && framed) || (maildirs && make == Make::Sdbox) {
            return &[];
        }
        match self {
            BlankDisk => &PHASES[..1],
            LostSynced | BlankDiskStarted => &PHASES[1..],
            _ => &PHASES,
        }
    }

    /// Of a blank disk nothing tells what was done that day.
    pub fn time(self) -> Time {
        if matches!(self, BlankDisk | BlankDiskStarted) { Time::Evening } else { Time::NextDay }
    }

    /// Does it.
    pub fn inflict(self, account: &Account, make: Make) {
        let each_file = |damage: &dyn Fn(&mut Vec<u8>)| {
            if make == Make::Mbox {
                return VICTIMS.iter().for_each(|(m, uid)| change_within(&account.folder(m), *uid, damage));
            }
            if make == Make::Mdbox {
                return VICTIMS.iter().for_each(|(m, uid)| {
                    let (file, place) = account.place(m, *uid);
                    change(&file, &|bytes| change_part(bytes, (place.start, place.end), damage));
                });
            }
            VICTIMS.iter().for_each(|(mailbox, uid)| change(&account.file(mailbox, *uid), damage));
        };
        let each_folder = |damage: &dyn Fn(&Path)| VICTIMS.iter().for_each(|(m, _)| damage(&account.folder(m)));
        match self {
            Lost | Emptied | NoMap if make == Make::Mdbox => self.inflict_on_storage(account),
            Lost | LostSynced => {
                VICTIMS.iter().for_each(|(m, uid)| fs::remove_file(account.file(m, *uid)).expect("a loss"))
            }
            Truncated => each_file(&|bytes| bytes.truncate(bytes.len() / 2)),
            Zeroed => each_file(&|bytes| middle(bytes).fill(0)),
            Emptied => each_file(&|bytes| bytes.clear()),
            BodyBit => each_file(&|bytes| middle(bytes)[7] ^= 4),
            HeaderBit if make == Make::Zstd => each_file(&|bytes| bytes[4] ^= 4),
            HeaderBit => each_file(&|bytes| {
                let at = bytes.windows(9).position(|part| part == b"Subject: ").expect("a subject");
                bytes[at + 9] ^= 4;
            }),
            FileHeaderBit => each_file(&|bytes| bytes[2] ^= 4),
            MessageHeaderBit => each_file(&|bytes| {
                let at = frame(bytes);
                bytes[at + 1] ^= 4;
            }),
            SizeDigit => each_file(&|bytes| {
                let at = frame(bytes);
                bytes[at + 26] ^= 1;
            }),
            TrailerBit => each_file(&|bytes| {
                let at = bytes.windows(4).rposition(|part| part == b"\n\x01\x03\n").expect("a trailer");
                bytes[at + 2] ^= 4;
            }),
            FromLineBit => each_file(&|bytes| bytes[2] ^= 4),
            BaseDigit => VICTIMS.iter().for_each(|(mailbox, _)| {
                change(&account.folder(mailbox), &|bytes| {
                    let at = bytes.windows(12).position(|part| part == b"X-IMAPbase: ").expect("a field");
                    bytes[at + 20] ^= 1;
                });
            }),
            UidDigit => each_file(&|bytes| {
                let at = bytes.windows(7).position(|part| part == b"X-UID: ").expect("a field");
                bytes[at + 8] ^= 1;
            }),
            StatusBit => each_file(&|bytes| {
                let at = bytes.windows(9).position(|part| part == b"\nStatus: ").expect("a field");
                bytes[at + 9] ^= 4;
            }),
            LostAndFound => VICTIMS.iter().for_each(|(mailbox, uid)| {
                let file = account.file(mailbox, *uid);
                fs::rename(&file, file.with_file_name("#12345")).expect("another name");
            }),
            NoUidlist => each_folder(&|dir| fs::remove_file(dir.join("dovecot-uidlist")).expect("a list")),
            HalfUidlist => {
                each_folder(&|dir| change(&dir.join("dovecot-uidlist"), &|bytes| bytes.truncate(bytes.len() / 2)));
            }
            ZeroedUidlist => each_folder(&|dir| change(&dir.join("dovecot-uidlist"), &|bytes| middle(bytes).fill(0))),
            NoKeywords => each_folder(&|dir| fs::remove_file(dir.join("dovecot-keywords")).expect("keywords")),
            RandomIndex => each_folder(&|dir| change(&dir.join("dovecot.index"), &|bytes| randomize(bytes))),
            RandomLog => each_folder(&|dir| change(&dir.join("dovecot.index.log"), &|bytes| randomize(bytes))),
            NoMap => panic!("only mdbox has a map"),
            NoIndexes => {
                let all = walkdir::WalkDir::new(&account.store).into_iter().flatten();
                let indexes = all.filter(|e| e.file_name().as_encoded_bytes().starts_with(b"dovecot.index"));
                indexes.for_each(|entry| fs::remove_file(entry.path()).expect("an index"));
            }
            FolderLost => fs::remove_dir_all(account.folder("Archive.2023")).expect("a folder"),
            BlankDisk => blank(account),
            BlankDiskStarted => {
                blank(account);
                started(account);
            }
            MessagesDeleted => {
                let mut imap = account.server.imap(ANN);
                imap.must("SELECT INBOX");
                imap.must("UID STORE 80:91 +FLAGS (\\Deleted)");
                imap.must("UID EXPUNGE 80:91");
                if make != Make::Mbox {
                    imap.must("UID MOVE 100:104 Archive");
                }
                imap.must("LOGOUT");
            }
            FolderDeleted => {
                let mut imap = account.server.imap(ANN);
                imap.must("DELETE Old");
                imap.must("LOGOUT");
            }
        }
    }

    /// The same of files that mailboxes share: all that lies in one is lost with it.
    fn inflict_on_storage(self, account: &Account) {
        if self == NoMap {
            let files = fs::read_dir(account.storage()).expect("a storage").flatten();
            let map = files.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"dovecot.map"));
            return map.for_each(|entry| fs::remove_file(entry.path()).expect("a map"));
        }
        for (mailbox, uid) in VICTIMS {
            let file = account.place(mailbox, uid).0;
            match self {
                Lost => fs::remove_file(file).expect("a loss"),
                _ => change(&file, &|bytes| bytes.clear()),
            }
        }
    }

    /// Where a client stays while all is repaired.
    pub fn elsewhere(self) -> &'static str {
        if self == BlankDiskStarted { "Junk" } else { ELSEWHERE }
    }
}

fn blank(account: &Account) {
    fs::remove_dir_all(&account.store).expect("a store");
    fs::create_dir(&account.store).expect("an empty store");
    give(&account.store);
}

/// The server runs on the empty disk: mail comes, and a user makes a folder.
fn started(account: &Account) {
    let mut imap = account.server.imap(ANN);
    for number in FRESH {
        imap.append("INBOX", "", &kit::letter(number, 2000));
    }
    imap.must("CREATE Junk");
    imap.must("LOGOUT");
}

/// Numbers of the messages that came since.
pub const FRESH: [u64; 2] = [9001, 9002];

/// Changes a file in place that nobody else has, without a trace in its dates.
fn change(path: &PathBuf, damage: &dyn Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a file");
    let date = fs::metadata(path).and_then(|meta| meta.modified()).expect("a date");
    damage(&mut bytes);
    fs::write(path, bytes).expect("damage");
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.set_modified(date).expect("its date");
}

/// Changes a message of an mbox, its first line included. One that becomes shorter ends the file there.
fn change_within(path: &PathBuf, uid: u32, damage: &dyn Fn(&mut Vec<u8>)) {
    change(path, &|bytes| {
        let field = format!("\nX-UID: {uid}\n");
        let field = memchr::memmem::find(bytes, field.as_bytes()).expect("the message");
        let start = memchr::memmem::rfind(&bytes[..field + 1], b"\nFrom ").map_or(0, |at| at + 1);
        let end = memchr::memmem::find(&bytes[field..], b"\nFrom ").map_or(bytes.len(), |at| field + at + 1);
        change_part(bytes, (start, end), damage);
    });
}

/// Changes a part of a file. One that becomes shorter ends the file there.
fn change_part(bytes: &mut Vec<u8>, (start, end): (usize, usize), damage: &dyn Fn(&mut Vec<u8>)) {
    let mut message = bytes[start..end].to_vec();
    damage(&mut message);
    let cut = message.len() < end - start;
    bytes.splice(start..end, message);
    if cut {
        let length = bytes.len().min(start + (end - start) / 2);
        bytes.truncate(length);
    }
}

/// Where the header of an sdbox message begins.
fn frame(bytes: &[u8]) -> usize {
    bytes.windows(3).position(|part| part == b"\x01\x02N").expect("a frame")
}

/// 4 KiB, or as much as there is of it between the first and the last quarter.
fn middle(bytes: &mut [u8]) -> &mut [u8] {
    let length = (bytes.len() / 2).min(4096);
    let start = (bytes.len() - length) / 2;
    &mut bytes[start..start + length]
}

fn randomize(bytes: &mut [u8]) {
    let mut dice = fastrand::Rng::with_seed(5);
    middle(bytes).fill_with(|| dice.u8(..));
}

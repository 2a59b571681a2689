//! An account that real clients worked in, its replica and its catalog: built once, put in place anew for every damage.

use crate::common::{Mailmend, must, spec};
use crate::kit;
use crate::server::{Dovecot, OWNER, give};
use mailmend::store::dovecot::extras::Files;
use mailmend::store::dovecot::uidlist;
use mailmend::store::mdbox::map::{Index, Map};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the account whose mail is damaged, and of its partner.
pub const ANN: &str = "ann@store";
pub const PARTNER: &str = "ann@replica";

/// Mailboxes with the numbers of their first message and of how many there are at first.
pub const MAILBOXES: [(&str, u64, u64); 5] =
    [("INBOX", 1000, 150), ("Archive", 2000, 40), ("Archive.2023", 3000, 60), ("Sent", 4000, 20), ("Old", 5000, 10)];
/// Where nothing is damaged but with everything else, and a client may be.
pub const ELSEWHERE: &str = "Sent";

/// How the server stores mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Plain,
    Zstd,
    Sdbox,
    Mdbox,
    Mbox,
}

impl Make {
    /// The folder of an account's mail, and what the server calls the format.
    fn home(self) -> &'static str {
        match self {
            Make::Plain | Make::Zstd => "Maildir",
            Make::Sdbox => "sdbox",
            Make::Mdbox => "mdbox",
            Make::Mbox => "mail",
        }
    }

    fn format(self) -> &'static str {
        match self {
            Make::Plain | Make::Zstd => "maildir",
            Make::Sdbox => "sdbox",
            Make::Mdbox => "mdbox",
            Make::Mbox => "mbox",
        }
    }

    /// Whether the server keeps names that POP3 clients know messages by.
    pub fn has_uidls(self) -> bool {
        matches!(self, Make::Plain | Make::Zstd)
    }
}

/// When something is damaged: the replica and the catalog are of the evening before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    Evening,
    NextDay,
}

/// What the repair has to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replica {
    /// By `doveadm backup`.
    Backup,
    /// File by file.
    Copy,
}

pub struct Account {
    dir: tempfile::TempDir,
    pub store: PathBuf,
    pub replica: PathBuf,
    pub server: Dovecot,
    pub make: Make,
}

impl Account {
    pub fn build(make: Make) -> Account {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let [store, replica] = ["store", "replica"].map(|name| dir.path().join(name));
        for root in [&store, &replica] {
            fs::create_dir_all(root.join("ann").join(make.home())).expect("a store");
            give(root);
        }
        let server = Dovecot::with(&dir.path().join("dovecot"), &store, &settings(dir.path(), make));
        let mut account = Account { dir, store, replica, server, make };
        account.server.go();
        account.fill();
        if make.has_uidls() {
            account.note_pop3();
        }
        if make == Make::Mbox {
            fs::create_dir_all(account.dir.path().join("partner/ann")).expect("a place for the partner");
            give(&account.dir.path().join("partner"));
            let home = spec(&account.replica.join("ann").join(make.home()));
            account.succeed(&["backup", "-u", ANN, &format!("mbox:{home}:INBOX={home}/inbox")]);
        }
        account.succeed(&["backup", "-u", ANN, &account.partner()]);
        account.eager(&["flags", "add", "-u", ANN, "\\Seen", "mailbox", "*", "uid", "2"]);
        account.quiet();
        account.tool().verify(&account.store).expect(0);
        must("mkdir", &["-p", &spec(&account.kept("."))]);
        account.keep("store", "evening");
        account.keep("replica", "replica");
        account.keep("state", "state");
        if make == Make::Mbox {
            account.keep("partner", "partner");
        }
        account.day();
        account.quiet();
        account.keep("store", "day");
        account
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.dir.path().join("kept").join(name)
    }

    /// The files of the evening, in a backup that no server knows.
    pub fn snapshot(&self) -> PathBuf {
        self.kept("evening")
    }

    fn keep(&self, name: &str, under: &str) {
        must("cp", &["-a", &spec(&self.dir.path().join(name)), &spec(&self.kept(under))]);
    }

    /// Everything as it was, whatever has been done to it since.
    pub fn restore(&self, time: Time, replica: Replica) {
        self.quiet();
        let store = if time == Time::Evening { "evening" } else { "day" };
        let partner = if replica == Replica::Backup { "replica" } else { "evening" };
        for (name, kept) in [("store", store), ("replica", partner), ("state", "state")] {
            let place = self.dir.path().join(name);
            drop(fs::remove_dir_all(&place));
            must("cp", &["-a", &spec(&self.kept(kept)), &spec(&place)]);
        }
        if self.make == Make::Mbox {
            let place = self.dir.path().join("partner");
            drop(fs::remove_dir_all(&place));
            must("cp", &["-a", &spec(&self.kept("partner")), &spec(&place)]);
        }
    }

    /// Whether the partner of a sync is the account that clients see as [`PARTNER`].
    pub fn partner_is_seen(&self) -> bool {
        self.make != Make::Mbox
    }

    pub fn tool(&self) -> Mailmend {
        Mailmend::with_state(self.dir.path().join("state"))
    }

    /// Where the server has a mailbox.
    pub fn folder(&self, mailbox: &str) -> PathBuf {
        folder(&self.store, mailbox, self.make)
    }

    pub fn partner(&self) -> String {
        let home = spec(&self.replica.join("ann").join(self.make.home()));
        match self.make {
            // This version's dsync panics where it has to change an mbox at the other end.
            Make::Mbox => format!("maildir:{}:LAYOUT=fs", spec(&self.dir.path().join("partner/ann/Maildir"))),
            make => format!("{}:{home}", make.format()),
        }
    }

    /// The file of a message.
    pub fn file(&self, mailbox: &str, uid: u32) -> PathBuf {
        let folder = self.folder(mailbox);
        if self.make == Make::Sdbox {
            return folder.join(format!("u.{uid}"));
        }
        let list = uidlist::parse(&fs::read(folder.join("dovecot-uidlist")).expect("a list of UIDs")).list;
        let name = list.get(uid).unwrap_or_else(|| panic!("{mailbox}: no UID {uid}")).name.clone();
        let files = ["cur", "new"].map(|sub| fs::read_dir(folder.join(sub)).expect("a mailbox"));
        let mut files = files.into_iter().flatten().flatten().map(|entry| entry.path());
        let found = files.find(|path| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(&name)));
        found.unwrap_or_else(|| panic!("{mailbox}: UID {uid} has no file"))
    }

    /// The storage of an mdbox.
    pub fn storage(&self) -> PathBuf {
        self.store.join("ann/mdbox/storage")
    }

    /// The storage file of a message of an mdbox, and where it lies in that.
    pub fn place(&self, mailbox: &str, uid: u32) -> (PathBuf, Range<usize>) {
        let files = |dir: &Path, names: [&str; 3]| {
            let mut data = names.map(|name| fs::read(dir.join(name)).ok()).into_iter();
            Files { index: data.next().flatten(), logs: data.flatten().collect() }
        };
        let own = files(&self.folder(mailbox), ["dovecot.index", "dovecot.index.log.2", "dovecot.index.log"]);
        let map = files(&self.storage(), ["dovecot.map.index", "dovecot.map.index.log.2", "dovecot.map.index.log"]);
        let shown = Index::read(&own).shown.into_iter().find(|shown| shown.uid == uid).expect("it is shown");
        let (place, _) = Map::read(&map).places[&shown.number.expect("a number in the map")];
        let from = place.offset as usize;
        (self.storage().join(format!("m.{}", place.file)), from..from + place.size as usize)
    }

    pub fn succeed(&self, args: &[&str]) {
        let output = self.server.doveadm(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// A command after which the indexes are files of their own, not only logs.
    fn eager(&self, args: &[&str]) {
        self.succeed(&[&["-o", "mail_index_rewrite_min_log_bytes=1"], args].concat());
    }

    fn fill(&self) {
        let mut imap = self.server.imap(ANN);
        for (mailbox, first, count) in MAILBOXES {
            if ["Archive", "Archive.2023", "Old"].contains(&mailbox) {
                imap.must(&format!("CREATE {mailbox}"));
                imap.must(&format!("SUBSCRIBE {mailbox}"));
            }
            for number in first..first + count {
                let flags = ["\\Seen", "\\Seen $Label1", "", "\\Seen \\Answered work", "\\Flagged work $Label1"];
                let message = kit::letter(number, if number % 10 == 3 { 16_000 } else { 2000 });
                let (day, minute) = (1 + number % 28, number % 60);
                let head = format!(
                    "APPEND {mailbox} ({}) \"{day:02}-Mar-2023 10:{minute:02}:07 +0000\" {{{}+}}\r\n",
                    flags[usize::try_from(number % 5).expect("a place")],
                    message.len()
                );
                let (_, end) = imap.command(&[head.as_bytes(), &message].concat()).expect("APPEND");
                assert!(end.starts_with("OK"), "{end}");
            }
            imap.must(&format!("SELECT {mailbox}"));
            imap.must("UID STORE 5:7 +FLAGS (\\Deleted)");
            imap.must("UID EXPUNGE 5:7");
        }
        imap.must("LOGOUT");
        drop(imap);
        self.quiet();
    }

    /// Names that POP3 clients know messages by, as an account has them that came from another server.
    fn note_pop3(&mut self) {
        for (mailbox, ..) in MAILBOXES {
            let path = self.folder(mailbox).join("dovecot-uidlist");
            let mut list = uidlist::parse(&fs::read(&path).expect("a list")).list;
            for record in list.records.iter_mut().filter(|record| record.uid % 3 == 0) {
                record.fields.push((b'P', format!("old{}x{}", mailbox.len(), record.uid).into_bytes()));
            }
            fs::write(&path, uidlist::write(&list).expect("it can be written")).expect("a list");
            give(&path);
        }
    }

    /// What happens between the evening and the damage.
    fn day(&self) {
        let mut imap = self.server.imap(ANN);
        imap.append("INBOX", "", &kit::letter(1900, 2000));
        imap.must("SELECT INBOX");
        imap.must("UID STORE 20,21 +FLAGS (\\Deleted)");
        imap.must("UID EXPUNGE 20,21");
        // From one mbox to another it leaves what makes this version's dsync panic.
        if self.make != Make::Mbox {
            imap.must("UID MOVE 22 Archive");
        }
        imap.must("UID STORE 60:70 +FLAGS (\\Answered urgent)");
        imap.must("LOGOUT");
    }

    /// Waits until no process has the list or the indexes of a mailbox open, but where a client may be.
    pub fn quiet(&self) {
        let beside = self.store.join("ann/mail/.imap").join(ELSEWHERE);
        let idle = [self.folder(ELSEWHERE), self.folder("Junk"), beside];
        let busy = |link: &Path| link.starts_with(&self.store) && !idle.iter().any(|dir| link.starts_with(dir));
        kit::wait_for("the end of all sessions", Duration::from_secs(10), || {
            // All that touch mail run as its owner.
            let processes = fs::read_dir("/proc").ok()?.flatten();
            let processes = processes.filter(|p| p.metadata().is_ok_and(|meta| meta.uid() == OWNER));
            let processes = processes.filter_map(|p| fs::read_dir(p.path().join("fd")).ok());
            let open = |fds: fs::ReadDir| fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
            let mut sessions: Vec<Vec<PathBuf>> = processes.map(open).collect();
            // All mailboxes of an mdbox have one map, which the client elsewhere has open too.
            let elsewhere = |links: &[PathBuf]| links.iter().any(|link| idle.iter().any(|dir| link.starts_with(dir)));
            let storage = self.storage();
            for links in sessions.iter_mut().filter(|links| elsewhere(links)) {
                links.retain(|link| !link.starts_with(&storage));
            }
            let indexes =
                |link: &PathBuf| link.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"dovecot"));
            let links = sessions.into_iter().flatten();
            (!links.filter(indexes).any(|link| busy(&link) && !list_index(&link))).then_some(())
        });
    }
}

/// The list of all mailboxes, which any session has open.
fn list_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"dovecot.list."))
}

pub fn folder(store: &Path, mailbox: &str, make: Make) -> PathBuf {
    if matches!(make, Make::Sdbox | Make::Mdbox) {
        return store.join("ann").join(make.home()).join("mailboxes").join(mailbox).join("dbox-Mails");
    }
    if make == Make::Mbox {
        return store.join("ann/mail").join(if mailbox == "INBOX" { "inbox" } else { mailbox });
    }
    let inbox = store.join("ann/Maildir");
    if mailbox == "INBOX" { inbox } else { inbox.join(format!(".{mailbox}")) }
}

fn settings(dir: &Path, make: Make) -> String {
    let zstd = match make {
        Make::Plain | Make::Sdbox | Make::Mbox => "",
        // Several files, of which one is not full.
        Make::Mdbox => "mdbox_rotate_size = 150k\n",
        Make::Zstd => "mail_plugins = zlib\nplugin {\n  zlib_save = zstd\n}\n",
    };
    let inbox = match make {
        Make::Mbox => format!(":INBOX={}/%d/%n/mail/inbox", spec(dir)),
        _ => String::new(),
    };
    format!(
        "{zstd}mail_location = {}:{}/%d/%n/{}{inbox}\n\
         namespace inbox {{\n  mailbox {ELSEWHERE} {{\n    auto = create\n  }}\n}}\n",
        make.format(),
        spec(dir),
        make.home()
    )
}

//! A store of many small messages, as a provider has it: 100 accounts of five mailboxes, most mail in the INBOX.

use fastrand::Rng;
use std::io;
use std::path::Path;

const ACCOUNTS: usize = 100;
/// Share of an account's messages in each mailbox, in percent.
const MAILBOXES: [(&str, usize); 5] = [("", 50), (".Sent", 20), (".Archive.2026", 20), (".Trash", 5), (".Lists", 5)];

pub struct Built {
    pub messages: usize,
    pub mailboxes: usize,
    pub bytes: u64,
}

/// Builds the store; the same seed gives the same.
pub fn build(store: &Path, seed: u64, messages: usize) -> io::Result<Built> {
    let mut rng = Rng::with_seed(seed);
    let mut built = Built { messages: 0, mailboxes: 0, bytes: 0 };
    for account in 0..ACCOUNTS {
        let own = messages / ACCOUNTS + usize::from(account < messages % ACCOUNTS);
        let mut left = own;
        for (number, (folder, share)) in MAILBOXES.iter().enumerate() {
            let dir = store.join(format!("example.org/user{account:03}")).join(folder);
            for sub in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(dir.join(sub))?;
            }
            built.mailboxes += 1;
            let here = if number + 1 == MAILBOXES.len() { left } else { own * share / 100 };
            left -= here;
            for _ in 0..here {
                let (name, text) = message(&mut rng, built.messages);
                built.bytes += text.len() as u64;
                built.messages += 1;
                std::fs::write(dir.join("cur").join(name), text)?;
            }
        }
    }
    Ok(built)
}

fn message(rng: &mut Rng, number: usize) -> (String, String) {
    let lines: String = (0..rng.usize(2..12)).map(|n| format!("line {n} says {:016x}\n", rng.u64(..))).collect();
    let text = format!(
        "From: sender{}@example.com\nTo: somebody@example.org\nSubject: message {number}\nMessage-ID: <{number}.{:x}@example.com>\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\n\n{lines}",
        rng.u32(..1000),
        rng.u64(..)
    );
    let flags = ["S", "", "RS", "FS"][rng.usize(..4)];
    let name = format!(
        "{}.M{}P{}.mx1,S={}:2,{flags}",
        1_700_000_000 + number,
        rng.u32(..1_000_000),
        rng.u32(..30_000),
        text.len()
    );
    (name, text)
}

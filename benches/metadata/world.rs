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

/// Makes the text of the message with this number.
pub type Write = fn(&mut Rng, usize) -> Vec<u8>;

/// Builds the store; the same seed gives the same.
pub fn build(store: &Path, seed: u64, messages: usize, write: Write) -> io::Result<Built> {
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
                let text = write(&mut rng, built.messages);
                let name = name(&mut rng, built.messages, text.len());
                built.bytes += text.len() as u64;
                built.messages += 1;
                std::fs::write(dir.join("cur").join(name), text)?;
            }
        }
    }
    Ok(built)
}

fn name(rng: &mut Rng, number: usize, size: usize) -> String {
    let flags = ["S", "", "RS", "FS"][rng.usize(..4)];
    let (stamp, micros, pid) = (1_700_000_000 + number, rng.u32(..1_000_000), rng.u32(..30_000));
    format!("{stamp}.M{micros}P{pid}.mx1,S={size}:2,{flags}")
}

//! The formats benchmark: `cargo bench --bench formats`. What each format costs beside Maildir: an audit and a first verify
//! of the same mail, kept in every format that mailmend reads, by time per byte of mail.
//!
//! Real Dovecot (doveadm) makes the stores of its formats out of the Maildir; MH and .eml are plain copies. Seeded; the
//! formats take turns, so that all meet the same machine. Prints ratios and is no test: only a person can tell whether
//! the machine was busy. `-- --cold` drops the kernel's caches before each (root), `-- --messages N` for another size.

mod common;

use common::{Options, forget};
use mailmend::drill::corpus::Mails;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the issue that asked for this promises.
const MOST: f64 = 1.3;
const ROUNDS: usize = 7;
const SEED: u64 = 7;
const ACCOUNTS: usize = 10;
const FORMATS: [&str; 6] = ["Maildir", "MH", ".eml", "sdbox", "mdbox", "mbox"];
/// Owner of all mail where root runs this: the server refuses mail of root's.
const OWNER: u32 = 51_234;

fn main() {
    let options = Options::of_command_line(10_000);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bytes = build(dir.path(), options.messages);
    println!("{} messages in {ACCOUNTS} accounts, {} MB, in each format\n", options.messages, bytes / 1_000_000);
    for command in ["audit", "verify"] {
        rounds(&options, dir.path(), command);
    }
}

fn store(dir: &Path, format: &str) -> PathBuf {
    dir.join(format.trim_start_matches('.'))
}

fn user(account: usize) -> String {
    format!("user{account}")
}

/// Builds all stores, and says how much mail there is. Bytes.
fn build(dir: &Path, messages: usize) -> u64 {
    let mut mails = Mails::generated(SEED);
    let mut bytes = 0;
    for number in 0..messages {
        let text = mails.message().expect("a message");
        bytes += text.len() as u64;
        let account = user(number % ACCOUNTS);
        let name = format!("{}.M{number}P1.mx,S={}:2,S", 1_700_000_000 + number, text.len());
        let nth = number / ACCOUNTS + 1;
        for (format, place) in [
            ("Maildir", format!("{account}/Maildir/cur/{name}")),
            ("MH", format!("{account}/inbox/{nth}")),
            (".eml", format!("{account}/{nth}.eml")),
        ] {
            let path = store(dir, format).join(place);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, &text).expect("a message");
        }
    }
    for account in (0..ACCOUNTS).map(user) {
        for sub in ["new", "tmp"] {
            fs::create_dir_all(store(dir, "Maildir").join(&account).join("Maildir").join(sub)).expect("a folder");
        }
        fs::write(store(dir, "MH").join(&account).join("inbox/.mh_sequences"), "").expect("a folder's marks");
    }
    convert(dir);
    bytes
}

/// Has the server write the same mail in its other formats.
fn convert(dir: &Path) {
    let own = dir.join("dovecot");
    fs::create_dir_all(&own).expect("a folder for the server");
    let conf = own.join("dovecot.conf");
    let text = format!(
        "base_dir = {0}/run\nlog_path = {0}/log\nssl = no\nprotocols = imap\nlisten = 127.0.0.1\nfirst_valid_uid = 1\n\
         mail_location = maildir:{1}/Maildir/%u/Maildir\nmail_uid = {OWNER}\nmail_gid = {OWNER}\n\
         passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
         userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={1}/home/%u\n}}\n\
         namespace inbox {{\n  inbox = yes\n  separator = /\n}}\nservice stats {{\n  chroot =\n}}\n\
         service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = 0\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n",
        own.display(),
        dir.display()
    );
    fs::write(&conf, text).expect("its configuration");
    for entry in walkdir::WalkDir::new(dir) {
        chown(entry.expect("a readable folder").path(), Some(OWNER), Some(OWNER)).expect("this bench needs root");
    }
    let _server = Server::start(&conf, &own.join("run/auth-userdb"));
    for format in ["sdbox", "mdbox", "mbox"] {
        for account in (0..ACCOUNTS).map(user) {
            let home = store(dir, format).join(&account);
            fs::create_dir_all(&home).expect("a home");
            for path in [&store(dir, format), &home] {
                chown(path, Some(OWNER), Some(OWNER)).expect("this bench needs root");
            }
            let mut target = format!("{format}:{}", home.display());
            if format == "mbox" {
                target = format!("{target}:INBOX={}/inbox", home.display());
            }
            let output =
                Command::new("doveadm").arg("-c").arg(&conf).args(["backup", "-u", &account, &target]).output();
            let output = output.expect("doveadm (install dovecot-core)");
            assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// The server, which alone knows its users. Ends when this is dropped.
struct Server(Child);

impl Server {
    fn start(conf: &Path, ready: &Path) -> Server {
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(conf).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server(command.spawn().expect("dovecot (install dovecot-imapd)"));
        for _ in 0..200 {
            if ready.exists() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("dovecot does not start");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status());
        drop(self.0.wait());
    }
}

/// Runs a command on a store, and holds the answer to what must come of it: a fast wrong answer is none. Seconds, bytes of mail.
fn run(command: &str, store: &Path, state: &Path, messages: usize) -> (f64, u64) {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_mailmend"));
    tool.env_clear().arg(command).arg(store).args(["--json", "--state"]).arg(state).stdin(Stdio::null());
    if command == "verify" {
        tool.args(["--read-from", "cache", "--backups", "0"]);
    }
    let began = Instant::now();
    let answer = tool.output().expect("the binary runs");
    let time = began.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&answer.stdout);
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or("")).expect("a summary");
    let first = text.lines().find(|line| line.contains("\"finding\"")).unwrap_or_default();
    assert!(answer.status.success(), "{}: {first}\n{summary}", store.display());
    assert_eq!(summary["messages"].as_u64(), Some(messages as u64), "{summary}");
    (time, summary["bytes"].as_u64().expect("bytes"))
}

fn rounds(options: &Options, dir: &Path, command: &str) {
    let mut costs: [Vec<f64>; FORMATS.len()] = Default::default();
    for round in 0..ROUNDS {
        for (format, costs) in FORMATS.iter().zip(&mut costs) {
            let store = store(dir, format);
            let state = dir.join(format!("state/{command}-{round}-{format}"));
            if options.cold {
                forget();
            } else {
                // What was in the cache before the others took their turns.
                run("audit", &store, &state.with_extension("warm"), options.messages);
            }
            let (time, bytes) = run(command, &store, &state, options.messages);
            costs.push(time / bytes as f64);
        }
    }
    let caches = if options.cold { "caches dropped before each" } else { "all of it in the cache" };
    println!("{command}, {ROUNDS} rounds, {caches}; time per byte beside Maildir, at most {MOST}:");
    for (format, own) in FORMATS.iter().zip(&costs) {
        let mut ratios: Vec<f64> = own.iter().zip(&costs[0]).map(|(own, maildir)| own / maildir).collect();
        ratios.sort_by(f64::total_cmp);
        let mut own = own.clone();
        own.sort_by(f64::total_cmp);
        let (median, ratio) = (Duration::from_secs_f64(own[ROUNDS / 2] * 1e9), ratios[ROUNDS / 2]);
        let word = if ratio <= MOST { "" } else { "  is missed" };
        println!(
            "  {format:8} {:6.2} s/GB  ratio {ratio:.2} ({:.2} to {:.2}){word}",
            median.as_secs_f64(),
            ratios[0],
            ratios[ROUNDS - 1]
        );
    }
    println!();
}

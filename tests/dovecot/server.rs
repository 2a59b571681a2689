//! A Dovecot of our own: every path in a temporary folder, loopback only, one user id for all mail.

use crate::common::spec;
use crate::imap::Imap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Owner of all mail; nobody on any machine.
pub const OWNER: u32 = 51_234;

/// A server that ends when this is dropped.
pub struct Dovecot {
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Dovecot {
    /// Starts on `store`, where the mail of user `ann` lies in `ann/Maildir`; `dir` is for its own files.
    pub fn start(dir: &Path, store: &Path) -> Dovecot {
        let mut server = Dovecot::stopped(dir, store);
        server.go();
        server
    }

    /// Configured, not started: `doveadm` works.
    pub fn stopped(dir: &Path, store: &Path) -> Dovecot {
        Dovecot::with(dir, store, "")
    }

    /// The same with more settings.
    pub fn with(dir: &Path, store: &Path, more: &str) -> Dovecot {
        fs::create_dir_all(dir.join("run")).expect("a folder for the server");
        // Mail processes are nobody in particular and have to get to the store.
        for part in dir.ancestors().take_while(|part| *part != Path::new("/tmp") && part.parent().is_some()) {
            fs::set_permissions(part, fs::Permissions::from_mode(0o755)).expect("a way in");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        fs::write(dir.join("dovecot.conf"), configuration(dir, store, port) + more).expect("its configuration");
        Dovecot { dir: dir.to_owned(), port, child: None }
    }

    pub fn go(&mut self) {
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(self.configuration());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("dovecot"));
        let start = Instant::now();
        while Imap::connect(self.port).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "dovecot does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        drop(Command::new("kill").args(["-TERM", &child.id().to_string()]).status());
        let start = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if start.elapsed() > Duration::from_secs(10) {
                drop(child.kill());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn configuration(&self) -> PathBuf {
        self.dir.join("dovecot.conf")
    }

    /// A session of its own.
    #[track_caller]
    pub fn imap(&self, user: &str) -> Imap {
        let mut imap = Imap::connect(self.port).expect("the server answers");
        imap.must(&format!("LOGIN {user} secret"));
        imap
    }

    /// `doveadm ARGS`, whatever comes of it.
    pub fn doveadm(&self, args: &[&str]) -> Output {
        let mut command = Command::new("doveadm");
        command.arg("-c").arg(self.configuration()).args(args);
        command.output().expect("doveadm")
    }

    /// What the server complained about: every line of a warning, an error, or worse. Not that we ended it.
    /// Has it done, or fails.
    pub fn must(&self, args: &[&str]) {
        let done = self.doveadm(args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Delivers a letter to ann's INBOX.
    pub fn save(&self, text: &str) {
        let mut command = Command::new("doveadm");
        command.arg("-c").arg(self.configuration()).args(["save", "-u", "ann", "-m", "INBOX"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("doveadm");
        child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("a letter");
        assert!(child.wait().expect("doveadm").success());
    }

    /// What it shows of every message, with its words where it stumbles.
    pub fn shown(&self) -> String {
        let output = self.doveadm(&["fetch", "-u", "ann", "mailbox uid guid flags date.received text", "ALL"]);
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // The first client to look takes that away.
        let shown = shown.replace(" \\Recent", "");
        shown.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    pub fn complaints(&self) -> Vec<String> {
        self.log().lines().filter(|line| complains(line)).map(str::to_owned).collect()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("dovecot.log")).unwrap_or_default()
    }
}

/// What force-resync says of any healthy sdbox or mdbox: that it makes the indexes anew.
pub fn is_resync(line: &str) -> bool {
    let map = line.contains(": fscking index file ") && line.ends_with("/storage/dovecot.map.index");
    map || line.ends_with(": Rebuilding index") || line.ends_with(": rebuilding indexes")
}

/// Whether a line of the log is a complaint. Not that we ended it, nor what force-resync does to any healthy dbox, which it
/// tells whoever has its indexes open.
pub fn complains(line: &str) -> bool {
    let bad = ["Warning:", "Error:", "Fatal:", "Panic:"];
    let resync = is_resync(line) || line.ends_with(" reset, view is now inconsistent");
    bad.iter().any(|word| line.contains(word)) && !line.contains("Killed with signal 15") && !resync
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
    }
}

fn configuration(dir: &Path, store: &Path, port: u16) -> String {
    let (dir, store) = (spec(dir), spec(store));
    format!(
        "base_dir = {dir}/run\n\
         instance_name = test-{port}\n\
         log_path = {dir}/dovecot.log\n\
         info_log_path = {dir}/info.log\n\
         ssl = no\n\
         disable_plaintext_auth = no\n\
         listen = 127.0.0.1\n\
         protocols = imap\n\
         first_valid_uid = 1\n\
         mail_location = maildir:{store}/%u/Maildir\n\
         mail_uid = {OWNER}\n\
         mail_gid = {OWNER}\n\
         mail_max_userip_connections = 100\n\
         login_trusted_networks = 127.0.0.1\n\
         passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
         userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={store}/%u\n}}\n\
         namespace inbox {{\n  inbox = yes\n}}\n\
         service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {port}\n  }}\n  \
         inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
         service stats {{\n  chroot =\n}}\n"
    )
}

/// Gives a tree to the owner of all mail.
pub fn give(tree: &Path) {
    for entry in walkdir::WalkDir::new(tree) {
        chown(entry.expect("a readable test folder").path(), Some(OWNER), Some(OWNER)).expect("chown");
    }
}

//! Backups and replicas behind FUSE, as administrators mount them: restic, borg, SSHFS. The store is what it was, and a
//! server that stops answering ends nothing but what needs it.

use crate::common::bench::{Bench, Broken};
use crate::common::{Answer, must, skip, spec};
use crate::kit;
use mailmend::drill::corpus::Mails;
use mailmend::drill::damage::{DamageOptions, folder_to_lose};
use mailmend::drill::day::{Change, DayOptions};
use mailmend::drill::{Repair, Undecided, scene};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A file system that a program serves until this is dropped.
#[must_use = "it is unmounted when this is dropped"]
struct Served {
    path: PathBuf,
    server: Child,
}

impl Served {
    /// Starts a program that serves `path` in the foreground.
    fn by(path: PathBuf, command: &mut Command) -> Served {
        fs::create_dir(&path).expect("a mount point");
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut served = Served { path, server: quiet.spawn().expect("a server") };
        let place = spec(&served.path);
        kit::wait_for("a mount", Duration::from_secs(30), || {
            assert!(served.server.try_wait().expect("a child").is_none(), "the server ended: {command:?}");
            let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
            mounts.lines().any(|line| line.split(' ').nth(1) == Some(&place)).then_some(())
        });
        served
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        kit::signal(self.server.id(), "CONT");
        drop(Command::new("umount").arg("--lazy").arg(&self.path).status());
        kit::signal(self.server.id(), "TERM");
        drop(self.server.wait());
    }
}

/// A program that runs until this is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn possible(test: &str, programs: &[&str]) -> bool {
    if !kit::can(test, true, programs) {
        return false;
    }
    let fuse = Path::new("/dev/fuse").exists();
    if !fuse {
        skip(test, "no /dev/fuse");
    }
    fuse
}

/// A backup program that works in the test's folder.
struct Backup {
    program: &'static str,
    dir: PathBuf,
}

impl Backup {
    fn of(program: &'static str, bench: &Bench) -> Backup {
        Backup { program, dir: bench.dir.path().to_owned() }
    }

    /// The program, without any settings of the administrator's own.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(args).current_dir(&self.dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs([
            ("TZ", "UTC"),
            ("RESTIC_PASSWORD", "drill"),
            ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes"),
        ]);
        command.env("HOME", &self.dir).env("BORG_BASE_DIR", &self.dir);
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) {
        let output = self.command(args).output().expect("a program");
        assert!(output.status.success(), "{} {args:?}: {}", self.program, String::from_utf8_lossy(&output.stderr));
    }
}

/// A store with two nights: the first is in the backup, then users' day, then the second.
fn two_nights(bench: &mut Bench, backup: impl Fn(&Bench, &str)) -> Vec<Change> {
    bench.tool.verify(&bench.store).expect(0);
    backup(bench, "2026-01-20");
    let day =
        DayOptions { seed: 2, flag_changes: 8, new_to_cur: 4, deletions: 3, moves: 2, deliveries: 4, spared: None };
    let changes = bench.day(&day);
    bench.tool.verify(&bench.store);
    backup(bench, "2026-01-21");
    changes
}

fn small() -> Bench {
    Bench::with(Mails::generated(7), 2, 30)
}

fn damage(bench: &Bench) -> Broken {
    let folder = folder_to_lose(&bench.tree());
    let options =
        DamageOptions { seed: 9, each: 3, mix: 6, strays: 2, folder, folder_times_kept: true, ..Default::default() };
    bench.inflict(&[], &options)
}

fn repair(bench: &Bench, source: &str) -> Answer {
    let repair = Repair { sources: vec![source.into()], apply: true, undecided: Undecided::Restore };
    bench.tool.repair(&bench.store, &repair)
}

/// The truth comes back from this source, and the damage by undo.
#[track_caller]
fn assert_heals(bench: &Bench, source: &str, changes: &[Change]) -> Answer {
    let broken = Broken { given_up: scene::lost_to_users(changes), ..damage(bench) };
    let first = repair(bench, source).expect(1);
    broken.assert_perfect(bench, &first, &first.found(), Undecided::Restore);
    bench.tool.undo(&first.run_name()).expect(0);
    broken.assert_still_broken(bench, "undo");
    let again = repair(bench, source).expect(1);
    broken.assert_perfect(bench, &again, &again.found(), Undecided::Restore);
    assert!(!first.mentions("not confined"), "the readers of FUSE mounts are confined as all are: {first}");
    first
}

/// The same with an empty disk.
#[track_caller]
fn assert_fills(bench: &Bench, source: &str, changes: &[Change]) {
    let blank = bench.blank(changes);
    let filled = repair(bench, source).expect(1);
    blank.assert_perfect(bench, &filled, &filled.found(), Undecided::Restore);
    bench.tool.undo(&filled.run_name()).expect(0);
    blank.assert_still_broken(bench, "undo of a filled disk");
}

/// The notes on when each generation was taken.
fn times(answer: &Answer) -> Vec<String> {
    let texts = answer.lines.iter().filter(|line| line["type"] == "note").filter_map(|line| line["text"].as_str());
    texts.filter(|text| text.starts_with("source ")).map(str::to_owned).collect()
}

/// Insists on these generations, dated by their names.
#[track_caller]
fn assert_dated(answer: &Answer, times_of_day: &[&str]) {
    let notes = times(answer);
    assert_eq!(notes.len(), times_of_day.len(), "each generation once: {notes:?}");
    for time in times_of_day {
        let told = notes.iter().any(|note| note.ends_with(&format!(": {time} (from its name)")));
        assert!(told, "{time} is in no note: {notes:?}");
    }
}

fn restic() -> Option<(Bench, Served, Vec<Change>)> {
    if !possible("a mount of restic", &["restic", "fusermount3"]) {
        return None;
    }
    let mut bench = small();
    let tool = Backup::of("restic", &bench);
    let common = ["--repo", "repository", "--no-cache", "--quiet"];
    tool.run(&[&common[..], &["init"]].concat());
    let changes = two_nights(&mut bench, |bench, night| {
        let time = format!("{night} 03:00:00");
        tool.run(&[&common[..], &["backup", "--time", &time, &spec(&bench.store)]].concat());
    });
    let mut mount = tool.command(&[&common[..], &["mount", "mnt"]].concat());
    let served = Served::by(bench.dir.path().join("mnt"), &mut mount);
    Some((bench, served, changes))
}

const NIGHTS: [&str; 2] = ["2026-01-20 03:00:00", "2026-01-21 03:00:00"];

/// The pattern reaches last night's snapshot twice: by its name and by `latest`.
#[test]
fn all_snapshots_of_restic() {
    let Some((bench, served, changes)) = restic() else { return };
    let source = format!("{}/snapshots/*{}", spec(&served.path), spec(&bench.store));
    let answer = assert_heals(&bench, &source, &changes);
    assert_dated(&answer, &NIGHTS);
    assert_fills(&bench, &source, &changes);
}

/// One snapshot by its name, by `latest`, and all by their numbers, which tell no time but have one.
#[test]
fn one_snapshot_of_restic() {
    let Some((bench, served, changes)) = restic() else { return };
    let below = |place: &str| format!("{}/{place}{}", spec(&served.path), spec(&bench.store));
    let answer = assert_heals(&bench, &below("snapshots/2026-01-21T03:00:00Z"), &changes);
    assert_dated(&answer, &NIGHTS[1..]);
    let look = |source: &str| bench.tool.run(["repair", &spec(&bench.store), "--from", source]).expect(0);
    assert_dated(&look(&below("snapshots/latest")), &NIGHTS[1..]);
    let numbered = times(&look(&below("ids/*")));
    assert_eq!(numbered.len(), 2, "{numbered:?}");
    for night in NIGHTS {
        let told = numbered.iter().any(|note| note.contains(night) && note.contains("modification time"));
        assert!(told, "{night}: {numbered:?}");
    }
}

#[test]
fn all_archives_of_borg() {
    if !possible("a mount of borg", &["borg", "fusermount3"]) {
        return;
    }
    let mut bench = small();
    let tool = Backup::of("borg", &bench);
    let about = tool.command(&["debug", "info"]).output().expect("borg");
    if String::from_utf8_lossy(&about.stdout).contains("fuse: None") {
        return skip("a mount of borg", "not installed: python3-pyfuse3");
    }
    tool.run(&["init", "-e", "none", "repository"]);
    let changes = two_nights(&mut bench, |bench, night| {
        let archive = format!("repository::mail-{night}");
        tool.run(&["create", "--timestamp", &format!("{night}T03:00:00"), &archive, &spec(&bench.store)]);
    });
    let mut mount = tool.command(&["mount", "--foreground", "repository", "mnt"]);
    let served = Served::by(bench.dir.path().join("mnt"), &mut mount);
    let source = format!("{}/mail-*{}", spec(&served.path), spec(&bench.store));
    let answer = assert_heals(&bench, &source, &changes);
    assert_dated(&answer, &["2026-01-20 00:00:00", "2026-01-21 00:00:00"]);
    assert_fills(&bench, &source, &changes);
}

/// An SSH server of this machine's own, on a free loopback port, with files of its own and a private /run.
struct Remote {
    dir: PathBuf,
    port: u16,
    _server: Daemon,
}

impl Remote {
    fn start(bench: &Bench) -> Remote {
        let dir = bench.dir.path().to_owned();
        let at = |name: &str| spec(&dir.join(name));
        for key in ["host", "user"] {
            must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n",
            at("host"),
            at("user.pub"),
        );
        fs::write(dir.join("sshd_config"), config).expect("a configuration");
        let script = "mount -t tmpfs drill /run && mkdir -m 755 /run/sshd && exec /usr/sbin/sshd -D -f \"$0\"";
        let mut server = Command::new("unshare");
        server.args(["--mount", "sh", "-c", script, &at("sshd_config")]);
        let server = Daemon(server.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("sshd"));
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        drop(kit::wait_for("sshd", Duration::from_secs(20), answers));
        Remote { dir, port, _server: server }
    }

    /// Mounts a folder under this name.
    fn mount(&self, folder: &Path, name: &str, options: &[&str]) -> Served {
        let path = self.dir.join(name);
        let mut mount = Command::new("sshfs");
        mount.args(["-f", "-p", &self.port.to_string(), "-o", "StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null"]);
        mount.args(["-o", &format!("IdentityFile={}", spec(&self.dir.join("user")))]).args(options);
        mount.arg(format!("root@127.0.0.1:{}", spec(folder))).arg(&path);
        Served::by(path, &mut mount)
    }
}

fn can_ssh(test: &str) -> bool {
    possible(test, &["sshfs", "sshd", "ssh-keygen", "unshare", "fusermount3"])
}

#[test]
fn a_replica_behind_sshfs() {
    if !can_ssh("a replica behind SSHFS") {
        return;
    }
    let bench = small();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let remote = Remote::start(&bench);
    let served = remote.mount(&bench.replica, "remote", &[]);
    assert_heals(&bench, &spec(&served.path), &[]);
    assert_fills(&bench, &spec(&served.path), &[]);
}

/// What root mounted is closed to the mail user, even where its modes are not, unless root said otherwise.
#[test]
fn a_replica_behind_sshfs_for_the_mail_user() {
    if !can_ssh("a replica behind SSHFS for the mail user") {
        return;
    }
    let bench = small().unprivileged();
    fs::set_permissions(bench.dir.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let remote = Remote::start(&bench);
    let closed = remote.mount(&bench.replica, "closed", &[]);
    let refused = bench.tool.run(["repair", &spec(&bench.store), "--from", &spec(&closed.path)]);
    refused.expect_refusal("allow_other");
    let open = remote.mount(&bench.replica, "open", &["-o", "allow_other"]);
    assert_heals(&bench, &spec(&open.path), &[]);
    assert_fills(&bench, &spec(&open.path), &[]);
}

/// Mail that takes a while to fetch.
fn large() -> Bench {
    let bench = kit::empty();
    for account in ["ann", "bob"] {
        let account = kit::mailbox(&bench.store.join(account).join("Maildir"));
        (0..400).for_each(|number| drop(kit::deliver(&account, number, 30_000)));
    }
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    bench
}

/// The limit for a run whose source stopped answering; the time-out is 2 s.
const BOUND: Duration = Duration::from_secs(40);

fn start(bench: &Bench, source: &Path) -> crate::common::Run {
    let [store, source] = [spec(&bench.store), spec(source)];
    let line = ["repair", &store, "--from", &source, "--undecided", "restore", "--apply", "--read-timeout", "2"];
    bench.tool.start(line)
}

/// A run that ended in time, said why, and left nothing but the truth.
#[track_caller]
fn assert_ended(bench: &Bench, broken: &Broken, answer: &Answer, took: Duration) {
    assert!(took < BOUND, "{took:?}: {answer}");
    assert!(answer.status & 8 != 0 && answer.status & 16 == 0, "{answer}");
    assert!(answer.mentions("no answer within") || answer.mentions("does not answer"), "it says why: {answer}");
    let after = bench.tree();
    for (path, is) in after.messages() {
        let was = broken.truth.get(path).map(|entry| entry.digest);
        assert_eq!(was, Some(is.digest), "{path} is what it never was: {answer}");
    }
    let whole = answer.lines.last().map_or(0, |last| last["repaired"].as_u64().unwrap_or(0));
    assert_eq!(whole, after.messages().count() as u64, "what it calls repaired is there, and nothing else: {answer}");
}

#[test]
fn a_source_that_stops_answering_in_the_middle() {
    if !can_ssh("a source that stops answering") {
        return;
    }
    let bench = large();
    let remote = Remote::start(&bench);
    let served = remote.mount(&bench.replica, "remote", &[]);
    let broken = bench.blank(&[]);
    let place = format!("{}/", spec(&served.path));
    let began = Instant::now();
    let run = start(&bench, &served.path);
    // Once some of the files of the source were read.
    let reading = || {
        let reader = kit::children(run.pid).into_iter().find(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.filter_map(|e| fs::read_link(e.path()).ok()).any(|t| t.to_string_lossy().starts_with(&place))
        })?;
        let io = fs::read_to_string(format!("/proc/{reader}/io")).ok()?;
        let bytes: u64 = io.lines().find_map(|l| l.strip_prefix("rchar: "))?.parse().ok()?;
        (bytes > 4_000_000).then_some(())
    };
    kit::wait_for("reading from the source", Duration::from_secs(30), reading);
    kit::signal(served.server.id(), "STOP");
    let answer = run.end();
    let took = began.elapsed();
    kit::signal(served.server.id(), "CONT");
    assert_ended(&bench, &broken, &answer, took);
    assert!(answer.status & 4 != 0, "not all came back: {answer}");
    // It answers again: the rest comes.
    let rest = repair(&bench, &spec(&served.path)).expect(1);
    broken.assert_perfect(&bench, &rest, &rest.found(), Undecided::Restore);
}

#[test]
fn a_source_that_does_not_answer_at_all() {
    if !can_ssh("a source that does not answer") {
        return;
    }
    let bench = large();
    let remote = Remote::start(&bench);
    let served = remote.mount(&bench.replica, "remote", &[]);
    let broken = bench.blank(&[]);
    kit::signal(served.server.id(), "STOP");
    let began = Instant::now();
    let answer = start(&bench, &served.path).end();
    let took = began.elapsed();
    kit::signal(served.server.id(), "CONT");
    assert_ended(&bench, &broken, &answer, took);
    let rest = repair(&bench, &spec(&served.path)).expect(1);
    broken.assert_perfect(&bench, &rest, &rest.found(), Undecided::Restore);
}

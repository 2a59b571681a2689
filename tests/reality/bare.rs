//! Kernels that have less: no openat2, no Landlock, no mount namespaces, no flags for renames, no statx, no system-call
//! filter. strace answers these calls as such a kernel would; the results are those of a kernel that has them all.

use crate::common::bench::Bench;
use crate::common::{Answer, spec};
use crate::kit;
use mailmend::drill::Undecided;
use mailmend::drill::corpus::Mails;
use mailmend::drill::damage::{DamageOptions, folder_to_lose};
use mailmend::drill::day::DayOptions;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A system call and the error that it gives.
type Lack = (&'static str, &'static str);

/// No layer of the sandbox is left without these: the filter is installed by prctl.
const NO_SANDBOX: [Lack; 3] = [("unshare", "EPERM"), ("landlock_create_ruleset", "ENOSYS"), ("prctl", "EINVAL")];

fn bench(root: bool) -> Bench {
    let bench = Bench::with(Mails::generated(7), 2, 40);
    fs::set_permissions(bench.dir.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    if root { bench } else { bench.unprivileged() }
}

/// From now on the binary runs on a kernel that lacks these. Returns where each refused call is written down.
fn without(bench: &mut Bench, lacks: &[Lack]) -> PathBuf {
    let trace = bench.dir.path().join("refused");
    let calls: Vec<&str> = lacks.iter().map(|(call, _)| *call).collect();
    let mut line = ["strace", "-f", "--seccomp-bpf", "-qq", "-A", "-o"].map(String::from).to_vec();
    line.extend([spec(&trace), "-e".into(), format!("trace={}", calls.join(","))]);
    for (call, error) in lacks {
        line.extend(["-e".into(), format!("inject={call}:error={error}")]);
    }
    bench.tool.wrapper = line.into_iter().map(Into::into).collect();
    trace
}

fn repair(bench: &Bench, apply: bool) -> Answer {
    bench.tool.repair(&bench.store, &bench.replica_repair(Undecided::Restore, apply))
}

/// What was found and what is to be done, without names and times of the run.
fn findings(answer: &Answer) -> Vec<String> {
    let mut all: Vec<String> = answer.found().iter().map(|found| format!("{found:?}")).collect();
    all.sort();
    all
}

/// Verify, live, break, repair, take back, repair, lose the disk, fill it, take back.
fn cycle(root: bool, lacks: &[Lack]) {
    if !kit::can("a kernel that has less", true, &["strace", "setpriv"]) {
        return;
    }
    let mut bench = bench(root);
    let trace = without(&mut bench, lacks);
    let verified = bench.tool.verify(&bench.store).expect(0);
    let unconfined = NO_SANDBOX.iter().all(|lack| lacks.contains(lack));
    assert_eq!(verified.mentions("the readers are not confined"), unconfined, "{verified}");
    assert_eq!(verified.mentions("no sandbox at all"), unconfined, "{verified}");
    bench.replicate();
    // What users do here they do as root, so that the mail user's store is left in peace.
    let day = DayOptions { seed: 5, flag_changes: 10, new_to_cur: 4, moves: 2, ..DayOptions::default() };
    let changes = if root { bench.day(&day) } else { Vec::new() };
    let folder = folder_to_lose(&bench.tree()).filter(|_| !root);
    let broken =
        bench.inflict(&changes, &DamageOptions { seed: 3, each: 3, mix: 6, strays: 2, folder, ..Default::default() });

    let dry = repair(&bench, false).expect(4);
    let with_less = std::mem::take(&mut bench.tool.wrapper);
    assert_eq!(findings(&dry), findings(&repair(&bench, false)), "a kernel that has all finds the same: {dry}");
    bench.tool.wrapper = with_less;
    let answer = repair(&bench, true).expect(1);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Restore);
    bench.tool.undo(&answer.run_name()).expect(0);
    broken.assert_still_broken(&bench, "undo");
    let answer = repair(&bench, true).expect(1);
    broken.assert_perfect(&bench, &answer, &answer.found(), Undecided::Restore);

    // The next night.
    bench.tool.verify(&bench.store).expect(0);
    fs::remove_dir_all(&bench.replica).expect("the replica goes");
    bench.replicate();
    let blank = bench.blank(&changes);
    let answer = repair(&bench, true).expect(1);
    blank.assert_perfect(&bench, &answer, &answer.found(), Undecided::Restore);
    bench.tool.undo(&answer.run_name()).expect(0);
    blank.assert_still_broken(&bench, "undo of a filled disk");
    assert_refused(&trace, lacks);
}

/// The binary asked for what this kernel does not have: else nothing was tested.
#[track_caller]
fn assert_refused(trace: &Path, lacks: &[Lack]) {
    let refused = fs::read_to_string(trace).expect("the trace");
    for (call, error) in lacks {
        let said = refused.lines().any(|l| l.contains(call) && l.contains(error) && l.contains("(INJECTED)"));
        assert!(said, "{call} was never refused");
    }
}

const ROOT: bool = true;
const MAIL_USER: bool = false;

macro_rules! kernels {
    ($($name:ident: $user:ident, $lacks:expr;)*) => {
        $(
            #[test]
            fn $name() {
                cycle($user, &$lacks);
            }
        )*
    };
}

/// What an old container run-time forbids, and a kernel that was built without.
const FORBIDDEN: [Lack; 4] =
    [("openat2", "EPERM"), ("landlock_create_ruleset", "EOPNOTSUPP"), ("unshare", "ENOSYS"), ("renameat2", "ENOSYS")];

/// What else old kernels lack.
const NOTHING: [Lack; 7] = [
    NO_SANDBOX[0],
    NO_SANDBOX[1],
    NO_SANDBOX[2],
    ("openat2", "ENOSYS"),
    ("renameat2", "ENOSYS"),
    ("statx", "ENOSYS"),
    ("close_range", "ENOSYS"),
];

// The mail user never has a namespace of its own, and with it no mounts to change.
kernels! {
    without_openat2_as_root: ROOT, [("openat2", "ENOSYS")];
    without_openat2_as_the_mail_user: MAIL_USER, [("openat2", "ENOSYS")];
    without_landlock_as_root: ROOT, [("landlock_create_ruleset", "ENOSYS")];
    without_landlock_as_the_mail_user: MAIL_USER, [("landlock_create_ruleset", "ENOSYS")];
    without_namespaces_as_root: ROOT, [("unshare", "EPERM")];
    without_mount_setattr_as_root: ROOT, [("mount_setattr", "ENOSYS")];
    without_rename_flags_as_root: ROOT, [("renameat2", "EINVAL")];
    without_rename_flags_as_the_mail_user: MAIL_USER, [("renameat2", "EINVAL")];
    without_statx_as_root: ROOT, [("statx", "ENOSYS")];
    in_an_old_container_as_root: ROOT, FORBIDDEN;
    in_an_old_container_as_the_mail_user: MAIL_USER, FORBIDDEN;
    with_nothing_as_root: ROOT, NOTHING;
    with_nothing_as_the_mail_user: MAIL_USER, NOTHING;
}

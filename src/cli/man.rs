//! The man pages of the commands, from the same definitions as the help, with the sections that no option has.
//!
//! Only renders. `tests/man.rs` holds `man/` against it.

use super::args;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::collections::BTreeMap;

/// A heading and its paragraphs. One with a tab
/// is `term<TAB>text`.
type Section = (&'static str, &'static [&'static str]);

const EXIT_STATUS: Section = (
    "EXIT STATUS",
    &[
        "The numbers are or-ed, as those of fsck(8).",
        "0\tAll whole.",
        "1\tDamage was found, and all of it was repaired.",
        "4\tDamage, loss or undecided messages remain (in a dry run: were found), or a step was held or met a conflict.",
        "8\tSomething that should have been checked could not be, or mailmend itself failed.",
        "16\tUsage or configuration error; nothing was done.",
        "32\tInterrupted. The same command goes on where it was; nothing is done twice.",
        "Suspect, deferred, presumed deleted and accepted messages set no bit. The monitoring plugin has a status of its \
         own, see mailmend-check(1).",
    ],
);

const MACHINE_OUTPUT: Section = (
    "MACHINE OUTPUT",
    &[
        "With --json, standard output carries one JSON object a line. Every line has \"schema\" (\"mailmend/1\"), \
         \"run\" and \"type\". New keys may come; none changes its meaning. Times are RFC 3339 in UTC.",
        "start\tcommand, store, sources [{name, time}]",
        "finding\tOne message, folder or file that is not intact: subject, store, account, mailbox, key, uid, guid, \
         path (relative to store), size, device, internal_date, verdict, missing, assurance, checks {name: outcome}, \
         faults [{kind, offset, length, check, errno}], reason, envelope {message_id, from, date, subject}, action \
         {kind, source, assurance, why}, accepted; after a repair outcome {kind, detail}, with kind one of done, \
         failed, conflict, held, skipped. Bytes of names that are no UTF-8, control bytes and '%' are \
         percent-escaped in path and key; path_raw and key_raw carry the very bytes in base64 then.",
        "difference\tOf verify --against, one message in which the sides differ: replica, account, mailbox, key, difference \
         (only_here, only_there, damaged_here, damaged_there, damaged_both, contents), gap (why a side lacks it: new, deleted, \
         lost, undecided), here and there {path, path_raw, verdict}, right (here, there or null), why, safe, deleted_by_sync. \
         Findings of the replica have its path as store.",
        "account\tAn account is finished: account, and the counters of the summary.",
        "device\tOf a triage: device, kind, verdict (healthy, unknown, not_the_disk, degrading, failing, gone), reasons, notes, \
         disks [{name, model, bytes, rotating, state, backing, smart}], arrays, file_systems [{mount_point, source, fs_type, \
         device}], accounts [{store, account, listed}], latency_us {reads, p50, p90, p99, max, stalls}, medium_tested, \
         read_errors, hangs, recorded_errors, not_checked, sample {checked, damaged, uniform, uniform_damaged, \
         upper_per_million, listed, complete, census}. Its summary has devices {verdict: number}, accounts, \
         accounts_affected, messages, damaged, read_errors, not_checked, own_errors, interrupted, elapsed_s, exit.",
        "progress\tphase, done, total, bytes; at most once a second.",
        "note\ttext: something to know that is no damage.",
        "error\tSomething could not be done: path, what, hint.",
        "summary\tAlways last: command, accounts, accounts_affected, mailboxes, messages, bytes, intact {plausible, \
         consistent, corroborated, authenticated, identical}, suspect, damaged, unreadable, missing {lost, \
         undecided}, deleted, moved, presumed_deleted, undetermined, not_checked, deferred, accepted, repairable, \
         repaired, held, conflicts, failed, read_errors, companions_lost, companions_repaired, own_errors, \
         interrupted, elapsed_s, plan, exit. With --against also against {messages, bytes, equal, moved, only_here and \
         only_there {new, deleted, lost, undecided}, damaged_here, damaged_there, damaged_both, contents, \
         sync_deletes_here, sync_deletes_there, push and pull {deletes, overwrites}, read_errors, veto}; push mirrors \
         STORE to REPLICA.",
    ],
);

const GENTLE: Section = (
    "BESIDE OTHERS",
    &[
        "--bwlimit RATE is a limit for the contents of messages, of stores and sources, for each device by itself and over \
         all readers: 20M are 20,000,000 bytes a second (also 20MB/s). Listing folders does not count. Waiting for its turn \
         never makes a file time out (--read-timeout), but it does take time from a --budget.",
        "--io-class idle, which verify has by default, does two things. It asks the kernel for the idle I/O class: a wish \
         that depends on the disk's scheduler. bfq heeds it, mq-deadline since Linux 5.14; 'none', which is usual on NVMe, \
         never does. And it backs off: twice a second the counters of the store's disks are compared with what mailmend \
         read and wrote itself, and its reads with how long they took while it was alone. While others move data, or reads \
         take three times as long, the pace is halved, and halved again, down to an eighth and never below, so that the \
         night ends; it rises again when they are done. Where the kernel counts nothing for a store (network file systems, \
         FUSE), it does not back off, and -v says so.",
        "audit and repair have --io-class normal by default: somebody waits for them.",
        "--disk says how the disks are read. By default that is measured, with a few reads here and there: what a disk calls \
         itself is often wrong. Flash has several readers, in the order of the mailboxes. A disk whose reads take longer than \
         3 ms has an arm to move, or is ill: it has one reader, and messages are read in the order in which they lie on it, \
         over 65,536 messages at a time across mailboxes and accounts. On ext4 and XFS, as root, what lies next to each other \
         is read from the block device in one go; what such a read does not show to be whole is read again as a file before \
         anything is said of it. Elsewhere files are read one after the other in that order, or in the order of their inodes \
         where the file system does not tell where they lie. -v says what was measured and how fast it went. A disk that \
         fails to read has one reader from then on, unless --disk flash was given.",
        "--read-from disk, which verify has by default, reads messages past the cache (O_DIRECT): a cache that still holds the \
         good bytes hides what the disk has become, and the mail of a whole store would drive out what the server works \
         with. Where a file system does not read past the cache, the run says for how many messages the medium was not \
         tested; that changes no exit status. Messages of an mbox file, folders and the server's own files are always read \
         through the cache. --read-from cache is faster where the cache is warm, and proves what is in it.",
    ],
);

const EARLY: Section = (
    "EARLY SIGNS",
    &[
        "Nights on record tell of a disk before it fails. The last 7 days are held against the 30 days before them, each store \
         by itself and only as long as it lies on the same device, once 3 nights are on record: more than twice as many read \
         errors a night; more than twice as many messages a night that were on record as whole and are now damaged or \
         unreadable, 3 at least; and half the pace, by the median of the nights that read 1 GiB or more (of 83 days before) \
         and did not step back for others. What is told is what was measured, and that triage says whether it is the disk.",
        "status shows early signs; so does a verify that has something else to say. They change no exit status.",
    ],
);

const TRIAGE: Section = (
    "VERDICTS ON DEVICES",
    &[
        "Devices are what lies below the file systems of STORE and those mounted in it: partitions, volumes, RAID arrays and \
         btrfs are followed to their disks; NFS and FUSE are named by their source. All devices are looked at at the same \
         time, so that a slow one takes no time from the others. The most urgent of these is the verdict; all that hold \
         are told:",
        "gone\tIt does not answer, also not when asked once more; or the kernel has it as offline or does not know it any \
         more.",
        "failing\tRead errors; it stopped answering and went on; commands failed meanwhile; it says so itself (SMART); or its \
         array is inactive.",
        "degrading\tErrors on record of the file system, or the file system damaged; sectors that the disk has replaced or \
         cannot read, errors of its medium, worn out; an array that lacks members; or slow: half of the reads over 60 ms \
         (10 ms for flash), one in a hundred over 1 s (250 ms), two over 2 s, a folder over 1 s on average, not one message in all of the time, or 8 times the typical read of the other \
         devices of its kind.",
        "not the disk\tSomething is wrong, and all evidence of the device is clean: damaged messages that came without an \
         error, slow while others had it do at least three times as much as this, or trouble of a network file system or \
         FUSE mount, whose disks are another machine's.",
        "not known\tNo message was read from it.",
        "healthy\tNone of these.",
        "Messages are drawn by lot, all alike, from as many as can be listed in two fifths of the time, and read whole, \
         past the cache (where the file system refuses that, \"medium not tested\" is said). A message is damaged if it is \
         not what the catalog recorded; if nothing was, if it cannot be read or the cheap checks prove damage. The bound \
         (\"95 % sure that fewer than x per million\") is the exact binomial one, and holds for what was listed. One message \
         of each account is read besides, which the bound leaves out.",
        "Accounts are those that were seen and those of the catalog: after a verify they are named also where nothing can be \
         listed any more. smartctl(8) is asked where it is installed, by root.",
        "Nothing is recorded: the figures of earlier nights are not compared.",
    ],
);

const TRIAGE_STATUS: Section = (
    "EXIT STATUS",
    &[
        "The numbers are or-ed.",
        "0\tEvery device was read from and is healthy.",
        "4\tA device is degrading, failing or gone, or something is wrong that is not the disk; or messages of the sample are \
         damaged.",
        "8\tSomething could not be looked at (a device without an answer, a folder without permission, a store without \
         mail), or mailmend itself failed. What there was no time for is no such thing.",
        "16\tUsage or configuration error; nothing was done.",
        "32\tInterrupted; what was known by then was told.",
    ],
);

const SPLICES: Section = (
    "SEVERAL DAMAGED COPIES",
    &[
        "\tWhere no copy of a message is whole, repair puts it together: from the store's own file and those of all sources, \
       in groups of 16 KiB that the catalog can prove one by one, and, where no copy has a group whole, sector by sector. What \
       is sick is read again for that, past the cache and down to 512 bytes, and only for messages that no copy can heal. \
       What comes out has the recorded digest, or nothing is written, and the finding says how many bytes no copy gives. \
       Without a catalog, for files that the server compressed, and for messages that lie in a file with others or in a \
       frame of sdbox, nothing is put together.",
    ],
);

const VERDICTS: Section = (
    "VERDICTS",
    &[
        "intact\tWhole, with an assurance: plausible (reads and parses clean), consistent (a size, GUID or checksum \
         that the server recorded agrees), corroborated (equal copies on different file systems), authenticated (a \
         DKIM body hash agrees; no key is asked, so that it tells rot from mail and not who wrote it), identical (equals what was recorded before). A message has the lower of the assurances \
         of its header and its body, and a signature proves the body alone, up to where its l= ends, and not the white \
         space and line ends that its canonical form ignores.",
        "suspect\tOdd, but nothing proves damage. Repaired only from a copy that is identical to what was recorded. It is \
         damaged where a copy of the same key in the same account, with the very same header and of the length that \
         the server recorded, agrees with the body hash of its DKIM signature, and it does not. With --deep that holds \
         for messages that look whole, too: one that its owner edited in place below the header is then called damaged, \
         and what was edited is in quarantine after a repair.",
        "damaged\tBytes were lost or changed.",
        "unreadable\tThe medium did not give every byte.",
        "missing\tExpected, by the catalog or a source, and not in a folder whose listing finished. Why, see below.",
        "undetermined\tCould not be judged: encrypted, or a check could not finish.",
    ],
);

const UNSEEN: Section = (
    "WHAT NO CHECK SEES",
    &[
        "Where nothing outside a message tells how it was, its own bytes must show the damage. They cannot, in \
         principle, show a letter that became another letter, text cut off at the end of a line, text of another \
         message in the place of text, more text behind the end, or a whole message in the place of another.",
        "The size in a file's name (S=) shows all that is cut off, longer, or another message; W= also most of what \
         moved an end of line. A bit, and bytes that were replaced by as many others, are seen by the catalog and by \
         copies alone: what mailmend verify has recorded is never called whole when it changed.",
        "A copy on another device (--from, with --deep) shows that something differs, but not which of the two is \
         damaged, unless one shows damage of its own. A DKIM body hash that fits one copy under the same header and not \
         the other names the damaged body, all but the white space and line ends that its canonical form ignores; what \
         follows its l=, and the header, it does not see. Mail that was not signed, or whose body a mailing list \
         rewrote, has no such witness. Copies that were made after the damage hold it, too, and equal copies on \
         two devices corroborate only that nothing changed since the older was made.",
    ],
);

const MISSING: Section = (
    "LOST OR DELETED",
    &[
        "For a message that is not there, the first of these that holds decides:",
        "moved\tThe same message stands elsewhere in the account.",
        "lost\tOnly its name was lost: a file that belongs to nobody holds exactly this message.",
        "deleted\tDovecot's own log says that a client deleted it, or asked for that.",
        "lost\tDovecot's log says that the server found the file gone and nobody had deleted it; or the server lists it \
         still.",
        "undecided\tThe same, but all that is gone from the mailbox is older than all that is left, as a script leaves it that \
         clears old mail away. Other programs that delete files behind the server's back cannot be told from a loss.",
        "undecided\tDovecot's log says that a partner of its sync deleted it: that one's log would know why.",
        "deleted\tA newer generation of the sources does not hold it any more. undecided instead, if the whole account or \
         mailbox is blank: only an older generation holds it then.",
        "undecided\tThe whole account is blank, and the catalog knows other accounts of this store, but not this one.",
        "lost\tNo message and no file of the server is left in the account; or none is left in the mailbox, where the \
         server kept its own list.",
        "lost, undecided\tAn earlier verify found it so: time alone is no evidence.",
        "undecided\tThe mailbox's folder is gone: a loss and a deletion look the same.",
        "lost\tIts folder (cur or new) was not changed since the listing that showed it.",
        "undecided\tThis run found damage or read errors in the same account.",
        "undecided\tMore than 3 messages, and more than a twentieth of the mailbox, are gone at once; see below for accounts \
         with a history.",
        "presumed deleted\tNone of these: it is gone from a mailbox that otherwise changed normally.",
        "Lost messages are restored where a source holds them. Undecided ones are named, and restored with --undecided \
         restore, or put into a new mailbox with --undecided folder. What was moved, deleted or presumed deleted is \
         counted and left as it is; -v names it.",
        "How many may go at once: once verify has seen an account for 7 nights, its own history of the last 90 days counts, too. \
         From each mailbox up to twice as many may go as went from the account in the second largest night (a single one is no \
         habit), or a twentieth of it if that is more; from the whole account no more than twice as many, or 20. A weekly \
         clean-up alarms until it has become a habit: mailmend-accept(1) says that it was one.",
    ],
);

const PLACES: Section = (
    "WHERE THINGS ARE",
    &[
        "STATE/runs/RUN\tThe folder of a run that planned repairs or undid some: plan.jsonl (the plan), journal.jsonl \
         (each change, written before it is made), run.json (what the run was). STATE is the state folder, see \
         mailmend(1). undo needs this folder.",
        ".mailmend/RUN\tThe quarantine of a run, on the store's own file system, mode 0700: beside STORE where the folder \
         above it is on the same file system and can be written, else in STORE (mailmend.quarantine where STORE is \
         itself a mailbox). --quarantine names another place. undo needs it.",
        "With --into DIR nothing below STORE changes: DIR gets only the repaired messages, folders and server files, under \
         the paths that they have in STORE. It is no copy of the store. The quarantine is beside DIR then.",
    ],
);

const SAFETY: Section = (
    "SAFETY",
    &[
        "Nothing changes mail without --apply. A whole message is never overwritten; bytes that a repair replaces, and \
         copies that an undo takes out, go to quarantine, and the last known whole copy of a message is never purged.",
        "An audit cannot write to a store even if it had a bug: whatever reads a store or a source, in every command, \
         is a process of its own that gives up all else before the first byte of mail.",
        "As root\tA private mount namespace in which every file system is read-only, Landlock (reading below STORE and \
         the sources, nothing else), a system-call filter, and of all capabilities only CAP_DAC_READ_SEARCH.",
        "As another user\tLandlock and the system-call filter.",
        "The filter refuses whatever changes a file or a file system, starts a program or reaches the network. That \
         closes the gaps of Landlock, under which times, modes, owners and extended attributes could still be changed. \
         It is in force on x86-64 and aarch64. Each layer holds without the others. On a kernel or a machine that has \
         none of them the report says that the readers are not confined; only mailmend's own code keeps them from \
         writing then. Where Landlock alone is in force, its gaps remain.",
        "Mail, file names, plans and catalogs count as written by strangers: symbolic links below STORE are never \
         followed, and on the way to STORE and LOCATION root follows only root's links in root's folders; paths in plans are validated again beneath STORE, and nothing that acts on a terminal is printed.",
        "Beside a running server\tNames that a server lists change only under its own lock (dovecot-uidlist.lock); a \
         mailbox whose lock a living process holds is waited for 10 seconds, 60 in all, then held and counted, and a \
         lock of a dead one is removed. A message that changed since the plan is a conflict and left alone. Indexes \
         are touched only while no process has the mailbox open.",
        "Guards\tA store that was a mount point and is none, too little space, and --apply to a device that returned \
         read errors in this run or whose file system has errors on record, stop the run. A mailbox most of which is \
         gone, and that the sources do not know either, is held. Sources and state on the store's own device, and \
         clocks that cannot be right, are told.",
        "A repair takes one STORE. Quote patterns after --from, or the shell expands them.",
    ],
);

const SURVIVED: Section = (
    "SURVIVED",
    &[
        "tests/run --simulate 10m in the sources plays repairs, undos, recoveries and purges on a simulated machine and \
         prints what it did. One run on two cores, 10 minutes: 770 stores; 899,017 crash points with unsynced data kept, \
         dropped or torn; 229,209 crashes of the recovery itself; 644,815 failed operations (EIO, ENOSPC, EROFS, EDQUOT, \
         EMFILE; once, for ever, or done nevertheless); 47,667 short writes; 99,643 renames, edits, deletions and \
         deliveries of others in between. 0 messages were lost, every rerun finished the job and every undo restored.",
        "tests/run --long does it for real: killed at each of the 183 file-changing calls of a repair and the 72 of an \
         undo, each of them failing with EIO and with ENOSPC, and 549 power cuts on ext4 and XFS, always with one rerun: 0 \
         lost. tests/run takes every few calls.",
    ],
);

const FILES: Section = (
    "FILES",
    &[
        "/etc/mailmend.toml\tSettings, read if it exists; see mailmend.toml(5).",
        "/var/lib/mailmend\tState folder of root: runs with their journals and plans, and the catalog. Otherwise \
         $STATE_DIRECTORY, $XDG_STATE_HOME/mailmend or ~/.local/state/mailmend.",
        "catalog.db\tIn the state folder: digests of every message, and what was seen when; see mailmend-catalog(5).",
        "catalog.db.backup-TIME\tCopies of it: the first verify of a day makes one, and three are kept (--backups).",
        "catalog.db.damaged-TIME\tA damaged catalog that 'mailmend catalog check --repair' has replaced by a copy.",
        "runs/RUN\tIn the state folder: plan.jsonl, journal.jsonl and run.json of a run; see mailmend-repair(1).",
        ".mailmend/RUN\tBeside STORE, else in it: what a repair or its undo moved aside.",
    ],
);

const ENVIRONMENT: Section = (
    "ENVIRONMENT",
    &[
        "Options win over variables, variables over the configuration file. An option that may be repeated takes one \
         value from its variable.",
        "STATE_DIRECTORY\tThe state folder, as systemd sets it.",
        "XDG_STATE_HOME, HOME\tWhere the state folder of other users than root is.",
        "NO_COLOR\tNo colours, whatever its value, unless it is empty.",
    ],
);

const SIGNALS: Section = (
    "SIGNALS",
    &[
        "SIGINT, SIGTERM\tThe first finishes the step in hand, saves and ends with 32; a second ends at once.",
        "SIGUSR1\tPrints how far the run is.",
    ],
);

const SPEC: Section = (
    "SOURCES",
    &[
        "A SPEC is [NAME[@TIME]=]LOCATION. LOCATION is a path to a store in any supported format, or a quoted pattern of \
         snapshot folders ('/backup/daily.*'); {account} in it is replaced by the account. Paths below LOCATION match \
         paths below STORE. The order of --from is the order of trust among otherwise equal copies.",
        "TIME is when the content was taken. Without it the ISO date in the folder's name or in one above it counts, \
         else rsnapshot's number, else the time of the folder that the pattern matched; it is printed with the plan.",
        "A FUSE mount (restic, borg, SSHFS) is closed to everybody, even to root, but the user who mounted it, unless it \
         was mounted with -o allow_other.",
        "NAME is letters, digits, '_', '.' and '-'. Write ./a=b for a folder of that name.",
        "A STORE that is, contains or lies inside a source is refused.",
    ],
);

const PLUGIN: Section = (
    "OUTPUT",
    &[
        "One line, as the Monitoring Plugins guidelines have it: MAILMEND, the status, what there is to say of each store \
         with the worst first, and after '|' the performance data age (seconds), damaged, lost, undecided, not_checked, \
         device_errors and messages, with thresholds. With several stores each label begins with the store's path.",
        "age\tTime since everything on record was last proven whole, or since the last verify ended that was neither \
         interrupted nor failed nor of a part of the store, whichever is longer. Messages that are new since count from \
         the next verify on.",
        "damaged, lost, undecided\tBy the records; what was accepted is not counted. damaged has unreadable messages and \
         lost files of the server in it.",
        "not_checked, device_errors\tBy the last complete verify that ended; device_errors also what the kernel has on record \
         for the file system (ext4, btrfs).",
        "With --json: a line of type check for each store, and the summary; the exit status is the plugin's all the same.",
    ],
);

const PLUGIN_STATUS: Section = (
    "EXIT STATUS",
    &[
        "0\tOK: no threshold is passed.",
        "1\tWARNING. Also when the last verify failed at its own work, such as writing the catalog.",
        "2\tCRITICAL. Also when the first verify of a store began longer ago than --crit-age and none has ended yet.",
        "3\tUNKNOWN: the store was never verified, the catalog cannot be read, or the command line is wrong.",
    ],
);

const REPLICA: Section = (
    "COMPARING WITH A REPLICA",
    &[
        "With --against, every message of the replica is read and checked, like those of STORE, and the two are compared \
         account by account: by file name, or by GUID where a server's list has it (doveadm backup gives files other \
         names), and by content whatever the line ends or compression. REPLICA is a folder, or [NAME=]LOCATION as of --from, \
         with {account} in it where that is needed.",
        "damaged here, there\tOne copy is wrong, and the other one is right: it alone equals the digest on record; or only \
         the wrong one breaks (the bytes are named); or a DKIM body hash fits the right one only, under the same header.",
        "damaged on both\tNo copy is the message: neither equals what was recorded, or both hold the same damage, as after a \
         sync that carried it over.",
        "contents\tBoth look whole, nothing is on record, and nothing tells which is right.",
        "only here, only there\tnew: it came after the last change of that mailbox on the other side, or the other server \
         never gave its UID away. deleted: the server's log, the records or every sign say that its owner deleted it. lost, \
         undecided: as of any missing message. What stands on both sides in different mailboxes was moved.",
        "Three syncs are foretold. By the servers (dsync, doveadm sync or backup): they turn a loss into a deletion and carry \
         it over; contents they neither repair nor spread. By rsync --delete from STORE to REPLICA, and the other way: \
         whatever only the target has is deleted, new mail too. Whether rsync overwrites a copy depends on its options; it \
         is counted as if it did.",
        "Nothing of the replica is recorded. What it held once is known where it is verified as a STORE of its own, which \
         may use the same catalog: the two do not mix.",
    ],
);

const VETO: Section = (
    "EXIT STATUS AS A VETO",
    &[
        "With --against, let a sync run only after 0: mailmend verify STORE --against REPLICA && doveadm sync ...",
        "0\tBoth sides are whole, and differ only by new mail, moves, flags and deletions by the owner. A sync in both \
         directions loses nothing of that; rsync --delete does not where its target alone has new mail, which is said.",
        "4\tA side holds damage, or has lost mail, or nothing tells loss from deletion, or contents differ: a sync would \
         destroy mail, hide its loss or spread damage.",
        "8\tA side could not be read completely, so nothing may be synced either.",
    ],
);

const METRICS: Section = (
    "METRICS",
    &[
        "--metrics FILE writes what is on record of all stores for the textfile collector of Prometheus' node_exporter. All \
         names begin with mailmend_; labels are store, device and assurance, never an account. The file is replaced at \
         once, also when the run found damage; a run that could not begin leaves it as it was.",
        "A job that hangs or fails is known by its age: alarm on time() - mailmend_verified_timestamp_seconds and on \
         time() - mailmend_oldest_verified_timestamp_seconds. Damage: mailmend_damaged_messages, \
         mailmend_unreadable_messages, mailmend_lost_messages, mailmend_undecided_messages, mailmend_not_checked. The \
         disk: increase(mailmend_read_errors_total[1d]), mailmend_filesystem_errors.",
    ],
);

const LINES: Section = (
    "LINES",
    &[
        "One JSON object a line. The first has the type catalog, the format (mailmend-catalog/1) and the schema version; the \
         last has the type end and the number of lines between. The type of the others is a table of mailmend-catalog(5), \
         the keys are its columns; what is empty is left out. Digests are hexadecimal; paths, names and keys are text \
         in which control bytes, '%' and what is not UTF-8 are percent-escaped.",
        "With --b3sum: a check file of b3sum, the paths below STORE, with the digests of the files as they are stored, \
         compressed or not. It names what is there and what should be; b3sum reports files whose flags changed since as \
         missing. Names that are not UTF-8 have no form in it: they are counted, and the exit status is 8.",
    ],
);

const SEE_ALSO: Section = ("SEE ALSO", &["mailmend(1), mailmend.toml(5), mailmend-catalog(5), mailmend-formats(7)"]);

/// Every page: its file name and its text.
pub fn pages() -> Vec<(String, String)> {
    let mut root = args::command().term_width(100);
    root.build();
    let mut pages = Vec::new();
    collect(&root, &mut pages);
    pages
}

fn collect(command: &clap::Command, pages: &mut Vec<(String, String)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    pages.push((format!("{name}.1"), page(command, &name)));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        collect(sub, pages);
    }
}

/// The sections that a page has besides those made from the definitions.
fn sections(name: &str) -> Vec<Section> {
    match name {
        "mailmend" => {
            vec![
                VERDICTS,
                UNSEEN,
                MISSING,
                EXIT_STATUS,
                MACHINE_OUTPUT,
                FILES,
                ENVIRONMENT,
                SIGNALS,
                SAFETY,
                SURVIVED,
                SEE_ALSO,
            ]
        }
        "mailmend-audit" => vec![SPEC, VERDICTS, UNSEEN, MISSING, GENTLE, METRICS, EXIT_STATUS, SAFETY, SEE_ALSO],
        "mailmend-verify" => vec![REPLICA, VETO, GENTLE, EARLY, METRICS, EXIT_STATUS, SEE_ALSO],
        "mailmend-status" => vec![EARLY, METRICS, EXIT_STATUS, SEE_ALSO],
        "mailmend-check" => vec![PLUGIN, PLUGIN_STATUS, SEE_ALSO],
        "mailmend-catalog-export" => vec![LINES, EXIT_STATUS, SEE_ALSO],
        "mailmend-catalog-import" | "mailmend-catalog-check" => vec![SEE_ALSO],
        "mailmend-repair" => vec![SPEC, VERDICTS, MISSING, SPLICES, GENTLE, PLACES, EXIT_STATUS, SAFETY, SEE_ALSO],
        "mailmend-undo" | "mailmend-quarantine" => vec![PLACES, EXIT_STATUS, SEE_ALSO],
        "mailmend-triage" => vec![TRIAGE, TRIAGE_STATUS, SAFETY, SEE_ALSO],
        "mailmend-completions" => vec![SEE_ALSO],
        _ => vec![EXIT_STATUS, SEE_ALSO],
    }
}

fn page(command: &clap::Command, name: &str) -> String {
    // Hidden arguments and the examples are rendered here, not by clap_mangen.
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let source = format!("mailmend {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).source(source).manual("mailmend");
    let mut text = Vec::new();
    let rendered = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text))
        .and_then(|()| if has_commands(command) { man.render_subcommands_section(&mut text) } else { Ok(()) })
        .and_then(|()| extra(name, &examples).to_writer(&mut text));
    rendered.expect("writing to memory does not fail");
    String::from_utf8_lossy(&text).into_owned()
}

fn has_commands(command: &clap::Command) -> bool {
    command.get_subcommands().any(|sub| !sub.is_hide_set())
}

/// Every variable of an option, with the option.
fn variables() -> BTreeMap<String, String> {
    fn walk(command: &clap::Command, found: &mut BTreeMap<String, String>) {
        for argument in command.get_arguments() {
            if let (Some(variable), Some(long)) = (argument.get_env(), argument.get_long()) {
                found.insert(variable.to_string_lossy().into_owned(), format!("--{long}"));
            }
        }
        command.get_subcommands().for_each(|sub| walk(sub, found));
    }
    let mut found = BTreeMap::new();
    walk(&args::command(), &mut found);
    found
}

/// A term and what it means.
fn definition(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(text)]);
}

fn extra(name: &str, after_help: &str) -> Roff {
    let mut roff = Roff::new();
    if let Some((_, examples)) = after_help.split_once("Examples:\n") {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for example in examples.lines() {
            roff.text([roman(example.trim())]);
        }
        roff.control("fi", []);
    }
    for (heading, paragraphs) in sections(name) {
        roff.control("SH", [heading]);
        for paragraph in paragraphs {
            match paragraph.split_once('\t') {
                Some((term, text)) => definition(&mut roff, term, text),
                None => {
                    roff.control("PP", []);
                    roff.text([roman(*paragraph)]);
                }
            }
        }
        if heading == ENVIRONMENT.0 {
            variables().iter().for_each(|(variable, option)| definition(&mut roff, variable, option));
        }
    }
    roff
}

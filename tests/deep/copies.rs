//! What the binary makes of signatures and of copies that differ: found, named, repaired or refused.

use crate::common::{Answer, Mailmend, spec, words};
use mailmend::report::base64;
use serde_json::Value;
use sha2::Digest as _;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

const BODY: &str = "Hi.\n\nThe parcel comes on Monday, and the bill with it.\n";
const NAME: &str = "1700000000.M1P1.host:2,S";

/// One mailbox and its replica, of one signed message each.
struct Pair {
    dir: tempfile::TempDir,
    tool: Mailmend,
}

fn signed(fields: &str, body: &str) -> String {
    let canonical = body.trim_end_matches('\n').replace('\n', "\r\n") + "\r\n";
    let hash = base64::encode(&sha2::Sha256::digest(canonical));
    let signature = format!("DKIM-Signature: v=1; a=rsa-sha256; d=example.org; bh={hash}; b=x");
    format!("Received: from a by b\nFrom: a@example.org\n{signature}\nMessage-ID: <1@example.org>\n{fields}\n{body}")
}

impl Pair {
    fn new(own: &str, copy: &str) -> Pair {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let tool = Mailmend::with_state(dir.path().join("state"));
        let pair = Pair { dir, tool };
        pair.write("store", own);
        pair.write("replica", copy);
        pair
    }

    fn path(&self, place: &str) -> PathBuf {
        self.dir.path().join(place).join("ann/cur").join(NAME)
    }

    fn write(&self, place: &str, text: &str) {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(self.dir.path().join(place).join("ann").join(sub)).expect("a mailbox");
        }
        fs::write(self.path(place), text).expect("a message");
    }

    fn run(&self, verb: &str, options: &[&str]) -> Answer {
        let [store, replica] = ["store", "replica"].map(|place| spec(&self.dir.path().join(place)));
        let from = if verb == "verify" { vec![] } else { vec!["--from", &replica] };
        let args: Vec<OsString> = words(&[verb, &store]).chain(words(&from)).chain(words(options)).collect();
        self.tool.run(args)
    }

    fn text(&self, options: &[&str]) -> String {
        let [store, replica] = ["store", "replica"].map(|place| spec(&self.dir.path().join(place)));
        let mut command = self.tool.command();
        command.args(["audit", &store, "--from", &replica]).arg("--state").arg(&self.tool.state).args(options);
        String::from_utf8(command.output().expect("the binary runs").stdout).expect("text")
    }
}

fn finding(answer: &Answer) -> &Value {
    answer.lines.iter().find(|line| line["type"] == "finding").unwrap_or_else(|| panic!("no finding: {answer}"))
}

#[test]
fn of_two_whole_copies_the_signed_one_wins() {
    let good = signed("Subject: parcel\n", BODY);
    let rotten = good.replace("Monday", "Mondaz");
    let pair = Pair::new(&rotten, &good);
    pair.run("audit", &[]).expect(0);
    let deep = pair.run("audit", &["--deep"]).expect(4);
    assert_eq!(finding(&deep)["verdict"], "damaged", "{deep}");
    assert_eq!(finding(&deep)["checks"]["dkim_body"], "unknown", "a mismatch is no failure: {deep}");
    let text = pair.text(&["--deep", "-v"]);
    assert!(
        text.contains("the DKIM body hash (d=example.org, key not checked) fits the body of the copy in"),
        "{text}"
    );
    assert!(text.contains("(d=example.org, key not checked) does not agree; that alone proves nothing"), "{text}");
    pair.run("repair", &["--deep", "--apply"]).expect(1);
    assert_eq!(fs::read_to_string(pair.path("store")).expect("the message"), good);
}

#[test]
fn the_signed_one_here_is_no_suspect() {
    let good = signed("Subject: parcel\n", BODY);
    let pair = Pair::new(&good, &good.replace("Monday", "Mondaz"));
    pair.run("audit", &["--deep"]).expect(0);
    pair.run("repair", &["--deep", "--apply"]).expect(0);
    assert_eq!(fs::read_to_string(pair.path("store")).expect("the message"), good);
}

/// Neither is proven, or both are: nothing tells which is right, and where they differ is said.
#[test]
fn other_differences_are_shown_and_left_alone() {
    let good = signed("Subject: parcel\n", BODY);
    let list = good.replace("bh=", "bh=AAAA");
    for (own, copy) in [
        (good.replace("Subject: parcel", "Subject: parcle"), good.clone()),
        (list.replace("Monday", "Mondaz"), list.clone()),
        (good.replace("From: a@", "From: b@").replace("Monday", "Mondaz"), good.clone()),
    ] {
        let pair = Pair::new(&own, &copy);
        let deep = pair.run("repair", &["--deep", "--apply"]).expect(0);
        assert_eq!(finding(&deep)["verdict"], "suspect", "{deep}");
        assert!(deep.mentions("whole copy with other content in bytes 0 to"), "{deep}");
        assert_eq!(fs::read_to_string(pair.path("store")).expect("the message"), own);
    }
}

/// A suspect message is damaged where the sender's word stands against it, and only there.
#[test]
fn a_suspect_message_is_named_by_the_signed_copy() {
    let mime = "Content-Type: multipart/mixed; boundary=xx\n";
    let parts = "--xx\n\none\n--xx\n\ntwo\n--xx--\n";
    let good = signed(mime, parts);
    let cut = good.replace("--xx--\n", "");
    let pair = Pair::new(&cut, &good);
    let answer = pair.run("repair", &["--apply"]).expect(1);
    assert_eq!(finding(&answer)["verdict"], "damaged", "{answer}");
    assert_eq!(fs::read_to_string(pair.path("store")).expect("the message"), good);
    let unsigned = good.replace("DKIM-Signature", "X-Signature");
    let pair = Pair::new(&cut.replace("DKIM-Signature", "X-Signature"), &unsigned);
    let answer = pair.run("repair", &["--apply"]).expect(0);
    assert_eq!(finding(&answer)["verdict"], "suspect", "{answer}");
    assert!(answer.mentions("differs only in what is suspect here"), "{answer}");
    assert!(!fs::read_to_string(pair.path("store")).expect("the message").contains("--xx--"));
}

/// What the sender wrote strangely is the sender's: no `--deep` is needed, for the cheap tier doubts it.
#[test]
fn a_strange_body_that_was_signed_is_whole() {
    let mime = "Content-Type: multipart/mixed; boundary=xx\n";
    let strange = signed(mime, "--xx\n\none\n--xx\n\nnever closed\n");
    let pair = Pair::new(&strange, &strange);
    pair.run("verify", &[]).expect(0);
    let answer = pair.run("audit", &[]).expect(0);
    assert_eq!(answer.count("suspect"), 0, "{answer}");
    let lists = strange.replace("never", "nevver");
    let pair = Pair::new(&lists, &lists);
    assert_eq!(pair.run("audit", &[]).expect(0).count("suspect"), 1);
    assert!(pair.text(&["-v"]).contains("mailing lists rewrite bodies"));
}

/// Between copies of a damaged message, too, whatever their order and number.
#[test]
fn copies_that_the_signature_refutes_do_not_outvote_it() {
    let good = signed("Subject: parcel\n", BODY);
    let holed = good.replace("The parcel comes", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let pair = Pair::new(&holed, &good.replace("Monday", "Mondaz"));
    pair.write("older", &good.replace("Monday", "Mondaz"));
    pair.write("oldest", &good);
    pair.run("repair", &["--apply"]).expect(4);
    assert_eq!(fs::read_to_string(pair.path("store")).expect("the message"), holed, "nothing proves the copy");
    let more: Vec<String> = ["older", "oldest"].iter().map(|place| spec(&pair.dir.path().join(place))).collect();
    let answer = pair.run("repair", &["--from", &more[0], "--from", &more[1], "--apply"]).expect(1);
    assert!(answer.mentions("the DKIM body hash (d=example.org, key not checked) fits its body"), "{answer}");
    assert_eq!(fs::read_to_string(pair.path("store")).expect("the message"), good);
}

#[test]
fn verify_takes_deep() {
    let good = signed("Subject: parcel\n", BODY);
    let pair = Pair::new(&good, &good);
    pair.run("verify", &["--deep"]).expect(0);
    pair.run("verify", &["--deep"]).expect(0);
}

/// A stranger wrote a header whose hash fits a body that was not sent. As a copy under another name, in another folder or
/// in another account, that body takes no message's place, and accuses none.
#[test]
fn a_planted_body_that_the_hash_fits_takes_no_place() {
    let mime = "Content-Type: multipart/mixed; boundary=xx\n";
    let fits = signed(mime, "--xx\n\nPay to account one, please.\n--xx--\n");
    let sent = fits.replace("one, please.\n--xx--\n", "two, please.\n--xx\n\nmore\n");
    let name = format!("1700000000.M1P1.host,S={}:2,S", sent.len());
    let planted = format!("{fits}{}", "\n".repeat(sent.len().saturating_sub(fits.len())));
    assert_eq!(planted.len(), sent.len(), "what is planted must be as long as its name says");
    for place in ["ann/cur", "ann/.Shared/cur", "bob/cur"] {
        let pair = Pair::new(&sent, &sent);
        for (root, from) in [("store", pair.path("store")), ("replica", pair.path("replica"))] {
            let folder = pair.dir.path().join(root).join("ann/cur");
            fs::rename(from, folder.join(&name)).expect("its size in its name");
        }
        fs::remove_file(pair.dir.path().join("replica/ann/cur").join(&name)).expect("no copy by its own name");
        // It came by mail, so that the store has it, too.
        for root in ["store", "replica"] {
            let folder = pair.dir.path().join(root).join(place);
            for sub in ["cur", "new", "tmp"] {
                fs::create_dir_all(folder.with_file_name(sub)).expect("a mailbox");
            }
            fs::write(folder.join(name.replace("M1P1", "M9P9")), &planted).expect("a planted copy");
        }
        let answer = pair.run("repair", &["--deep", "--apply"]).expect(0);
        assert_eq!(finding(&answer)["verdict"], "suspect", "{place}: {answer}");
        let own = pair.dir.path().join("store/ann/cur").join(&name);
        assert_eq!(fs::read_to_string(own).expect("the message"), sent, "{place}");
    }
}

//! How fast rows go in and come out. The limits hold in release builds; debug builds only report.

use super::*;
use std::time::Instant;

const ROWS: u64 = 200_000;

fn row(number: u64, when: Stamp) -> MessageChange {
    let name = format!("{}.M{number}P4711.mail.example.org", 1_700_000_000 + number);
    let mut row = message(&name, &name, when);
    row.name = format!("{name},S=4711,W=4800:2,S").into_bytes();
    (row.stored, row.canonical) = (None, None);
    row.attrs.xattrs.clear();
    MessageChange::Seen(row)
}

#[test]
fn two_hundred_thousand_rows() {
    let home = home();
    let mut catalog = Catalog::open(&home.path).unwrap();
    let store = catalog.store(b"/s", at(1)).unwrap();
    let mut mailbox = None;
    let timed = |what: &str, limit: f64, work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        let seconds = start.elapsed().as_secs_f64();
        println!("{what}: {ROWS} rows in {seconds:.2} s");
        assert!(cfg!(debug_assertions) || seconds < limit, "{what} took {seconds:.2} s");
    };
    timed("recording new ones", 8.0, &mut || {
        mailbox = Some(catalog.record_mailbox(store, &update(at(1)), &mut (0..ROWS).map(|n| row(n, at(1)))).unwrap());
    });
    timed("reading", 4.0, &mut || {
        let mut count = 0;
        catalog.messages(mailbox.unwrap(), Which::Open, &mut |row| count += u64::from(row.is_ok())).unwrap();
        assert_eq!(count, ROWS);
    });
    timed("recording the same ones again", 8.0, &mut || {
        catalog.record_mailbox(store, &update(at(2)), &mut (0..ROWS).map(|n| row(n, at(2)))).unwrap();
    });
    catalog.sync().unwrap();
    println!("{} bytes a message", catalog.size_bytes().unwrap() / ROWS);
    let own: i64 =
        catalog.conn.query_row("SELECT count(*) FROM message WHERE verified IS NOT NULL", [], |r| r.get(0)).unwrap();
    assert_eq!(own, 0);
}

#[test]
fn statements_that_must_not_read_every_message_use_an_index() {
    let (_home, catalog, _, _) = three();
    let plan = |sql: &str| -> String {
        let mut statement = catalog.conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        lines.map(|line| line.unwrap()).collect::<Vec<_>>().join("\n")
    };
    for sql in [messages::HARMED, messages::HARM_COUNTS] {
        let plan = plan(&sql.replace("?1", "1"));
        assert!(plan.contains("message_harmed"), "{plan}");
    }
    let digest = "SELECT 1 FROM message JOIN mailbox ON mailbox.id = message.mailbox
                  JOIN account ON account.id = mailbox.account
                  WHERE substr(message.digest, 1, 8) = substr(x'00', 1, 8) AND message.digest = x'00'
                  AND message.state = 0 AND account.store = 1 AND account.dir = x'00'";
    assert!(plan(digest).contains("message_digest"), "{}", plan(digest));
    let own = "SELECT count(*) FROM message WHERE mailbox = 1 AND state = 0 AND verified IS NOT NULL";
    assert!(plan(own).contains("message_exception"), "{}", plan(own));
    let held =
        "UPDATE message SET verified = 1 WHERE mailbox = 1 AND key >= x'00' AND key < x'01' AND verified IS NULL";
    assert!(plan(held).contains("key>? AND key<?"), "{}", plan(held));
}

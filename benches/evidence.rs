//! The evidence benchmark: `cargo bench --bench evidence`. Every real message of the corpus, whole and harmed in every
//! way: who is accused, what is missed, and what the checks cost beside a digest and a parser.
//!
//! Seeded; two runs print the same but for the times. The tests measure the same and hold it to its targets.

#[path = "../tests/common/canonical.rs"]
mod canonical;
// The tests take single messages from there as well.
#[allow(dead_code)]
#[path = "../tests/common/corpus.rs"]
mod corpus;
#[path = "evidence/cost.rs"]
mod cost;
// The tests judge single kinds of damage as well.
#[allow(dead_code)]
#[path = "../tests/evidence/harm.rs"]
mod harm;
#[path = "../tests/evidence/mail.rs"]
mod mail;
#[path = "../tests/evidence/measure.rs"]
mod measure;
#[path = "../tests/evidence/table.rs"]
mod table;

fn main() {
    let Some(mails) = mail::load() else {
        println!("no corpus of real mail here: MAILMEND_CORPUS names its folder");
        return;
    };
    println!("{}", table::accused(&measure::Accused::of(&mails)));
    println!("{}", table::rows(&measure::rows(&mails)));
    println!("{}", cost::table(&mails));
}

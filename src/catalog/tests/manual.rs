//! The man page names every table and every column.

use super::*;

#[test]
fn the_man_page_names_every_table_and_column() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/mailmend-catalog.5")).unwrap();
    let home = home();
    let catalog = Catalog::open(&home.path).unwrap();
    for (table, _) in schema::TABLES.into_iter().chain([schema::SEAL, schema::GROUPS]) {
        let section = page.split(&format!("\n.SS {table}\n")).nth(1).unwrap_or_else(|| panic!("no section {table}"));
        let section = section.split("\n.S").next().unwrap();
        let mut statement = catalog.conn.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
        let columns = statement.query_map([table], |row| row.get::<_, String>(0)).unwrap();
        for column in columns.map(|column| column.unwrap()) {
            let named = section.lines().filter(|line| line.starts_with(".B"));
            let mut words = named.flat_map(|line| line.split([' ', ',']));
            assert!(words.any(|word| word == column), "{table}.{column} is not in the man page");
        }
    }
    assert!(page.contains(&format!("schema version {}", schema::VERSION)));
}

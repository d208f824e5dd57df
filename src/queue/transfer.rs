//! Every row of every table, out of one engine and into another.
//!
//! The tables come from the schema itself, so that none can be forgotten. Values are exact: a real number
//! travels as its bits, bytes in base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::Connection;
use serde_json::Value as Json;

use super::{
    Error, Reader, Tx,
    sql::{Row, Sql, Value, sqlite},
};

/// The most values in one statement; SQLite takes 32,766.
const PLACES: usize = 30_000;
/// The most rows in one statement.
const ROWS: usize = 500;

/// A table and how its rows are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, in the order of a row's values.
    pub columns: Vec<String>,
    kinds: Vec<Kind>,
    /// The columns of its key, by which it is ordered.
    key: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Real,
    Text,
    Blob,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Int(i64),
    /// A real number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Cell {
    fn value(&self) -> Value<'_> {
        match self {
            Cell::Null => Value::Null,
            Cell::Int(number) => Value::Int(*number),
            Cell::Real(number) => Value::Real(*number),
            Cell::Text(text) => Value::Text(text),
            Cell::Blob(bytes) => Value::Blob(bytes),
        }
    }

    fn json(&self) -> Json {
        match self {
            Cell::Null => Json::Null,
            Cell::Int(number) => Json::from(*number),
            Cell::Real(number) => Json::from(number.to_bits()),
            Cell::Text(text) => Json::from(text.as_str()),
            Cell::Blob(bytes) => Json::from(STANDARD.encode(bytes)),
        }
    }

    fn parse(kind: Kind, json: &Json) -> Option<Cell> {
        Some(match (kind, json) {
            (_, Json::Null) => Cell::Null,
            (Kind::Int, json) => Cell::Int(json.as_i64()?),
            (Kind::Real, json) => Cell::Real(f64::from_bits(json.as_u64()?)),
            (Kind::Text, json) => Cell::Text(json.as_str()?.to_owned()),
            (Kind::Blob, json) => Cell::Blob(STANDARD.decode(json.as_str()?).ok()?),
        })
    }
}

impl Kind {
    fn read(self, row: &Row<'_>, index: usize) -> Result<Cell, Error> {
        Ok(match self {
            Kind::Int => row.get::<Option<i64>>(index)?.map_or(Cell::Null, Cell::Int),
            Kind::Real => row.get::<Option<f64>>(index)?.map_or(Cell::Null, Cell::Real),
            Kind::Text => row.get::<Option<String>>(index)?.map_or(Cell::Null, Cell::Text),
            Kind::Blob => row.get::<Option<Vec<u8>>>(index)?.map_or(Cell::Null, Cell::Blob),
        })
    }
}

/// All tables of the store, in the order in which the schema makes them.
///
/// # Errors
/// When the schema has a type of column that this file does not know.
pub fn tables() -> Result<Vec<Table>, Error> {
    let mut schema = Connection::open_in_memory()?;
    sqlite::migrate(&mut schema)?;
    let schema = Sql::Sqlite(schema);
    let names: Vec<String> = schema.all(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid",
        &[],
        |row| row.get(0),
    )?;
    names.into_iter().map(|name| Table::in_schema(&schema, name)).collect()
}

impl Table {
    fn in_schema(schema: &Sql, name: String) -> Result<Table, Error> {
        let found = schema.all("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid", &[(&name).into()], |row| {
            Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<i64>(2)?))
        })?;
        let mut table = Table { name, columns: Vec::new(), kinds: Vec::new(), key: Vec::new() };
        let mut key = Vec::new();
        for (index, (column, kind, place)) in found.into_iter().enumerate() {
            table.columns.push(column);
            table.kinds.push(match kind.as_str() {
                "INTEGER" => Kind::Int,
                "REAL" => Kind::Real,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Blob,
                _ => return Err(Error::Unknown { what: "type of column" }),
            });
            if place > 0 {
                key.push((place, index));
            }
        }
        key.sort_unstable();
        table.key = key.into_iter().map(|(_, index)| index).collect();
        Ok(table)
    }

    /// The key of a row.
    pub fn key(&self, row: &[Cell]) -> Vec<Cell> {
        self.key.iter().filter_map(|index| row.get(*index).cloned()).collect()
    }

    /// A row as one line of JSON.
    pub fn line(&self, row: &[Cell]) -> String {
        Json::Array(row.iter().map(Cell::json).collect()).to_string()
    }

    /// The row that a line holds; none when it is not one of this table.
    pub fn parse(&self, line: &str) -> Option<Vec<Cell>> {
        let values: Vec<Json> = serde_json::from_str(line).ok()?;
        if values.len() != self.columns.len() {
            return None;
        }
        self.kinds.iter().zip(&values).map(|(kind, value)| Cell::parse(*kind, value)).collect()
    }

    fn list(&self, columns: impl Iterator<Item = usize>) -> String {
        columns.map(|index| format!("\"{}\"", self.columns[index])).collect::<Vec<_>>().join(", ")
    }
}

/// `?1, ?2, ?3` for so many places after the first `before`.
fn places(before: usize, count: usize) -> String {
    (before + 1..=before + count).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ")
}

impl Reader<'_> {
    /// The rows of a table after a key, in its order; from the first on where `after` is empty.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dump(&self, table: &Table, after: &[Cell], limit: usize) -> Result<Vec<Vec<Cell>>, Error> {
        let (columns, key) = (table.list(0..table.columns.len()), table.list(table.key.iter().copied()));
        let from = match after.len() {
            0 => String::new(),
            count => format!("WHERE ({key}) > ({})", places(0, count)),
        };
        let sql = format!("SELECT {columns} FROM \"{}\" {from} ORDER BY {key} LIMIT {limit}", table.name);
        let values: Vec<Value<'_>> = after.iter().map(Cell::value).collect();
        self.sql.all(&sql, &values, |row| {
            table.kinds.iter().enumerate().map(|(index, kind)| kind.read(row, index)).collect::<Result<Vec<_>, _>>()
        })
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn count(&self, table: &Table) -> Result<u64, Error> {
        let count: i64 = self.sql.one(&format!("SELECT count(*) FROM \"{}\"", table.name), &[], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl Tx<'_> {
    /// Writes rows as they are, ids and all.
    ///
    /// # Errors
    /// When the store cannot be written, or has one of the rows.
    pub fn load(&mut self, table: &Table, rows: &[Vec<Cell>]) -> Result<(), Error> {
        let width = table.columns.len();
        for rows in rows.chunks((PLACES / width).clamp(1, ROWS)) {
            let tuples: Vec<String> = (0..rows.len()).map(|row| format!("({})", places(row * width, width))).collect();
            let columns = table.list(0..width);
            let sql = format!("INSERT INTO \"{}\" ({columns}) VALUES {}", table.name, tuples.join(", "));
            let values: Vec<Value<'_>> = rows.iter().flatten().map(Cell::value).collect();
            self.sql.execute(&sql, &values)?;
        }
        Ok(())
    }

    /// Makes a table that counts its own ids go on after the greatest one that was loaded.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn count_on(&mut self, table: &Table) -> Result<(), Error> {
        if self.sql.shared() && table.columns.iter().any(|column| column == "id") {
            let sql = format!("SELECT setval('{0}_id_seq', max(id)) FROM \"{0}\" HAVING max(id) IS NOT NULL", table.name);
            self.sql.each(&sql, &[], |_| Ok(()))?;
        }
        Ok(())
    }

    /// Forgets a cursor.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_cursor(&mut self, name: &str) -> Result<(), Error> {
        self.sql.execute("DELETE FROM stream_cursor WHERE name = ?1", &[name.into()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_the_schema_has_a_key_and_its_rows_survive_as_text() {
        let tables = tables().unwrap();
        let migrations: String = sqlite::MIGRATIONS.concat();
        for name in migrations.split("CREATE TABLE ").skip(1).filter_map(|rest| rest.split([' ', '(']).next()) {
            let renamed = name.ends_with("_new");
            assert!(renamed || tables.iter().any(|table| table.name == name), "{name} would be left behind");
        }
        for table in &tables {
            assert!(!table.key.is_empty(), "{} has no order", table.name);
            let row: Vec<Cell> = table
                .kinds
                .iter()
                .map(|kind| match kind {
                    Kind::Int => Cell::Int(i64::MIN),
                    Kind::Real => Cell::Real(0.1 + 0.2),
                    Kind::Text => Cell::Text("‘\"\\\n\u{2028}".into()),
                    Kind::Blob => Cell::Blob(vec![0, 255, 10]),
                })
                .collect();
            assert_eq!(table.parse(&table.line(&row)), Some(row.clone()), "{}", table.name);
            let line = table.line(&row);
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(table.parse(&line.replacen('[', "[1,", 1)), None, "{}", table.name);
        }
    }
}
